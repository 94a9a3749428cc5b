"""The session layer on real sockets: every fault of the simulator in every framing, every cut, and how it leaves."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from exporter.model import Cause, Hello, Layer, LayerResult, Mode, Outcome, Report, Stage, Stamp, Target, Verdict
from exporter.probes import session, timestamps
from exporter.probes.resolver import Resolver
from exporter.probes.target import probe_target
from exporter.protocol.wire import Request
from exporter.simulator import messages
from exporter.simulator.gateway import Gateway
from exporter.simulator.modes import MODES
from exporter.simulator.recorder import ClientEnd
from exporter.simulator.settings import GatewaySettings
from exporter.verdict.explanation import explain
from exporter.verdict.rules import judge
from tests.shell.clock import TurnedLoop
from tests.shell.support import PATIENCE, descriptors, until

pytestmark = pytest.mark.turned_clock

VERSIONS = (176, 200, 201, 212, 213, 226)  # text, raw ids, protobuf: the first and the last of each
DEADLINE = 1.0
CLOCK_ERROR = (
    0.501  # seconds: half of what the gateway's clock is rounded to, and what the turned clock ticks meanwhile
)
UNTOUCHED = {"flood", "flapping", "freeze_after", "slow", "clock_off"}  # nothing new inside a session
UNANSWERED = {Verdict.UNREACHABLE, Verdict.API_SILENT, Verdict.SESSION_SILENT, Verdict.SESSION_STALLED}
STARTED = (Request.START_API, Request.REQ_CURRENT_TIME)


def at(port: int, **changes: object) -> Target:
    target = Target("gateway", "127.0.0.1", port, Mode.PAPER, deadline=DEADLINE, client_ids=(9001, 9002))
    return replace(target, account="DU1234567", **changes)  # type: ignore[arg-type]


async def probe(target: Target) -> Report:
    return await probe_target(target, Resolver())


def session_of(report: Report) -> LayerResult:
    result = report.layer(Layer.SESSION)
    assert result is not None
    return result


async def settled(gateway: Gateway) -> None:
    await until(lambda: not gateway.recorder.open_now)


async def test_a_gateway_that_shakes_hands_at_once_and_answers_a_request_late_is_slow() -> None:
    async with Gateway("ok", setup=GatewaySettings(thinking=lambda: 0.3)) as gateway:
        target = at(gateway.port, slow_after=0.2)
        report = await probe(target)
        assert judge(report, target) is Verdict.SLOW
        [said] = [
            line for line in explain(report, target, Verdict.SLOW).evidence if "reqCurrentTime alone took" in line
        ]
        assert "the limit is 200 ms" in said
        patient = replace(target, slow_after=0.9)
        assert judge(report, patient) is Verdict.HEALTHY


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", [name for name in MODES if name not in UNTOUCHED])
async def test_every_mode_has_its_verdict_in_every_framing(mode: str, version: int) -> None:
    setup = GatewaySettings(server_version=version, byte_pause=0.001)
    deadline = 1.5 if MODES[mode].session_verdict in UNANSWERED else 30.0
    async with Gateway(mode, setup=setup) as gateway:
        target = at(gateway.port, deadline=deadline, slow_after=20.0)
        report = await probe(target)
        assert judge(report, target) is MODES[mode].session_verdict, report.results
        assert report.fault is None
        assert report.seconds < deadline + 1.0
        if mode == "backlog_full":
            return  # the simulator accepts nothing there, and so records nothing
        await settled(gateway)
        assert gateway.recorder.opened == (0 if mode == "refused" else report.connections)
        assert gateway.recorder.forbidden == 0
        assert gateway.recorder.open_most <= 1
        for record in gateway.recorder:
            assert set(record.ids) <= set(STARTED)
            assert record.client_id in (None, 9001, 9002)
            if record.our_end is None:
                assert record.client_end is ClientEnd.FIN


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_that_works_sends_startapi_and_one_request_and_tells_all(version: int) -> None:
    async with Gateway("ok", setup=GatewaySettings(server_version=version, next_order_id=217)) as gateway:
        report = await probe(at(gateway.port))
        await settled(gateway)
        [record] = gateway.recorder
    result = session_of(report)
    assert record.ids == STARTED
    assert (record.client_id, record.client_end) == (9001, ClientEnd.FIN)
    assert result.outcome is Outcome.OK
    facts = result.session
    assert facts is not None
    assert (facts.accounts, facts.next_valid_id, facts.upstream) == (("DU1234567",), 217, True)
    assert len(facts.farms) == 6
    assert all(farm.connected for farm in facts.farms)
    assert facts.clock_offset is not None
    assert abs(facts.clock_offset) <= CLOCK_ERROR
    assert set(dict(result.stages)) == {
        Stage.START_API,
        Stage.NEXT_VALID_ID,
        Stage.MANAGED_ACCOUNTS,
        Stage.CURRENT_TIME,
    }
    assert 0 < dict(result.stages)[Stage.CURRENT_TIME] < (result.seconds or 0) < 0.2


@pytest.mark.real_clock
@pytest.mark.skipif(not timestamps.AVAILABLE, reason="only Linux stamps what arrives")
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_is_timed_by_the_kernel(version: int) -> None:
    async with Gateway("ok", setup=GatewaySettings(server_version=version)) as gateway:
        assert session_of(await probe(at(gateway.port, deadline=60.0))).stamp is Stamp.KERNEL


async def test_without_reserved_client_ids_no_session_is_begun() -> None:
    async with Gateway("ok") as gateway:
        report = await probe(at(gateway.port, client_ids=()))
        await settled(gateway)
        [record] = gateway.recorder
    assert [result.layer for result in report.results] == [Layer.PORT, Layer.HANDSHAKE]
    assert record.ids == ()


async def test_a_client_id_in_use_leads_to_the_next_one_on_a_new_connection() -> None:
    async with Gateway("ok", setup=GatewaySettings(taken_client_ids=frozenset({9001, 9002}))) as gateway:
        target = at(gateway.port, client_ids=(9001, 9002, 9003))
        report = await probe(target)
        await settled(gateway)
        assert [record.client_id for record in gateway.recorder] == [9001, 9002, 9003]
        assert gateway.recorder.open_most == 1
    assert judge(report, target) is Verdict.HEALTHY
    assert report.connections == 3
    facts = session_of(report).session
    assert facts is not None
    assert (facts.client_id, facts.conflicts) == (9003, 2)
    assert "client ids in use: 9001, 9002" in explain(report, target, Verdict.HEALTHY).evidence[-1]


async def test_all_client_ids_in_use_is_reported_with_each_of_them_tried_once() -> None:
    async with Gateway("id_in_use_open") as gateway:
        target = at(gateway.port)
        report = await probe(target)
        await settled(gateway)
        assert [record.client_id for record in gateway.recorder] == [9001, 9002]
        assert [record.client_end for record in gateway.recorder] == [ClientEnd.FIN, ClientEnd.FIN]
        assert gateway.recorder.open_most == 1
    result = session_of(report)
    assert (result.outcome, result.cause, result.code) == (Outcome.REJECTED, Cause.CLIENT_ID_IN_USE, 326)
    assert result.session is not None
    assert result.session.conflicts == 2


async def test_the_client_id_of_the_watch_is_not_used_by_probes() -> None:
    async with Gateway("id_in_use") as gateway:
        report = await probe(at(gateway.port, watch=True))
        await settled(gateway)
        assert [record.client_id for record in gateway.recorder] == [9001]
        assert judge(report, at(gateway.port)) is Verdict.CLIENT_ID_IN_USE


async def test_the_second_client_id_is_within_the_same_deadline() -> None:
    setup = GatewaySettings(slow=0.3, taken_client_ids=frozenset({9001}))
    async with Gateway("slow", setup=setup) as gateway:
        started = time.perf_counter()
        report = await probe(at(gateway.port, deadline=0.5))
        assert time.perf_counter() - started < 0.8
        await settled(gateway)
        assert gateway.recorder.opened == report.connections == 2
        assert judge(report, at(gateway.port)) is Verdict.SESSION_SILENT
    assert "on the connection for the next id" in session_of(report).detail


async def test_a_server_newer_than_we_know_is_greeted_and_left_and_that_is_reported() -> None:
    async with Gateway("ok", setup=GatewaySettings(server_version=230)) as gateway:
        target = at(gateway.port, hello=Hello(100, 999))
        report = await probe(target)
        await settled(gateway)
        [record] = gateway.recorder
    assert record.ids == ()
    assert record.client_end is ClientEnd.FIN
    assert session_of(report).outcome is Outcome.SKIPPED
    assert judge(report, target) is Verdict.HEALTHY
    assert "230" in explain(report, target, Verdict.HEALTHY).evidence[-1]


@pytest.mark.parametrize("offset", [-3600.0, -90.0, 0.0, 90.0])
async def test_the_gateways_clock_is_measured_to_half_a_second_at_every_part_of_a_second(offset: float) -> None:
    async with Gateway("clock_off", setup=GatewaySettings(clock_offset=offset)) as gateway:
        for part in (0.05, 0.3, 0.7, 0.95):
            await asyncio.sleep((part - time.time()) % 1)
            facts = session_of(await probe(at(gateway.port))).session
            assert facts is not None
            assert facts.clock_offset == pytest.approx(offset, abs=CLOCK_ERROR), part


@pytest.mark.parametrize("part", [0.05, 0.95])
async def test_of_an_answer_that_takes_long_half_of_that_time_may_be_in_the_offset(part: float) -> None:
    took = 6.0
    async with Gateway("ok", setup=GatewaySettings(thinking=lambda: took)) as gateway:
        target = at(gateway.port, deadline=10.0)
        await asyncio.sleep((part - time.time()) % 1)
        report = await probe(target)
    facts = session_of(report).session
    assert facts is not None
    assert facts.clock_offset is not None
    assert 0.4 < abs(facts.clock_offset + took / 2) <= CLOCK_ERROR, "it told the time at once"
    evidence = explain(report, target, judge(report, target)).evidence
    assert not any("its clock is" in line for line in evidence), "that is no evidence of another clock"


@asynccontextmanager
async def saying(version: int, *parts: bytes, pause: float = 0.0, hold: bool = True) -> AsyncIterator[int]:
    """A gateway that answers startApi with the parts before an empty one, and reqCurrentTime with those after it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"226")
        writer.write(messages.reply(version, "20261121 02:00:00 EST"))
        await reader.read(64)
        with contextlib.suppress(ConnectionError):
            for part in parts:
                if not part:
                    await reader.read(64)
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            while hold and await reader.read(64):
                pass
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def hasty(version: int, early: bytes, *parts: bytes) -> AsyncIterator[int]:
    """A gateway that says more than its reply, in the same segment; then a part for each request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"226")
        writer.write(messages.reply(version, "20261121 02:00:00 EST") + early)
        for part in parts:
            await reader.read(64)
            writer.write(part)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("version", [176, 212, 226])
async def test_what_comes_in_one_segment_with_the_reply_is_the_sessions_first_word(version: int) -> None:
    begun = messages.managed_accounts(version, ("DU1234567",)) + messages.next_valid_id(version, 1)
    notice = messages.error(version, -1, 2103, "broken:usfarm", 0)
    told = messages.current_time(version, int(time.time()))
    for cut in (0, 3, len(notice) - 1, len(notice)):  # what is cut off would leave the rest unreadable
        async with hasty(version, notice[:cut], notice[cut:] + begun, told) as port:
            report = await probe(at(port))
        assert judge(report, at(port)) is Verdict.FARM_DOWN, (cut, report.results)


async def test_what_was_sent_before_startapi_is_no_answer_to_it() -> None:
    async with hasty(226, messages.error(226, -1, 2104, "OK:usfarm", 0)) as port:
        report = await probe(at(port, deadline=0.3))
    result = session_of(report)
    assert judge(report, at(port)) is Verdict.SESSION_SILENT
    assert (result.cause, result.stages) == (Cause.SILENCE, ((Stage.START_API, result.seconds),))


async def test_without_a_session_what_follows_the_reply_is_let_go() -> None:
    async with hasty(226, messages.error(226, -1, 2104, "OK:usfarm", 0)) as port:
        report = await probe(at(port, client_ids=()))
    assert judge(report, at(port)) is Verdict.HEALTHY


@pytest.mark.parametrize("version", [176, 212, 226])
async def test_a_port_that_is_reset_is_reported_with_its_successor(version: int) -> None:
    text = (
        "TWS socket port has been reset and this connection is being dropped. Please reconnect on the new port - 4005"
    )
    async with saying(version, messages.error(version, -1, 1300, text, 0), hold=False) as port:
        target = at(port)
        report = await probe(target)
    said = explain(report, target, judge(report, target))
    assert judge(report, target) is Verdict.SESSION_REFUSED
    assert "error 1300: its API port was changed" in session_of(report).detail
    assert "The gateway said that its API port is 4005 from now on (error 1300)." in said.evidence
    assert "at port 4005" in said.actions[0]
    assert text not in "".join(said.evidence)


def cuts(data: bytes) -> list[tuple[bytes, ...]]:
    """The data in two parts, cut at every place."""
    return [(data,), *((data[:cut], data[cut:]) for cut in range(1, len(data)))]


@pytest.mark.parametrize("version", [176, 212, 226])
async def test_answers_split_at_every_byte_make_the_same_session(version: int) -> None:
    begun = messages.managed_accounts(version, ("DU1234567",)) + messages.next_valid_id(version, 1)
    begun += messages.error(version, -1, 2103, "broken:usfarm", 0)
    told = messages.current_time(version, int(time.time()))
    splits = [(*parts, b"", told) for parts in cuts(begun)] + [(begun, b"", *parts) for parts in cuts(told)]

    async def play(parts: tuple[bytes, ...]) -> None:
        async with saying(version, *parts, pause=0.01) as port:
            report = await probe(at(port, deadline=5.0))
        assert judge(report, at(port)) is Verdict.FARM_DOWN, (parts, report.results)

    await asyncio.gather(*map(play, splits))


@pytest.mark.parametrize("version", [176, 212, 226])
async def test_answers_that_end_at_any_byte_are_a_refused_or_a_stalled_session(version: int) -> None:
    begun = messages.managed_accounts(version, ("DU1234567",)) + messages.next_valid_id(version, 1)
    told = messages.current_time(version, int(time.time()))
    for parts, verdict in (
        *(((begun[:end],), Verdict.SESSION_REFUSED) for end in range(1, len(begun))),
        *(((begun, b"", told[:end]), Verdict.SESSION_STALLED) for end in range(1, len(told))),
    ):
        async with saying(version, *parts, hold=False) as port:
            report = await probe(at(port))
        assert judge(report, at(port)) is verdict, (parts, report.results)


async def test_a_time_that_was_not_requested_is_no_answer() -> None:
    words = messages.managed_accounts(226, ("DU1234567",)) + messages.next_valid_id(226, 1)
    async with saying(226, words + messages.current_time(226, 5)) as port:
        report = await probe(at(port, deadline=0.3))
    assert judge(report, at(port)) is Verdict.SESSION_STALLED


def flood(listener: socket.socket, begun: threading.Event) -> None:
    """A gateway, in a thread of its own, that answers the hello and then talks faster than anyone can read."""
    chatter = messages.error(226, -1, 2104, "OK:usfarm", 0) * 20_000
    client, _ = listener.accept()
    with client, contextlib.suppress(OSError):
        client.recv(64)
        client.sendall(messages.reply(226, "20261121 02:00:00 EST"))
        client.recv(64)
        begun.set()
        while True:
            client.sendall(chatter)


async def test_a_gateway_that_never_stops_talking_ends_at_the_deadline_and_stops_no_other_target() -> None:
    loop, begun = asyncio.get_running_loop(), threading.Event()
    assert isinstance(loop, TurnedLoop)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=flood, args=(listener, begun), daemon=True)  # the loop's clock waits for it
        thread.start()
        probing = asyncio.ensure_future(probe(at(listener.getsockname()[1], deadline=PATIENCE)))
        await until(begun.is_set)
        for _ in range(100):
            await asyncio.sleep(0)  # others have their turns
        assert not probing.done()
        loop.now += int(PATIENCE * 1e9)
        for _ in range(100):
            await asyncio.sleep(0)
        assert probing.done()
        report = await probing
        await asyncio.to_thread(thread.join)
    assert report.seconds >= PATIENCE
    assert judge(report, at(1)) is Verdict.SESSION_SILENT


async def test_what_a_gateway_says_after_our_end_is_taken_in_and_not_answered_by_a_reset() -> None:
    ended = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"226")
        writer.write(messages.reply(226, "20261121 02:00:00 EST"))
        await reader.read(64)
        writer.write(messages.managed_accounts(226, ("DU1234567",)) + messages.next_valid_id(226, 1))
        await reader.read(64)
        writer.write(messages.current_time(226, int(time.time())))
        try:
            await reader.read()
            for _ in range(5):
                writer.write(messages.error(226, -1, 2104, "OK:usfarm", 0))
                await writer.drain()
                await asyncio.sleep(0.005)
            ended.set_result("in order")
        except ConnectionError as error:
            ended.set_result(repr(error))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        report = await probe(at(server.sockets[0].getsockname()[1]))
        assert await asyncio.wait_for(ended, PATIENCE) == "in order"
    assert judge(report, at(1)) is Verdict.HEALTHY


async def test_late_notices_are_waited_for_a_moment_only() -> None:
    words = messages.managed_accounts(226, ("DU1234567",)) + messages.next_valid_id(226, 1)
    told = messages.current_time(226, int(time.time()))
    notices = [messages.error(226, -1, 2104, f"OK:farm{number}", 0) for number in range(100)]
    async with saying(226, words, b"", told, *notices, pause=0.05) as port:
        report = await probe(at(port))
    facts = session_of(report).session
    assert facts is not None
    assert 3 < len(facts.farms) < 20
    assert report.seconds < session.NOTICES_MOST + 0.3


async def test_probes_leave_no_descriptor_behind() -> None:
    async with Gateway("ok") as gateway:
        await probe(at(gateway.port))
        before = descriptors()
        for mode in ("ok", "id_in_use", "reset_after_start_api", "close_after_start_api"):
            await gateway.set_mode(mode)
            for _ in range(10):
                await probe(at(gateway.port))
        await settled(gateway)
        assert descriptors() == before


async def test_an_empty_list_of_accounts_is_named_so_in_the_headline_too() -> None:
    async with Gateway("empty_accounts") as gateway:
        target = Target("paper", gateway.host, gateway.port, Mode.PAPER, deadline=2.0, client_ids=(9001,))
        report = await probe_target(target, Resolver())
    words = explain(report, target, judge(report, target))
    assert words.headline.endswith("begins the session only in part: managedAccounts lists no account")
