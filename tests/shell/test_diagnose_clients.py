"""`diagnose` with client libraries: what is shown when, and how the time is shared."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.cli.diagnose import DOWNLOAD, MORE, NO_TIME, UNPROVEN, Progress, examine
from exporter.cli.time_budget import FAILING_BUDGET, WIRE_SHARE
from exporter.clients.pool import ClientPool
from exporter.clients.probe import COMPARED
from exporter.clients.worker import Worker, WorkerResult
from exporter.model import (
    Cause,
    ClientSpec,
    Doubt,
    InstalledVersion,
    Layer,
    LayerResult,
    Mode,
    Outcome,
    Report,
    Stage,
    Target,
    Verdict,
)
from exporter.protocol.download import PERMITTED
from exporter.protocol.wire import Request
from exporter.simulator.gateway import Gateway
from exporter.simulator.settings import GatewaySettings
from exporter.verdict.client_blame import CONVINCING
from exporter.verdict.rules import judge
from tests.shell.clients_fakes import write_driver

pytestmark = pytest.mark.turned_clock

SPEC = ClientSpec("fake", "fake")
SIX = [ClientSpec(f"fake-{number}", "fake") for number in range(6)]
LIMIT = 3.0  # seconds
DOWNLOADS = GatewaySettings(permitted=frozenset({*Request, *PERMITTED}))


class FixedWorker(Worker):
    """A worker without a process: it gives one result, and keeps the seconds that each probe was given."""

    def __init__(self, spec: ClientSpec, outcome: Outcome, folder: Path, limits: list[float]) -> None:
        super().__init__(spec.name, write_driver(folder), sys.executable)
        self.result = LayerResult(
            layer=Layer.CLIENT, outcome=outcome, seconds=0.1, stage=Stage.CONNECT, cause=Cause.SILENCE, client=spec.name
        )
        self.limits = limits
        self.downloads = False

    async def start(self) -> InstalledVersion:
        return InstalledVersion("fake", "1.0", "3.12.1")

    async def probe(
        self, host: str, port: int, client_id: int, deadline: float, *_: Any, download: bool = False, **__: Any
    ) -> WorkerResult:
        del host, port, client_id  # it opens no connection
        self.limits.append(deadline)
        self.downloads = download
        return WorkerResult(self.result)

    async def stop(self) -> None:
        pass


def pool(folder: Path) -> ClientPool:
    return ClientPool(lambda spec: Worker(spec.name, write_driver(folder), sys.executable))


def fixed(folder: Path, outcome: Outcome, limits: list[float]) -> ClientPool:
    return ClientPool(lambda spec: FixedWorker(spec, outcome, folder, limits))


def target(gateway: Gateway, deadline: float) -> Target:
    return Target("t", gateway.host, gateway.port, Mode.PAPER, deadline=deadline, client_ids=(9001,))


async def look(
    gateway: Gateway, members: ClientPool, show: Callable[[Progress], object]
) -> tuple[Report, Verdict, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    report = await examine(target(gateway, 20.0), [SPEC], LIMIT, show, members)
    return report, judge(report, target(gateway, 20.0)), loop.time() - began


async def test_a_gateway_that_falls_silent_during_the_probe_costs_no_more_than_the_limit(tmp_path: Path) -> None:
    async with Gateway("ok") as gateway:
        changes: list[asyncio.Task[None]] = []

        def show(progress: Progress) -> None:
            if progress.running and not changes:
                changes.append(asyncio.create_task(gateway.set_mode("silent")))

        report, verdict, took = await look(gateway, fixed(tmp_path, Outcome.CLOSED, []), show)
        assert took < LIMIT + 0.1
        # The first probe found it well, and no later one had its time: nothing is claimed of the gateway or the library.
        assert verdict is Verdict.HEALTHY
        client = report.results[-1]
        assert (client.outcome, client.detail) == (Outcome.UNAVAILABLE, UNPROVEN)
        assert report.connections == gateway.recorder.opened


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [("ok", Verdict.HEALTHY), ("silent", Verdict.API_SILENT), ("no_accounts", Verdict.SESSION_STALLED)],
)
async def test_the_wires_verdict_is_there_before_the_first_library_and_each_result_at_once(
    tmp_path: Path, mode: str, verdict: Verdict
) -> None:
    shown: list[Progress] = []
    async with Gateway(mode) as gateway:
        asked = target(gateway, 0.5)
        await examine(
            asked, SIX, None, shown.append, fixed(tmp_path, Outcome.OK if mode == "ok" else Outcome.TIMEOUT, [])
        )
    first = shown[0]
    assert judge(first.report, asked) is verdict
    assert all(result.outcome is Outcome.SKIPPED for result in first.report.results if result.client)
    assert {*first.importing, *first.waiting} == {spec.name for spec in SIX}
    done = [
        sum(result.outcome is not Outcome.SKIPPED for result in one.report.results if result.client) for one in shown
    ]
    assert sorted(set(done)) == [0, 1, 2, 3, 4, 5, 6]
    assert [one.running for one in shown if one.running] == [spec.name for spec in SIX]


@pytest.mark.parametrize("mode", ["silent", "requests_unanswered", "no_accounts"])
async def test_on_a_failing_gateway_all_libraries_share_one_budget_and_none_is_blamed(
    tmp_path: Path, mode: str
) -> None:
    limits: list[float] = []
    async with Gateway(mode) as gateway:
        asked = target(gateway, 0.5)
        report = await examine(asked, SIX, None, lambda _: None, fixed(tmp_path, Outcome.TIMEOUT, limits))
        assert len(limits) == len(SIX)
        assert sum(limits) <= FAILING_BUDGET
        # Our own wire, and a lower hello where that stays unanswered: the fake clients open no connection.
        assert gateway.recorder.opened == (2 if mode == "silent" else 1)
    clients = [result for result in report.results if result.client]
    assert [result.outcome for result in clients] == [Outcome.TIMEOUT] * 6
    assert {result.doubt for result in clients} == ({None} if mode == "silent" else {Doubt.WIRE})
    assert judge(report, asked) in (Verdict.API_SILENT, Verdict.SESSION_STALLED)


async def test_on_a_working_gateway_a_library_gets_the_time_after_which_a_timeout_counts(tmp_path: Path) -> None:
    limits: list[float] = []
    async with Gateway("ok") as gateway:
        asked = target(gateway, 5.0)
        report = await examine(asked, [SPEC], None, lambda _: None, fixed(tmp_path, Outcome.TIMEOUT, limits))
    assert limits[0] >= 0.99 * CONVINCING  # the handshake before it takes nothing of that
    assert judge(report, asked) is Verdict.CLIENT_FAULT


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.TIMEOUT])
async def test_no_library_is_preceded_by_a_handshake_where_the_gateway_has_only_just_answered(
    tmp_path: Path, outcome: Outcome
) -> None:
    """On a gateway that takes two seconds to answer, a third of the time went into such handshakes."""
    async with Gateway("ok") as gateway:
        await examine(target(gateway, 20.0), SIX, None, lambda _: None, fixed(tmp_path, outcome, []))
        opened = gateway.recorder.opened
    if outcome is Outcome.OK:
        assert opened == 1
    else:  # the wire once more after each failure, and one comparison for all of them
        assert 1 + len(SIX) + COMPARED[0] <= opened <= 1 + len(SIX) + COMPARED[1]


async def test_a_timeout_after_too_short_a_time_asks_for_a_longer_limit(tmp_path: Path) -> None:
    async with Gateway("ok") as gateway:
        report, verdict, _ = await look(gateway, fixed(tmp_path, Outcome.TIMEOUT, []), lambda _: None)
    assert verdict is Verdict.HEALTHY
    assert report.results[-1].detail.endswith(" s only: give more with --timeout")


async def test_a_library_that_downloads_the_account_has_its_own_deadline_for_it(tmp_path: Path) -> None:
    spec = replace(SPEC, download=True, deadline=11.0)
    limits: list[float] = []
    worker = FixedWorker(spec, Outcome.OK, tmp_path, limits)
    async with Gateway("ok") as gateway:
        await examine(target(gateway, 5.0), [spec], None, lambda _: None, ClientPool(lambda _: worker))
    assert worker.downloads
    assert CONVINCING < limits[0] <= spec.deadline
    assert len(limits) == 1


async def test_a_download_that_a_limit_cuts_short_asks_for_a_longer_one() -> None:
    async with Gateway("ok", setup=DOWNLOADS) as gateway:
        report = await examine(replace(target(gateway, 5.0), download=True), [], 4.0, lambda _: None)
    (result,) = (each for each in report.results if each.layer is Layer.DOWNLOAD)
    assert result.outcome is Outcome.UNAVAILABLE
    assert result.detail.endswith(MORE)


async def test_the_wires_verdict_is_there_before_the_account_download() -> None:
    shown: list[Progress] = []
    async with Gateway("executions_unanswered", setup=DOWNLOADS) as gateway:
        asked = replace(target(gateway, 5.0), download=True)
        report = await examine(asked, [], None, shown.append)
    assert [(each.running, each.report.layer(Layer.DOWNLOAD)) for each in shown] == [(DOWNLOAD, None)]
    assert judge(report, asked) is Verdict.DOWNLOAD_STALLED


async def test_the_limit_is_shared_between_the_wire_and_the_libraries(tmp_path: Path) -> None:
    """Of ten seconds, unanswered requests once took all, and no library was tried."""
    limits: list[float] = []
    async with Gateway("requests_unanswered") as gateway:
        asked = target(gateway, 60.0)
        report = await examine(asked, SIX[:2], 4.0, lambda _: None, fixed(tmp_path, Outcome.TIMEOUT, limits))
    assert len(limits) == 2
    assert sum(limits) <= 4.0 * (1 - WIRE_SHARE)
    assert NO_TIME not in [result.detail for result in report.results]


async def test_a_library_that_gets_through_where_the_wire_did_not_has_the_wire_probed_once_more(tmp_path: Path) -> None:
    async with Gateway("silent") as gateway:

        async def recover(progress: Progress) -> None:
            await gateway.set_mode("ok")

        changes: list[asyncio.Task[None]] = []

        def show(progress: Progress) -> None:
            if progress.running and not changes:
                changes.append(asyncio.create_task(recover(progress)))

        asked = target(gateway, 1.0)
        report = await examine(asked, SIX[:3], None, show, fixed(tmp_path, Outcome.OK, []))
    assert judge(report, asked) is Verdict.HEALTHY
