"""A gateway that stops answering when a library connects: named, kept away, and no one is accused of a coincidence."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from exporter.cli.diagnose import examine
from exporter.clients.pool import ClientPool
from exporter.metrics.exposition import exposition
from exporter.model import Cause, ClientSpec, Doubt, Layer, Mode, Outcome, Target, Verdict
from exporter.service.service import Service
from exporter.simulator.gateway import Gateway
from exporter.state.claims import explanation
from exporter.state.exporter import ExporterState
from exporter.state.falls import FallTimings
from exporter.state.target import TargetState
from exporter.verdict.explanation import explain
from exporter.verdict.rules import is_connectable, judge
from tests.shell.clients_fakes import InLoopWorker, ask_for_a_contract
from tests.shell.support import PATIENCE

pytestmark = pytest.mark.turned_clock

TIMINGS = FallTimings(after=0.5, rest=1.0, settled=0.2, recent=60.0)


def pool() -> ClientPool:
    """Libraries in our own loop; one that is called wedger asks for a contract, as every library's probe does."""
    return ClientPool(lambda spec: InLoopWorker(spec.name, ask_for_a_contract if spec.name == "wedger" else None))


def specs(*names: str) -> dict[str, ClientSpec]:
    return {name: ClientSpec(name, "fake", deadline=2.0, interval=0.5) for name in names}


@asynccontextmanager
async def serving(target: Target) -> AsyncIterator[Service]:
    async with Service(ExporterState("test", "3"), pool=pool(), falls=TIMINGS) as service:
        await service.apply([target], specs(*target.clients))
        yield service


def at(gateway: Gateway, *clients: str) -> Target:
    return Target("gateway", gateway.host, gateway.port, Mode.PAPER, 4.0, 0.4, client_ids=(9001,), clients=clients)


async def until(service: Service, condition: Callable[[TargetState], object], within: float = 30.0) -> TargetState:
    async with asyncio.timeout(within):
        await service.wait_for(lambda: bool(condition(service.states["gateway"])))
    return service.states["gateway"]


def suspended(state: TargetState, client: str) -> bool:
    assert state.last is not None
    return f'ibkr_client_suspended{{target="gateway",client="{client}"}} 1' in "".join(
        exposition([state], state.last.at)
    )


async def test_a_library_that_wedges_the_gateway_is_named_at_once_rests_and_is_kept_away_at_the_second_time() -> None:
    async with Gateway("wedged_by_library") as gateway:
        with capture_logs() as logged:
            async with serving(at(gateway, "good", "wedger")) as service:
                state = await until(service, lambda state: state.verdict is Verdict.API_SILENT)
                assert state.last is not None
                words = explanation(state, state.last)
                lines = words.evidence
                assert any("It began while wedger (wedger 1.2.3 on Python 3." in line for line in lines)
                assert "start programs that use wedger (wedger 1.2.3 on Python 3." in words.actions[-1]
                assert not any("none of them is to blame" in line for line in lines)
                state = await until(service, lambda state: suspended(state, "wedger"))
                assert not suspended(state, "good")
                state = await until(service, lambda state: state.client_probes["wedger"].result.cause is Cause.RESTING)
                assert state.client_probes["wedger"].result.outcome is Outcome.SKIPPED

                await gateway.set_mode("wedged_by_library")  # somebody has restarted it
                state = await until(service, lambda state: state.verdict is Verdict.HEALTHY)
                state = await until(service, lambda state: state.verdict is Verdict.CLIENT_BREAKS_GATEWAY)
                assert state.last is not None
                words = explanation(state, state.last)
                assert words.headline.startswith("wedger (wedger 1.2.3 on Python 3.")
                assert (
                    words.actions[0] == "Keep every program that uses this library and version away from this gateway."
                )
                assert not any("start programs that use" in action for action in words.actions)
                assert not is_connectable(state.verdict, state.last)

                await gateway.set_mode("wedged_by_library")
                state = await until(
                    service,
                    lambda state: is_connectable(state.verdict, state.last) and state.probes[Layer.CLIENT, "good"] > 2,
                )
                assert state.verdict is Verdict.CLIENT_BREAKS_GATEWAY
                tries = state.probes[Layer.CLIENT, "wedger"]
                good = state.probes[Layer.CLIENT, "good"]
                state = await until(service, lambda state: state.probes[Layer.CLIENT, "good"] > good + 2)
                assert state.probes[Layer.CLIENT, "wedger"] == tries == 2
                assert suspended(state, "wedger")

                await gateway.set_mode("ok")
                await service.apply([at(gateway, "good", "wedger")], specs("good", "wedger"))
                await until(service, lambda state: state.verdict is Verdict.HEALTHY and not suspended(state, "wedger"))
    fallen = [line for line in logged if line["event"] == "gateway stopped answering"]
    assert [(line["client"], line["count"]) for line in fallen] == [("wedger", 1), ("wedger", 2)]


async def test_a_failure_within_which_the_gateway_fell_is_shown_with_its_own_outcome() -> None:
    async with (
        Gateway("wedged_by_library") as gateway,
        serving(at(gateway, "wedger")) as service,
    ):
        state = await until(service, lambda state: "wedger" in state.client_probes)
        result = state.client_probes["wedger"].result
        assert (result.outcome, result.doubt) == (Outcome.TIMEOUT, Doubt.FALL)


PHASES = 24
ACCUSING = {Verdict.CLIENT_BREAKS_GATEWAY, Verdict.CLIENT_FAULT, Verdict.CLIENTS_FAILING}


async def test_a_freeze_at_any_moment_accuses_no_library() -> None:
    """Two freezes of each gateway, each at another moment of the cycle of probes; the libraries are well."""
    names = ("good", "other")
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(Gateway("ok")) for _ in range(PHASES)]
        targets = [replace(at(gateway, *names), name=f"gateway-{place}") for place, gateway in enumerate(gateways)]
        service = await stack.enter_async_context(Service(ExporterState("test", "3"), pool=pool(), falls=TIMINGS))
        await service.apply(targets, specs(*names))

        async def freeze(place: int) -> None:
            gateway, name = gateways[place], targets[place].name
            async with asyncio.timeout(PATIENCE):
                await service.wait_for(lambda: len(service.states[name].client_probes) == len(names))
                for turn in range(2):
                    await asyncio.sleep((place / PHASES + turn * 0.37) % 1 * targets[place].interval)
                    await gateway.set_mode("silent")
                    await service.wait_for(lambda: service.states[name].verdict is Verdict.API_SILENT)
                    await gateway.set_mode("ok")
                    await service.wait_for(lambda: service.states[name].verdict is Verdict.HEALTHY)
                    await service.wait_for(lambda: not service.states[name].falls.by_client)

        await asyncio.gather(*map(freeze, range(PHASES)))
        for state in service.states.values():
            assert not {change.verdict for change in state.changes} & ACCUSING, state.changes
        fallen = [state for state in service.states.values() if any(judged.report.fall for judged in state.failures)]
        assert fallen, "at some moment a library was connecting"


async def test_a_gateway_that_falls_silent_after_our_own_session_twice_in_a_row_gets_no_more_of_them() -> None:
    async with Gateway("ok") as gateway:
        target = replace(at(gateway, "good"), interval=0.5, client_ids=(9001, 9002), watch=True)
        async with serving(target) as service:
            for _ in range(2):
                await until(service, lambda state: state.verdict is Verdict.HEALTHY)
                await gateway.set_mode("silent")
                await until(service, lambda state: state.verdict is Verdict.API_SILENT)
                await gateway.set_mode("ok")
            state = await until(service, lambda state: state.verdict is Verdict.HEALTHY)
            assert state.last is not None
            lines = explanation(state, state.last).evidence
            assert any(line.startswith("No session was begun: twice in a row") for line in lines)
            shown = "".join(exposition([state], state.last.at))
            assert 'ibkr_session_suspended{target="gateway"} 1' in shown
            assert 'ibkr_watch_suspended{target="gateway"} 1' in shown
            begun = [record.client_id for record in gateway.recorder if record.client_id is not None]
            probed = state.probes[Layer.PORT, ""]
            await until(service, lambda state: state.probes[Layer.PORT, ""] > probed + 4)
            assert [record.client_id for record in gateway.recorder if record.client_id is not None] == begun
            await service.apply([target], specs("good"))
            await until(service, lambda state: state.watched.connected)


async def test_a_diagnosis_names_the_library_within_whose_connect_the_gateway_fell() -> None:
    async with Gateway("wedged_by_library") as gateway:
        target = replace(at(gateway, "wedger"), deadline=1.0)
        spec = ClientSpec("wedger", "fake", deadline=4.0)
        report = await examine(target, [spec], None, lambda _: None, pool=pool())
    assert judge(report, target) is Verdict.API_SILENT
    lines = explain(report, target, Verdict.API_SILENT).evidence
    assert any(line.startswith("It began while wedger (wedger 1.2.3 on Python 3.") for line in lines), lines
    assert not any("none of them is to blame" in line for line in lines)
