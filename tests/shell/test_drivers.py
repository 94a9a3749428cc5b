"""What each broker library makes of each fault, and what it sends: every client times every mode of the simulator."""

import asyncio
from collections.abc import Callable, Mapping
from functools import cache, partial

import pytest

from exporter.model import Cause, Direction, LayerResult, Mode, Outcome, Report, Stage, Target, Verdict
from exporter.probes.resolver import Resolver
from exporter.probes.target import probe_target
from exporter.protocol.wire import Request
from exporter.simulator.gateway import Gateway
from exporter.simulator.modes import MODES
from exporter.simulator.recorder import ClientEnd
from exporter.simulator.settings import GatewaySettings
from exporter.verdict.client_blame import ClientProbe, confirm
from exporter.verdict.client_round import with_clients
from exporter.verdict.rules import judge
from tests.shell.clients_real import (
    CLIENT_ID,
    CLIENTS,
    UNANSWERED,
    Played,
    make_client,
    of_each_client,
    play,
    play_all,
    played_once,
)
from tests.shell.clock import TurnedLoop

pytestmark = pytest.mark.timeout(300)

Ending = tuple[Outcome, Stage | None, Cause | None, int | None]

OK: Ending = (Outcome.OK, None, None, None)
DOWNLOADED = ("positions", "open_orders", "completed_orders", "account_", "executions")
EARLY = ("news_first", "tick_first", "notice_first", "loss_first", "user_info_first")  # before the reply to the hello
GARBLED: Ending = (Outcome.GARBLED, Stage.CONNECT, Cause.MALFORMED, None)
IN_USE: Ending = (Outcome.REJECTED, Stage.READY, Cause.API_ERROR, 326)
# A reply in more than one segment: ibapi, and nautilus_trader which stands on it, loses it and waits for ever.
LOST_REPLY: Ending = (Outcome.TIMEOUT, Stage.CONNECT, None, None)

EXPECTED: Mapping[str, Ending] = {
    "ok": OK,
    "refused": (Outcome.REFUSED, Stage.CONNECT, Cause.CONNECT_REFUSED, None),
    "backlog_full": (Outcome.TIMEOUT, Stage.CONNECT, Cause.CONNECT_TIMEOUT, None),
    "silent": (Outcome.TIMEOUT, Stage.CONNECT, Cause.SILENCE, None),
    "close_at_once": (Outcome.CLOSED, Stage.CONNECT, Cause.EOF, None),
    "reset_at_once": (Outcome.CLOSED, Stage.CONNECT, Cause.RESET, None),
    "relay": (Outcome.CLOSED, Stage.CONNECT, Cause.EOF, None),
    "close_after_hello": (Outcome.CLOSED, Stage.CONNECT, Cause.EOF, None),
    "slow": OK,
    "bytewise": OK,
    "split_reply": OK,
    "half_reply": (Outcome.TIMEOUT, Stage.CONNECT, Cause.UNFINISHED, None),
    "eof_mid_reply": (Outcome.CLOSED, Stage.CONNECT, Cause.EOF, None),
    "garbage": GARBLED,
    "huge_length": GARBLED,
    "flood": GARBLED,
    "http": GARBLED,
    "vnc": GARBLED,
    "ssh": GARBLED,
    "tls": GARBLED,
    "redirect": (Outcome.REJECTED, Stage.CONNECT, Cause.REDIRECT, None),
    "too_old": (Outcome.REJECTED, Stage.CONNECT, Cause.TOO_OLD, None),
    "update_needed": (Outcome.REJECTED, Stage.CONNECT, Cause.TOO_OLD, 503),
    "handshake_then_silence": (Outcome.TIMEOUT, Stage.READY, Cause.SILENCE, None),
    "id_in_use": IN_USE,
    "id_in_use_open": IN_USE,
    "bad_message": (Outcome.REJECTED, Stage.READY, Cause.API_ERROR, 507),
    "close_after_start_api": (Outcome.CLOSED, Stage.READY, Cause.EOF, None),
    "reset_after_start_api": (Outcome.CLOSED, Stage.READY, Cause.RESET, None),
    "no_accounts": (Outcome.TIMEOUT, Stage.READY, Cause.SILENCE, None),
    "no_next_valid_id": (Outcome.TIMEOUT, Stage.READY, Cause.SILENCE, None),
    "empty_accounts": (Outcome.TIMEOUT, Stage.READY, Cause.SILENCE, None),
    "malformed_error": OK,
    "empty_frame": OK,
    "contract_details_unanswered": (Outcome.TIMEOUT, Stage.CONTRACT, Cause.SILENCE, None),
    "requests_unanswered": (Outcome.TIMEOUT, Stage.TIME, Cause.SILENCE, None),
    **{f"error_{code}": (Outcome.REJECTED, Stage.CONNECT, Cause.API_ERROR, code) for code in (326, 502, 504, 507)},
    **dict.fromkeys(("version_negative", "version_zero", "redirect_to_date"), GARBLED),
    **dict.fromkeys(EARLY, OK),
    "protobuf_first": LOST_REPLY,
    "notice_only": (Outcome.TIMEOUT, Stage.CONNECT, Cause.UNFINISHED, None),
    **dict.fromkeys((mode for mode in MODES if mode.startswith(DOWNLOADED)), OK),  # without `download`, not asked
    "sessions_only": (Outcome.TIMEOUT, Stage.CONNECT, Cause.SILENCE, None),
    "wedged_by_library": (Outcome.TIMEOUT, Stage.CONTRACT, Cause.SILENCE, None),
    **dict.fromkeys(("one_connection", "settings_unanswered", "settings_refused", "settings_closed"), OK),
    **dict.fromkeys(("newest_hello_silent", "newest_hello_closed"), OK),  # announced by some, below
    "upstream_lost": OK,
    "upstream_broken": OK,
    "farm_broken": OK,
    "wrong_account": OK,
    "clock_off": OK,
    "freeze_after": OK,
    "flapping": OK,
}
# Where a library ends otherwise than the rest: by library, then by mode.
# So it does with a message and the reply behind it in one segment.
IBAPI_ALSO = {"bytewise": LOST_REPLY, "split_reply": LOST_REPLY, **dict.fromkeys(EARLY, LOST_REPLY)}
CRASHED: Ending = (Outcome.CRASHED, Stage.CONNECT, None, None)
OWN_FAULT = (LOST_REPLY, CRASHED)  # while the gateway is well
STOPPED: Ending = (Outcome.TIMEOUT, Stage.READY, Cause.SILENCE, None)
# How those end that announce a version above 187.
NEW_HELLO: Mapping[str, Ending] = {
    "newest_hello_silent": (Outcome.TIMEOUT, Stage.CONNECT, Cause.SILENCE, None),
    "newest_hello_closed": (Outcome.CLOSED, Stage.CONNECT, Cause.EOF, None),
}
OLD_HELLO = dict.fromkeys(NEW_HELLO, OK)
DIFFERENT: Mapping[str, Mapping[str, Ending]] = {
    "ib_async": {"empty_frame": STOPPED},
    "ib_insync": {"empty_frame": STOPPED},
    "ibapi": {
        **IBAPI_ALSO,
        **NEW_HELLO,
        "no_accounts": (Outcome.TIMEOUT, Stage.ACCOUNTS, Cause.SILENCE, None),
        "empty_accounts": OK,
        "malformed_error": (Outcome.CRASHED, Stage.READY, None, None),
    },
    "ibapi-9.81.1": {**OLD_HELLO, "news_first": CRASHED, "protobuf_first": CRASHED},
    "nautilus_trader": {**IBAPI_ALSO, **NEW_HELLO, "malformed_error": STOPPED},
    "nautilus_trader-1.220.0": OLD_HELLO,
}
# A close that meets bytes on their way becomes a reset: which of the two is seen is the network's choice.
EITHER = (
    "close_at_once",
    "reset_at_once",
    "relay",
    "close_after_hello",
    "close_after_start_api",
    "reset_after_start_api",
)
ENDED_BY_THE_GATEWAY = ("reset_at_once", "relay", "reset_after_start_api", "close_at_once")
ALLOWED = {int(request) for request in Request}
VERSIONS = {
    "ib_async": 178,
    "ib_insync": 176,
    "ibapi": 226,
    "ibapi-9.81.1": 157,
    "nautilus_trader": 223,
    "nautilus_trader-1.220.0": 187,
}

BEGUN = ("hello", "server version", "startApi", "managedAccounts", "nextValidId")
OPTIONAL = ("error or notice", "contractDetailsEnd")  # they come when they come, or in the next segment
EXCHANGED: Mapping[str, tuple[tuple[str, ...], str | None]] = {
    "ok": ((*BEGUN, "reqCurrentTime", "currentTime", "reqContractDetails", "contractDetails"), None),
    "requests_unanswered": ((*BEGUN, "reqCurrentTime"), None),
    "no_accounts": (("hello", "server version", "startApi", "nextValidId"), None),
    "handshake_then_silence": (("hello", "server version", "startApi"), None),
    "close_after_start_api": (("hello", "server version", "startApi"), "gateway"),
    "silent": (("hello",), None),
}
Matrix = Callable[[str], Mapping[str, Played]]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """All modes played with a client, once for all processes that run these tests."""

    @cache
    def playing(client: str) -> Mapping[str, Played]:
        return played_once(
            tmp_path_factory,
            f"modes of {client}",
            lambda: asyncio.run(play_all(client, partial(deadline_of, client))),
        )

    return playing


def expected(client: str, mode: str) -> Ending:
    own = {**DIFFERENT.get(client.partition("-")[0], {}), **DIFFERENT.get(client, {})}
    return own.get(mode, EXPECTED[mode])


def deadline_of(client: str, mode: str) -> float:
    """Seconds: enough to begin with on a busy machine, and to answer where an answer comes."""
    return 60.0 if mode in EXPECTED and expected(client, mode)[0] is not Outcome.TIMEOUT else UNANSWERED


def test_every_mode_is_tested_here() -> None:
    assert set(EXPECTED) == set(MODES)


@pytest.mark.slow
class Library:
    """What is tested of each library. One worker plays its modes, in the first of these tests."""

    client: str

    @pytest.mark.parametrize("mode", EXPECTED)
    def test_each_library_ends_as_expected_in_each_mode_for_the_true_reason(self, matrix: Matrix, mode: str) -> None:
        result = matrix(self.client)[mode].probe.result
        outcome, stage, cause, code = expected(self.client, mode)
        assert (result.outcome, result.stage, result.code) == (outcome, stage, code), result.detail
        assert result.cause == cause or (mode in EITHER and result.cause in (Cause.EOF, Cause.RESET)), result.detail

    @pytest.mark.parametrize("mode", EXPECTED)
    def test_each_library_sends_only_what_a_monitor_may_and_closes_in_order(self, matrix: Matrix, mode: str) -> None:
        records = matrix(self.client)[mode].records
        assert len(records) <= 1  # one connection per probe, no hidden second attempt
        for record in records:
            assert record.forbidden == 0
            assert set(record.ids) <= ALLOWED
            assert record.client_id in (None, CLIENT_ID)
            if mode not in ENDED_BY_THE_GATEWAY:
                assert record.client_end is ClientEnd.FIN

    def test_a_healthy_gateway_gives_every_stage_with_its_time(self, matrix: Matrix) -> None:
        played = matrix(self.client)["ok"]
        result, record = played.probe.result, played.records[0]
        assert [stage for stage, _ in result.stages] == [
            Stage.CONNECTED,
            Stage.READY,
            Stage.TIME,
            Stage.ACCOUNTS,
            Stage.CONTRACT,
        ]
        assert result.seconds is not None
        between = result.seconds - sum(seconds for _, seconds in result.stages)
        assert between > -0.001  # our own pause of 1.1 s between two requests is in neither
        assert result.server is not None
        assert result.server.version == VERSIONS[self.client]
        assert record.ids == (Request.START_API, Request.REQ_CURRENT_TIME, Request.REQ_CONTRACT_DETAILS)

    @pytest.mark.parametrize("mode", EXCHANGED)
    def test_the_messages_of_each_librarys_connection_are_named_in_order(self, matrix: Matrix, mode: str) -> None:
        exchange = matrix(self.client)[mode].probe.result.exchange
        names, closed_by = EXCHANGED[mode]
        asked = ("reqCurrentTime", "currentTime") if mode == "no_accounts" and self.client.startswith("ibapi") else ()
        messages = [entry.name for entry in exchange if entry.direction is not Direction.CLOSED]
        assert [name for name in messages if name not in OPTIONAL] == [*names, *asked]
        assert [entry.name for entry in exchange if entry.direction is Direction.CLOSED] == (
            [closed_by] if closed_by else []
        )
        assert [entry.seconds for entry in exchange] == sorted(entry.seconds for entry in exchange)

    def test_what_a_session_lacks_is_named(self, matrix: Matrix) -> None:
        result = matrix(self.client)["no_accounts"].probe.result
        if result.stage is Stage.READY:
            assert result.detail == "nextValidId arrived, managedAccounts did not"
        assert (
            matrix(self.client)["no_next_valid_id"].probe.result.detail
            == "managedAccounts arrived, nextValidId did not"
        )

    def test_a_reply_in_two_segments_is_reported_as_the_librarys_own_loss(self, matrix: Matrix) -> None:
        result = matrix(self.client)["split_reply"].probe.result
        if self.client.startswith(("ibapi", "nautilus")):
            assert result.detail == "the whole reply to the hello arrived, and the library still waits for it"
        else:
            assert result.ok

    def test_a_contract_that_the_farms_cannot_answer_is_no_failure_of_the_library(self, matrix: Matrix) -> None:
        assert "1100" in matrix(self.client)["upstream_lost"].probe.result.detail
        assert "2110" in matrix(self.client)["upstream_broken"].probe.result.detail

    async def test_a_copy_of_the_library_never_sends_two_requests_within_a_second(self) -> None:
        worker = make_client(self.client)
        try:
            installed = await worker.start()
            assert installed.version
            assert worker.preloaded
            played = await play(worker, "ok", deadline=60.0, spacing=None)
        finally:
            await worker.stop()
        assert played.probe.result.ok
        sent = {entry.name: entry.seconds for entry in played.probe.result.exchange}
        assert sent["reqContractDetails"] - sent["reqCurrentTime"] >= 1.0
        assert played.probe.result.seconds is not None
        # The pause between them is ours, not the library's: it is in the times of the messages, not in its duration.
        assert played.probe.result.seconds < sent["contractDetailsEnd"]


globals().update(of_each_client(Library))


def of_wire(mode: str) -> Verdict:
    """The verdict of our own probe; modes that change begin well, and only a download sees those about it."""
    unseen = MODES[mode].changing or mode.startswith(DOWNLOADED)
    return Verdict.HEALTHY if unseen else MODES[mode].verdict


def of_clients(mode: str) -> Verdict:
    """What libraries add to that: we ask for no contract ourselves."""
    return (
        Verdict.CONTRACT_DETAILS_STALLED
        if mode in ("contract_details_unanswered", "wedged_by_library")
        else of_wire(mode)
    )


async def wire_of(mode: str) -> tuple[Target, Report]:
    async with Gateway(mode) as gateway:
        ids, account = (CLIENT_ID, CLIENT_ID + 1), "DU1234567"
        target = Target("paper", gateway.host, gateway.port, Mode.PAPER, client_ids=ids, account=account)
        return target, await probe_target(target, Resolver())


async def wire_of_all() -> "Wires":
    return dict(zip(EXPECTED, await asyncio.gather(*map(wire_of, EXPECTED)), strict=True))


@pytest.mark.parametrize("client", ["ib_async", "ib_insync", "ibapi"])
async def test_a_gateway_too_old_for_a_library_is_not_the_librarys_fault(client: str) -> None:
    worker, refuses, ids = make_client(client), client != "ibapi", (CLIENT_ID, CLIENT_ID + 1)
    try:
        for version in (120, 151):
            async with Gateway(setup=GatewaySettings(server_version=version)) as gateway:
                probe = await worker.probe("127.0.0.1", gateway.port, CLIENT_ID, 60.0, 0.0)
                target = Target("paper", gateway.host, gateway.port, Mode.PAPER, client_ids=ids)
                wire = await probe_target(target, Resolver())
            assert probe.result.ok is not refuses, version
            assert probe.result.hello is not None
            assert (probe.result.hello.minimum > version) is refuses
            due = Verdict.SERVER_TOO_OLD if refuses else Verdict.HEALTHY
            assert judge(put_beside(wire, {client: probe.result}), target) is due, version
    finally:
        await worker.stop()


def put_beside(wire: Report, results: Mapping[str, LayerResult]) -> Report:
    """What the service makes of results that came between two such looks at the wire."""
    client_probes = {name: confirm(ClientProbe.of(result, wire.at, 60.0), wire) for name, result in results.items()}
    return with_clients(wire, results, client_probes, wire.at)


Wires = Mapping[str, tuple[Target, Report]]


@pytest.fixture(scope="module")
def wires() -> Wires:
    """Our own probe of every mode, all at once, by a clock that no busy machine makes late."""
    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        return runner.run(wire_of_all())


class TestBesideTheWire:
    """Libraries beside our own probe of the same mode."""

    @pytest.mark.parametrize("mode", EXPECTED)
    def test_no_client_and_no_gateway_is_accused_for_the_others_fault(
        self, matrix: Matrix, wires: Wires, mode: str
    ) -> None:
        """Each client alone beside our own look at the wire, then all together."""
        target, wire = wires[mode]
        results = {client: matrix(client)[mode].probe.result for client in CLIENTS}
        for client, result in results.items():
            lost = expected(client, mode) in OWN_FAULT
            due = Verdict.CLIENT_FAULT if lost else of_clients(mode)
            assert judge(put_beside(wire, {client: result}), target) is due, client
        lost = any(expected(client, mode) in OWN_FAULT for client in CLIENTS)
        passed = any(result.ok for result in results.values())
        together = Verdict.CLIENT_FAULT if passed else Verdict.CLIENTS_FAILING
        assert judge(put_beside(wire, results), target) is (together if lost else of_clients(mode))
        failing = {name for name, result in results.items() if not result.ok}
        if lost:
            assert failing == {client for client in CLIENTS if expected(client, mode) in OWN_FAULT}
            assert judge(put_beside(wire, {name: results[name] for name in failing}), target) is Verdict.CLIENTS_FAILING
