"""The service on real sockets: the clock of each target, reloads, faults of our own, and the end."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from exporter.model import Hello, Layer, Mode, Report, Target, Verdict
from exporter.probes.launcher_log import LogFollower, Snapshot
from exporter.service.service import Service
from exporter.service.states import TargetStates
from exporter.service.target_loop import TargetLoop
from exporter.simulator.gateway import Gateway
from exporter.simulator.recorder import ClientEnd
from exporter.simulator.settings import GatewaySettings
from exporter.state.exporter import ExporterState
from exporter.state.target import PAUSE, TargetState
from tests.shell.support import PATIENCE, shared_of, until

pytestmark = pytest.mark.turned_clock


@asynccontextmanager
async def watching(*targets: Target) -> AsyncIterator[Service]:
    async with Service(ExporterState("test", "3")) as service:
        await service.apply(targets)
        yield service


def at(gateway: Gateway, name: str = "gateway", interval: float = 0.1, deadline: float = 0.05) -> Target:
    return Target(name, gateway.host, gateway.port, Mode.PAPER, interval, deadline)


async def in_verdict(service: Service, verdict: Verdict, name: str = "gateway", within: float = PATIENCE) -> None:
    async with asyncio.timeout(within):
        await service.wait_for(lambda: service.states[name].verdict is verdict)


async def opened(gateway: Gateway, number: int) -> None:
    await until(lambda: gateway.recorder.opened >= number)


async def ended(gateway: Gateway) -> None:
    await until(lambda: not gateway.recorder.open_now)


async def test_a_target_whose_task_died_of_a_fault_of_ours_is_probed_again_after_an_interval() -> None:
    ticks: list[int] = []

    def break_once(_: float, skipped: int) -> None:
        ticks.append(skipped)
        if len(ticks) == 1:
            msg = "a fault of ours after a tick"
            raise RuntimeError(msg)

    states, now = TargetStates(), asyncio.get_running_loop().time()
    async with Gateway("ok") as gateway:
        target = at(gateway)
        states.put(TargetState(target))
        loop = asyncio.create_task(TargetLoop(target, (), shared_of(states, on_tick=break_once), now, now).run())
        await until(lambda: loop.done() or len(ticks) > 2)
        assert not loop.done()
        verdicts = [change.verdict for change in states["gateway"].changes]
        assert verdicts[-2:] == [Verdict.PROBE_BROKEN, Verdict.HEALTHY]
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def test_a_verdict_follows_the_gateway_tick_by_tick() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway)) as service:
        await in_verdict(service, Verdict.HEALTHY)
        await gateway.set_mode("silent")
        await in_verdict(service, Verdict.API_SILENT)
        await gateway.set_mode("refused")
        await in_verdict(service, Verdict.PORT_CLOSED)
        await gateway.set_mode("ok")
        await in_verdict(service, Verdict.HEALTHY)
        verdicts = [change.verdict for change in service.states["gateway"].changes]
    assert verdicts == [Verdict.HEALTHY, Verdict.API_SILENT, Verdict.PORT_CLOSED, Verdict.HEALTHY]


async def test_a_target_that_falls_silent_is_probed_again_at_once_and_not_a_third_time() -> None:
    """The next tick is half a minute away; the second probe takes what is missing to tell a pause from a freeze."""
    async with Gateway("silent") as gateway, watching(at(gateway, interval=30.0)) as service:
        await opened(gateway, 2)
        assert service.states["gateway"].verdict is Verdict.API_SILENT, "the verdict does not wait for it"
        async with asyncio.timeout(PATIENCE):
            await service.wait_for(lambda: service.states["gateway"].probes[Layer.HANDSHAKE, ""] == 2)
        silence = service.states["gateway"].silence
        assert silence is not None
        assert silence.seconds >= PAUSE
        assert gateway.recorder.opened == 2


async def test_the_first_failure_is_probed_again_at_once_and_not_a_third_time() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway, interval=30.0)) as service:
        await in_verdict(service, Verdict.HEALTHY)
        loop = asyncio.get_running_loop()
        await gateway.set_mode("close_at_once")
        await in_verdict(service, Verdict.CLOSED_BEFORE_HANDSHAKE)
        failed_at = loop.time()
        await service.wait_for(lambda: service.states["gateway"].probes[Layer.HANDSHAKE, ""] == 3)
        assert loop.time() - failed_at < 1.0
        await service.wait_for(lambda: service.states["gateway"].probes[Layer.HANDSHAKE, ""] == 4)
        assert loop.time() - failed_at > 10.0


async def test_a_target_is_never_probed_twice_at_a_time_even_when_a_probe_outlasts_its_interval() -> None:
    async with Gateway("silent") as gateway, watching(at(gateway, interval=0.05, deadline=0.12)) as service:
        asked = [service.probe(service.states["gateway"].target) for _ in range(5)]
        reports = await asyncio.gather(*asked)
        await asyncio.sleep(0.6)
        assert gateway.recorder.open_most == 1
        assert len({report.at for report in reports}) == 1
        assert service.exporter.skipped_ticks > 0


async def test_every_connection_is_counted_and_ended_in_order() -> None:
    async with Gateway("ok") as gateway:
        async with watching(at(gateway)) as service:
            await asyncio.sleep(0.75)
            state = service.states["gateway"]
        await asyncio.sleep(0.05)
        assert state.connections == gateway.recorder.opened >= 5
        assert {record.client_end for record in gateway.recorder} == {ClientEnd.FIN}


async def test_the_end_comes_in_the_middle_of_a_probe_and_closes_it_in_order() -> None:
    async with Gateway("silent") as gateway:
        async with watching(at(gateway, interval=10.0, deadline=5.0)):
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.05)
        assert [record.client_end for record in gateway.recorder] == [ClientEnd.FIN]


async def test_the_end_comes_while_targets_wait_for_one_anothers_probe_of_the_same_endpoint() -> None:
    async with Gateway("silent") as gateway:
        names = [f"target-{number}" for number in range(50)]
        async with watching(*(at(gateway, name, interval=60.0, deadline=30.0) for name in names)):
            await asyncio.sleep(2.2)
            assert gateway.recorder.open_now == 1
            closing = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - closing < 2.0
        await asyncio.sleep(0.05)
        assert gateway.recorder.open_now == 0


async def test_a_reload_leaves_unchanged_targets_alone_and_keeps_what_is_known() -> None:
    async with Gateway("ok") as first, Gateway("ok") as second, watching() as service:
        one, two, three = (at(gateway, name, 60.0) for gateway, name in ((first, "1"), (second, "2"), (first, "3")))
        await service.apply([one, two])
        await in_verdict(service, Verdict.HEALTHY, "1")
        await in_verdict(service, Verdict.HEALTHY, "2")
        before = service.states["1"]
        slower = replace(two, interval=30.0)
        await service.apply([one, slower, three])
        await in_verdict(service, Verdict.HEALTHY, "3")
        assert service.states["1"] is before
        assert first.recorder.opened == 2
        assert service.states["2"].target is slower
        assert service.states["2"].probes[Layer.PORT, ""] >= 1
        await service.apply([slower])
        assert set(service.states) == {"2"}


async def test_the_connection_of_a_probe_that_a_reload_cuts_short_is_counted() -> None:
    async with Gateway("silent") as gateway, watching(at(gateway, interval=60.0, deadline=30.0)) as service:
        await opened(gateway, 1)
        await service.apply([at(gateway, interval=50.0, deadline=30.0)])
        assert service.states["gateway"].connections == 1
        await opened(gateway, 2)
        await service.apply([])
        assert gateway.recorder.opened == 2


async def test_the_connection_of_a_probe_whose_asker_gives_up_is_counted_and_one_of_another_target_is_not() -> None:
    async with Gateway("silent") as gateway, Gateway("silent") as other:
        target = at(gateway, interval=60.0, deadline=30.0)
        async with watching(target) as service:
            await opened(gateway, 1)
            await service.apply([replace(target, interval=50.0)])
            await opened(gateway, 2)
            stranger = replace(target, port=other.port)  # of the same name, and not what is watched
            asking = asyncio.create_task(service.probe(stranger))
            await opened(other, 1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert service.states["gateway"].connections == 1
            asking = asyncio.create_task(service.probe(target, 20.0))
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        assert (service.states["gateway"].connections, gateway.recorder.opened) == (2, 2)


async def test_a_probe_that_is_done_counts_even_if_the_look_at_its_launcher_log_is_cut_short() -> None:
    async with Gateway("ok") as gateway:
        target = replace(at(gateway, interval=60.0), launcher_log="launcher.log")
        release = threading.Event()

        def hang(path: Path, before: Snapshot) -> Snapshot:  # a dead network mount
            release.wait(PATIENCE)
            return before

        open_log = partial(LogFollower, patience=60.0, read=hang)
        async with Service(ExporterState("test", "3"), open_log=open_log) as service:
            await service.apply([target])
            await opened(gateway, 1)
            await ended(gateway)
            await until(lambda: not service._shared.endpoints._probes)
        release.set()
        state = service.states["gateway"]
        assert (state.connections, state.verdict) == (1, Verdict.HEALTHY)


async def test_a_target_that_moves_to_another_endpoint_starts_again() -> None:
    async with Gateway("ok") as one, Gateway("silent") as two, watching(at(one)) as service:
        await in_verdict(service, Verdict.HEALTHY)
        await service.apply([at(two)])
        await in_verdict(service, Verdict.API_SILENT)
        assert [change.verdict for change in service.states["gateway"].changes] == [Verdict.API_SILENT]


async def test_a_fault_of_ours_is_shown_as_ours_and_the_clock_goes_on() -> None:
    calls = 0

    def broken(report: Report, target: Target) -> Verdict:
        nonlocal calls
        calls += 1
        if calls == 2:
            msg = "a bug in a rule"
            raise RuntimeError(msg)
        return Verdict.HEALTHY

    async with (
        Gateway("ok") as gateway,
        Service(ExporterState("test", "3"), judge=broken) as service,
    ):
        await service.apply([at(gateway, interval=0.2)])
        await in_verdict(service, Verdict.HEALTHY)
        await asyncio.sleep(1.0)
        state = service.states["gateway"]
    assert calls > 2
    assert [change.verdict for change in state.changes] == [Verdict.HEALTHY, Verdict.PROBE_BROKEN, Verdict.HEALTHY]
    assert [judged.report.fault for judged in state.failures] == ["RuntimeError: a bug in a rule"]


async def test_a_hundred_targets_start_spread_and_are_all_judged_within_the_warm_up() -> None:
    async with Gateway("ok") as gateway:
        targets = [at(gateway, f"target-{number}", interval=30.0, deadline=2.0) for number in range(100)]
        async with watching(*targets) as service:
            await asyncio.sleep(3.0)
            assert {state.verdict for state in service.states.values()} == {Verdict.HEALTHY}
            starts = sorted(state.last.at for state in service.states.values() if state.last)
            gaps = [later - earlier for earlier, later in pairwise(starts)]
            assert max(gaps) < 0.5
            assert starts[-1] - starts[0] > 1.5


async def test_targets_of_one_endpoint_that_ask_differently_share_no_report() -> None:
    async with Gateway("slow", setup=GatewaySettings(slow=0.3)) as gateway:
        one = at(gateway, "one", interval=60.0, deadline=5.0)
        other = replace(one, name="other", hello=Hello(100, 178))
        async with watching() as service:
            reports = await asyncio.gather(service.probe(one), service.probe(one), service.probe(other))
        versions = [result.server.version for report in reports for result in report.results if result.server]
        assert versions == [226, 226, 178]
        assert gateway.recorder.opened == 2
        assert gateway.recorder.open_most == 1


async def test_the_connection_of_a_shared_probe_is_counted_once() -> None:
    async with Gateway(
        "slow", setup=GatewaySettings(slow=1.5)
    ) as gateway:  # the second is due a second after the first
        targets = [at(gateway, name, interval=60.0, deadline=5.0) for name in ("one", "other")]
        async with watching(*targets) as service:
            for target in targets:
                await in_verdict(service, Verdict.SLOW, target.name)
            states = [service.states[target.name] for target in targets]
            assert [state.probes[Layer.HANDSHAKE, ""] for state in states] == [1, 1]
            assert sum(state.connections for state in states) == gateway.recorder.opened == 1


async def test_a_report_for_which_two_had_asked_counts_once() -> None:
    async with Gateway("slow", setup=GatewaySettings(slow=0.3)) as gateway:
        target = at(gateway, interval=60.0, deadline=5.0)
        async with watching(target) as service:
            await opened(gateway, 1)
            report = await service.probe(target)
            service.record(report)
            await in_verdict(service, Verdict.HEALTHY)
            service.record(report)
            state = service.states[target.name]
            assert (state.probes[Layer.HANDSHAKE, ""], len(state.recent), state.connections) == (1, 1, 1)


async def test_its_connections_are_counted_even_if_who_opened_them_tells_of_it_last() -> None:
    """So it is where a launcher log keeps the tick that has probed waiting, and the try of a client shares its report."""
    async with Gateway("ok") as gateway:
        target = at(gateway, interval=60.0)
        async with watching(target) as service:
            await in_verdict(service, Verdict.HEALTHY)
            report = await service.probe(target)
            service.record(replace(report, connections=0))
            state = service.record(report)
            assert state.probes[Layer.HANDSHAKE, ""] == state.connections == gateway.recorder.opened == 2
