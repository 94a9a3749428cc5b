"""A gateway, or a relay before it, that answers every hello but our newest."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from exporter.cli.diagnose import examine
from exporter.clients.pool import ClientPool
from exporter.model import ClientSpec, Hello, Layer, Mode, Outcome, Target, Verdict
from exporter.probes.target import LOWER_SECONDS
from exporter.service.service import Service
from exporter.service.target_loop import LOWER_AFTER, LOWER_EVERY
from exporter.simulator.gateway import Gateway
from exporter.state.claims import explanation
from exporter.state.exporter import ExporterState
from exporter.verdict.explanation import explain
from exporter.verdict.rules import judge
from tests.shell.clients_fakes import InLoopWorker
from tests.shell.clients_real import make_client
from tests.shell.support import PATIENCE, until

pytestmark = pytest.mark.turned_clock

MODES = {"newest_hello_silent": Verdict.API_SILENT, "newest_hello_closed": Verdict.CLOSED_BEFORE_HANDSHAKE}


def at(gateway: Gateway, **changes: object) -> Target:
    target = Target("gateway", gateway.host, gateway.port, Mode.PAPER, 0.3, 0.2, client_ids=(9001,))
    return replace(target, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", MODES)
async def test_diagnose_says_that_a_lower_hello_is_answered_and_which_key_to_set(mode: str) -> None:
    async with Gateway(mode) as gateway:
        target = at(gateway)
        report = await examine(target, [], None, lambda _: None)
        assert report.connections == gateway.recorder.opened == 2
        assert gateway.recorder.open_most == 1
    verdict = judge(report, target)
    assert verdict is MODES[mode]
    said = explain(report, target, verdict)
    assert said.headline == f"{target.endpoint} answers a lower hello than ours: set api_versions"
    assert said.actions[0].startswith("Set api_versions: 100..176 for this target")
    assert "A lower hello, v100..176, was answered: server version 176." in said.evidence
    assert "The gateway is alive" in said.meaning
    assert not any("estart" in action for action in said.actions)  # that would end the sessions that work


@pytest.mark.parametrize("mode", MODES)
async def test_with_that_key_the_gateway_is_healthy(mode: str) -> None:
    async with Gateway(mode) as gateway:
        target = at(gateway, hello=Hello(100, 176))
        assert judge(await examine(target, [], None, lambda _: None), target) is Verdict.HEALTHY


async def test_a_gateway_that_answers_no_hello_is_said_to_be_silent_as_before() -> None:
    async with Gateway("silent") as gateway:
        target = at(gateway)
        report = await examine(target, [], None, lambda _: None)
    said = explain(report, target, judge(report, target))
    assert "api_versions" not in " ".join((said.headline, *said.evidence, *said.actions))


@pytest.mark.parametrize("mode", MODES)
async def test_the_service_says_so_too_after_some_ticks_and_forgets_it_when_the_hello_is_answered(mode: str) -> None:
    async with Gateway(mode) as gateway, Service(ExporterState("test", "3")) as service:
        await service.apply([at(gateway)])
        async with asyncio.timeout(PATIENCE):
            await service.wait_for(lambda: service.states["gateway"].lower_hello is not None)
            state = service.states["gateway"]
            assert state.probes[Layer.HANDSHAKE, ""] == LOWER_AFTER
            assert state.last is not None
            assert explanation(state, state.last).actions[0].startswith("Set api_versions: 100..176")
            await gateway.set_mode("ok")
            await service.wait_for(lambda: service.states["gateway"].verdict is Verdict.HEALTHY)
        assert service.states["gateway"].lower_hello is None
        await until(lambda: not gateway.recorder.open_now)
        assert gateway.recorder.open_most == 1


async def test_a_lower_hello_that_stays_unanswered_holds_the_next_result_up_for_an_interval_at_most() -> None:
    times: list[float] = []
    async with Gateway("silent") as gateway, Service(ExporterState("test", "3")) as service:
        target = at(gateway, interval=0.5)
        await service.apply([target])

        def several() -> bool:
            last = service.states["gateway"].last
            if last is not None and last.at not in times:
                times.append(last.at)
            return len(times) == LOWER_AFTER + 3

        async with asyncio.timeout(PATIENCE):
            await service.wait_for(several)
        assert gateway.recorder.opened > len(times)  # one was the lower hello
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) < 2 * target.interval + target.deadline + LOWER_SECONDS / 2


@pytest.mark.parametrize("mode", ["silent", "close_after_hello", "half_reply"])
async def test_a_gateway_that_answers_no_hello_gets_one_connection_a_tick_and_few_lower_hellos(mode: str) -> None:
    ticks = LOWER_AFTER + LOWER_EVERY
    async with Gateway(mode) as gateway, Service(ExporterState("test", "3")) as service:
        await service.apply([at(gateway, interval=0.5)])
        async with asyncio.timeout(PATIENCE):
            await service.wait_for(lambda: service.states["gateway"].probes.get((Layer.HANDSHAKE, ""), 0) > ticks)
        hellos = [record.hello[8:] for record in gateway.recorder][: ticks + 2]
        assert gateway.recorder.open_most == 1
    usual, lower = b"v100..226", b"v100..176"
    assert hellos == [usual] * LOWER_AFTER + [lower] + [usual] * LOWER_EVERY + [lower]


async def test_with_the_usual_timings_every_library_has_the_time_to_get_through_there() -> None:
    clients = {name: ClientSpec(name, "fake") for name in ("one", "two", "three", "four")}

    async def answer_two_requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader, writer
        await asyncio.sleep(1.2)

    pool = ClientPool(lambda spec: InLoopWorker(spec.name, answer_two_requests))
    async with Gateway("newest_hello_silent") as gateway, Service(ExporterState("test", "3"), pool=pool) as service:
        await service.apply([at(gateway, interval=15.0, deadline=5.0, clients=tuple(clients))], clients)
        async with asyncio.timeout(6 * 60.0):
            await service.wait_for(lambda: service.states["gateway"].lower_hello is not None)
            ticks = service.states["gateway"].probes[Layer.HANDSHAKE, ""]
            await service.wait_for(lambda: service.states["gateway"].probes[Layer.HANDSHAKE, ""] > ticks + 8)
        state = service.states["gateway"]
    assert [state.client_probes[name].result.outcome for name in clients] == [Outcome.OK] * len(clients)
    assert state.silence is not None
    assert state.silence.seconds > 60.0


@pytest.mark.real_clock
async def test_the_service_tries_the_libraries_there_and_shows_that_they_get_through() -> None:
    make_client("ib_insync")
    clients = {"ib_insync": ClientSpec("ib_insync", "ib_insync", interval=2.0, deadline=5.0)}
    async with (
        Gateway("newest_hello_closed") as gateway,
        Service(ExporterState("test", "3"), pool=ClientPool()) as service,
    ):
        await service.apply([at(gateway, interval=3.0, deadline=1.0, clients=tuple(clients))], clients)
        async with asyncio.timeout(PATIENCE):
            await service.wait_for(
                lambda: any(probe.result.ok for probe in service.states["gateway"].client_probes.values())
            )
        state = service.states["gateway"]
        assert state.verdict is Verdict.CLOSED_BEFORE_HANDSHAKE
        assert state.last is not None
        assert any("ib_insync got through" in line for line in explanation(state, state.last).evidence)
        ticks = state.probes[Layer.HANDSHAKE, ""]
        async with asyncio.timeout(PATIENCE):
            await service.wait_for(lambda: service.states["gateway"].probes[Layer.HANDSHAKE, ""] > ticks + 1)
        state = service.states["gateway"]
        assert (state.verdict, state.falls.by_client) == (Verdict.CLOSED_BEFORE_HANDSHAKE, {})
