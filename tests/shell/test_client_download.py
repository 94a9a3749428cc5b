"""The account download of each library: what it sends, where it hangs, and that nothing of the contents gets out."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from exporter.clients.drivers import download as driver
from exporter.clients.worker import Worker, WorkerResult
from exporter.metrics.exposition import exposition
from exporter.model import DOWNLOAD_STAGES, Cause, LayerResult, Mode, Outcome, Report, Stage, Target, Verdict
from exporter.probes.resolver import Resolver
from exporter.probes.target import probe_target
from exporter.protocol.download import DownloadRequest, end_of
from exporter.protocol.wire import Request
from exporter.simulator.gateway import Gateway
from exporter.simulator.recorder import ClientEnd, ConnectionRecord
from exporter.simulator.settings import GatewaySettings, Holding
from exporter.state.claims import explanation
from exporter.verdict.bug_report import bug_report
from exporter.verdict.client_blame import ClientProbe, confirm
from exporter.verdict.client_round import with_clients
from exporter.verdict.rules import judge
from exporter.web.pages import render_target, state_json, status_chunks
from tests.core.states import T0, TARGET, TRADING, grown, tried
from tests.shell.clients_fakes import make_worker
from tests.shell.clients_real import (
    AT_ONCE,
    CLIENT_ID,
    CLIENTS,
    UNANSWERED,
    make_client,
    of_each_client,
    played_once,
)
from tests.shell.support import until

pytestmark = pytest.mark.timeout(300)

ACCOUNT = "DU1234567"
ALLOWED = frozenset({*Request, *DownloadRequest, 76})
WIDE = GatewaySettings(permitted=ALLOWED)
DEADLINE = 60.0  # seconds, on a machine that does much else
SYNC = ("positions", "account_updates", "executions", "open_orders", "completed_orders")
IBAPI = ("positions", "open_orders", "completed_orders", "account_updates", "executions", "account_summary")
# The requests of each library's download, in their order.
DOWNLOADS: Mapping[str, tuple[str, ...]] = {
    "ib_async": SYNC,
    "ib_insync": SYNC,
    "ibapi": IBAPI,
    "ibapi-9.81.1": IBAPI,
    "nautilus_trader": ("account_summary", "positions", "open_orders", "executions"),
    "nautilus_trader-1.220.0": ("account_summary", "positions", "open_orders"),
}
UNENDED = {f"{request.label}_unanswered": request.label for request in DownloadRequest}
EDGES = {"ib_async": (157, 178), "ib_insync": (157, 176), "ibapi-9.81.1": (157,), "nautilus_trader-1.220.0": (176, 187)}
NEWEST = GatewaySettings().server_version
FRAMINGS = (200, 201, 204, 207, 213, 226)


CANARY = GatewaySettings(
    permitted=ALLOWED,
    accounts=(ACCOUNT, "DU7654321"),
    holdings=(Holding("CANARYSYM", 77001122, "CANARYEXCH", "3133700073313", 4242.42, 2424.24),),
    balance="98765432.10",
)
CANARY_MODES = ("ok", "positions_unanswered", "account_values_cut", "executions_unanswered")
Settings = tuple[str, int, bool]  # a mode, a server version, and whether the account has a content to be recognized
Downloads = Mapping[Settings, tuple[WorkerResult, ConnectionRecord]]


async def download(worker: Worker, mode: str, settings: GatewaySettings) -> tuple[WorkerResult, ConnectionRecord]:
    """One probe that downloads the account from a gateway of its own."""
    async with Gateway(mode, setup=settings) as gateway:
        deadline = DEADLINE if mode == "ok" else UNANSWERED
        probe = await worker.probe("127.0.0.1", gateway.port, CLIENT_ID, deadline, 0.0, download=True, account=ACCOUNT)
        await until(lambda: not gateway.recorder.open_now)
        [record] = gateway.recorder
        return probe, record


async def play_downloads(client: str) -> Downloads:
    """Every download that these tests look at, a few at a time, by one worker."""
    worker, gate = make_client(client), asyncio.Semaphore(AT_ONCE)
    wanted: list[Settings] = [("ok", version, False) for version in EDGES.get(client, FRAMINGS)]
    wanted += [(mode, NEWEST, False) for mode in (*UNENDED, "account_values_cut")]
    wanted += [(mode, NEWEST, True) for mode in CANARY_MODES]

    async def one(mode: str, version: int, canary: bool) -> tuple[WorkerResult, ConnectionRecord]:  # noqa: FBT001
        async with gate:
            return await download(worker, mode, replace(CANARY if canary else WIDE, server_version=version))

    try:
        await worker.start()
        return dict(zip(wanted, await asyncio.gather(*(one(*each) for each in wanted)), strict=True))
    finally:
        await worker.stop()


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Downloads]:
    """The downloads of a client, once for all processes of a test run."""

    @cache
    def of_client(client: str) -> Downloads:
        return played_once(tmp_path_factory, f"downloads of {client}", lambda: asyncio.run(play_downloads(client)))

    return of_client


def of_download(result: LayerResult) -> tuple[str, ...]:
    return tuple(stage.value for stage, _ in result.stages if stage in DOWNLOAD_STAGES)


def test_every_client_has_its_download_here() -> None:
    assert set(DOWNLOADS) == set(CLIENTS)


def test_the_drivers_know_the_same_requests_and_ends_as_the_wire() -> None:
    for request in DownloadRequest:
        assert driver.REQUESTS[request] == (request.label, end_of(request))
    assert set(driver.REQUESTS) == {*DownloadRequest, 16, 76}


SECRETS = (
    "CANARYSYM",
    "77001122",
    "CANARYEXCH",
    "3133700073313",
    "4242.42",
    "2424.24",
    "98765432",
    "DU7654321",
    ACCOUNT,
)


@pytest.mark.slow
class Library:
    """What is tested of each library. One worker plays its downloads, in the first of these tests."""

    client: str

    def test_a_library_that_downloads_sends_read_only_requests_alone_at_every_framing(
        self, downloads: Callable[[str], Downloads]
    ) -> None:
        for version in EDGES.get(self.client, FRAMINGS):
            probe, record = downloads(self.client)["ok", version, False]
            assert probe.result.ok, (version, probe.result)
            assert set(of_download(probe.result)) == set(DOWNLOADS[self.client]), version
            assert (record.forbidden, record.complaint, record.client_id) == (0, "", CLIENT_ID), version
            assert set(record.ids) <= ALLOWED, version
            assert record.client_end is ClientEnd.FIN, version

    @pytest.mark.parametrize("mode", UNENDED)
    def test_a_request_without_an_end_is_named_as_the_stage_at_which_the_library_hangs(
        self, downloads: Callable[[str], Downloads], mode: str
    ) -> None:
        probe, record = downloads(self.client)[mode, NEWEST, False]
        assert record.forbidden == 0
        result = probe.result
        if UNENDED[mode] not in DOWNLOADS[self.client]:
            assert result.ok, result
            return
        assert (result.outcome, result.cause) == (Outcome.TIMEOUT, Cause.SILENCE), result
        assert result.stage == UNENDED[mode]
        assert UNENDED[mode] not in of_download(result)

    def test_an_end_of_the_connection_within_the_account_values_is_named_so(
        self, downloads: Callable[[str], Downloads]
    ) -> None:
        probe, _ = downloads(self.client)["account_values_cut", NEWEST, False]
        if "account_updates" not in DOWNLOADS[self.client]:
            assert probe.result.ok, probe.result
            return
        assert (probe.result.outcome, probe.result.stage) == (Outcome.CLOSED, Stage.ACCOUNT_UPDATES), probe.result
        assert probe.result.detail == "the peer ended the connection before the end of the account updates"

    @pytest.mark.parametrize("mode", CANARY_MODES)
    def test_nothing_of_the_accounts_contents_leaves_the_librarys_process(
        self, downloads: Callable[[str], Downloads], mode: str
    ) -> None:
        probe, _ = downloads(self.client)[mode, NEWEST, True]
        text = json.dumps(asdict(probe.result), default=str) + probe.printed
        assert not [secret for secret in SECRETS if secret in text]

    @pytest.mark.parametrize("mode", CANARY_MODES)
    def test_nothing_of_the_accounts_contents_is_shown_with_the_librarys_messages(
        self, downloads: Callable[[str], Downloads], mode: str
    ) -> None:
        result = replace(downloads(self.client)[mode, NEWEST, True][0].result, client=self.client)
        target = replace(TARGET, clients=(self.client,))
        state = tried(grown(TRADING, target=target), result)
        assert state.last is not None
        assert result.exchange
        shown = (
            bug_report(state.last, target, state.verdict, "ibkr-exporter"),
            *status_chunks([state], T0 + 6.0),
            render_target(state, T0 + 6.0),
            json.dumps(state_json(state, T0 + 6.0)),
            *exposition([state], T0 + 6.0),
            *explanation(state, state.last).evidence,
        )
        assert not [secret for secret in SECRETS if secret in "".join(shown)]


globals().update(of_each_client(Library))


# A library that tries what no monitor may send, its account download permitted or not.
TRIES = """
import socket, types
def begin(host, port, client_id, observer):
    module = types.SimpleNamespace()
    observer.watch(module)
    s = observer.socket = module.socket.socket()
    s.connect((host, port))
    s.send(b"API\\0" + (9).to_bytes(4, "big") + b"v100..176")
    s.recv(4096)
    s.send((11).to_bytes(4, "big") + b"71\\0002\\0009001\\000\\000")
    for number in {numbers}:
        payload = b"%d\\0001\\000" % number
        assert s.send(len(payload).to_bytes(4, "big") + payload) == 4 + len(payload)
    s.shutdown(1)
    while socket.socket.recv(s, 4096):  # unread answers would make the end a reset; read, they are none of the last 12
        pass
    observer.reach("connected", 176)
    observer.reach("ready")
    observer.reach("accounts", [])
    session = Session(observer)
    session.ask_download = lambda spacing: observer.reach("download")
    return session
"""
ORDERS = (3, 4, 15, 21, 58, 107, 109)  # place, cancel, auto-open, exercise, cancel all, and two of changed settings


@pytest.mark.parametrize("opted_in", [False, True])
async def test_orders_and_changes_never_leave_whether_a_client_opted_in_or_not(
    tmp_path: Path, *, opted_in: bool
) -> None:
    requests = sorted(driver.PERMITTED)
    worker = make_worker(tmp_path, TRIES.replace("{numbers}", repr((*ORDERS, *requests))))
    try:
        async with Gateway("ok", setup=WIDE) as gateway:
            probe = await worker.probe("127.0.0.1", gateway.port, CLIENT_ID, DEADLINE, 0.0, download=opted_in)
            await until(lambda: not gateway.recorder.open_now)
            [record] = gateway.recorder
    finally:
        await worker.stop()
    assert probe.result.ok, probe.result
    sent = tuple(number for number in record.ids if number != Request.START_API)
    assert sent == (tuple(requests) if opted_in else ())
    withheld = {entry.name for entry in probe.result.exchange if entry.direction == "withheld"}
    assert withheld


PRINTS = (
    "Session.ask_download = lambda self, spacing: (print('CANARYSYM', flush=True), self.observer.reach('download'))"
)


@pytest.mark.parametrize("fork", [True, False])
async def test_what_a_library_prints_while_it_downloads_is_not_kept(tmp_path: Path, *, fork: bool) -> None:
    worker = make_worker(tmp_path, PRINTS, fork=fork)
    try:
        probe = await worker.probe("127.0.0.1", 1, CLIENT_ID, DEADLINE, 0.0, download=True)
    finally:
        await worker.stop()
    assert probe.result.ok
    assert probe.printed == ""


@pytest.mark.parametrize("fork", [True, False])
async def test_an_exception_within_a_download_gives_its_type_alone(tmp_path: Path, *, fork: bool) -> None:
    code = "def fails(self, spacing):\n    raise ValueError('CANARYSYM')\nSession.ask_download = fails"
    worker = make_worker(tmp_path, code, fork=fork)
    try:
        probe = await worker.probe("127.0.0.1", 1, CLIENT_ID, DEADLINE, 0.0, download=True)
    finally:
        await worker.stop()
    assert (probe.result.outcome, probe.result.detail) == (Outcome.CRASHED, "ValueError")


@pytest.mark.parametrize("client", ["ib_async", "ibapi"])
async def test_a_deadline_too_short_for_the_whole_download_says_nothing_of_the_library(client: str) -> None:
    worker = make_client(client)
    try:
        await worker.start()
        async with Gateway("ok", setup=WIDE) as gateway:
            probe = await worker.probe("127.0.0.1", gateway.port, CLIENT_ID, 4.0, 1.1, download=True, account=ACCOUNT)
    finally:
        await worker.stop()
    assert probe.result.outcome is Outcome.UNAVAILABLE, probe.result


async def wire_of(mode: str) -> tuple[Target, Report]:
    async with Gateway(mode, setup=WIDE) as gateway:
        target = Target("paper", gateway.host, gateway.port, Mode.PAPER, client_ids=(CLIENT_ID, CLIENT_ID + 1))
        return target, await probe_target(target, Resolver())


def verdict(wire: Report, target: Target, results: Mapping[str, LayerResult]) -> Verdict:
    probes = {name: confirm(ClientProbe.of(result, wire.at, 60.0), wire) for name, result in results.items()}
    return judge(with_clients(wire, results, probes, wire.at), target)


async def test_no_library_is_accused_of_a_download_that_no_one_else_got(downloads: Callable[[str], Downloads]) -> None:
    target, wire = await wire_of("positions_unanswered")
    hung, _ = (await asyncio.to_thread(downloads, "ib_insync"))["positions_unanswered", NEWEST, False]
    assert verdict(wire, target, {"ib_insync": hung.result}) is Verdict.DOWNLOAD_STALLED


async def test_a_library_is_accused_of_a_download_that_another_one_got(downloads: Callable[[str], Downloads]) -> None:
    target, wire = await wire_of("ok")
    hung, _ = (await asyncio.to_thread(downloads, "ib_insync"))["positions_unanswered", NEWEST, False]
    answered, _ = (await asyncio.to_thread(downloads, "ibapi"))["ok", NEWEST, False]
    assert verdict(wire, target, {"ib_insync": hung.result, "ibapi": answered.result}) is Verdict.CLIENT_FAULT


async def diagnosed(*arguments: str) -> dict[str, Any]:
    """What `diagnose --json` prints."""
    command = [sys.executable, "-m", "exporter", "diagnose", "--json", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    return dict(json.loads(printed))


@pytest.mark.slow
async def test_diagnose_has_each_library_download_the_account_where_that_is_asked_for() -> None:
    make_client("ib_async")
    async with Gateway("ok", setup=WIDE) as gateway:
        asked = (f"127.0.0.1:{gateway.port}", "--clients", "ib_async")
        shown = [await diagnosed(*asked), await diagnosed(*asked, "--download")]
    stages = [{layer["layer"]: layer["stages"] for layer in each["layers"]} for each in shown]
    assert [each["verdict"] for each in shown] == ["healthy", "healthy"]
    assert [set(SYNC) <= set(each["client"]) for each in stages] == [False, True]
    assert [set(SYNC) <= set(each.get("download", ())) for each in stages] == [False, True]
