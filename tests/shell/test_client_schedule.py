"""When clients are probed and what their failures count for, with libraries in our own loop and a clock that is turned."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from exporter.clients.pool import ClientPool
from exporter.model import ClientSpec, Doubt, Layer, Outcome, Stage, Target, Verdict
from exporter.service.service import Service
from exporter.simulator.gateway import Gateway
from exporter.state.exporter import ExporterState
from exporter.verdict.explanation import explain
from tests.shell.clients_fakes import InLoopWorker, Then
from tests.shell.test_service_clients import at, in_verdict, tried

pytestmark = pytest.mark.turned_clock


@asynccontextmanager
async def watching(*targets: Target, importing: float = 0.0, **libraries: Then | None) -> AsyncIterator[Service]:
    pool = ClientPool(lambda spec: InLoopWorker(spec.name, libraries[spec.name], importing=importing))
    async with Service(ExporterState("test", "3"), pool=pool) as service:
        await service.apply(targets, {name: ClientSpec(name, "fake", deadline=4.0) for name in libraries})
        yield service


async def hang(*_: object) -> None:
    await asyncio.Event().wait()


async def lose(*_: object) -> None:
    raise EOFError


async def test_a_gateway_that_freezes_while_a_client_is_tried_is_blamed_and_the_client_is_not() -> None:
    """The handshake before succeeds; the gateway freezes once the client is connected."""
    connected = asyncio.Event()

    async def wait(*_: object) -> None:
        connected.set()
        await asyncio.sleep(1.0)
        raise ValueError

    async with Gateway("ok") as gateway, watching(at(gateway, "good"), good=wait) as service:
        await connected.wait()
        await gateway.set_mode("silent")
        result = await tried(service, "good")
        assert service.states["gateway"].verdict is Verdict.API_SILENT
        assert (result.outcome, result.doubt) == (Outcome.CRASHED, Doubt.FALL)


async def test_a_client_that_loses_its_connection_is_shown_at_once_and_accused_at_the_second_time() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway, "bad", interval=6.0), bad=lose) as service:
        first = await tried(service, "bad")
        state = service.states["gateway"]
        assert (first.outcome, first.doubt, state.verdict) == (Outcome.CLOSED, Doubt.ONCE, Verdict.HEALTHY)
        assert state.last is not None
        lines = explain(state.last, state.target, state.verdict).evidence
        said = next(line for line in lines if line.startswith("bad (bad 1.2.3 on Python 3."))
        assert "it counts if the next try fails too" in said
        after = await in_verdict(service, Verdict.CLIENT_FAULT, within=30.0)
        second = after.client_probes["bad"]
        assert second.result.doubt is None
        assert second.at - state.client_probes["bad"].at >= state.target.interval
        assert after.probes[Layer.CLIENT, "bad"] == 2
        assert after.connections == gateway.recorder.opened
        assert gateway.recorder.open_most == 1


async def test_a_gateway_whose_sessions_stall_while_a_client_is_tried_is_blamed_and_nothing_once_it_recovers() -> None:
    """Its handshake goes on: only a whole probe of the wire can tell."""
    connected = asyncio.Event()

    async def wait(*_: object) -> None:
        connected.set()
        await asyncio.sleep(1.0)
        raise ValueError

    async with (
        Gateway("ok") as gateway,
        watching(at(gateway, "good", interval=6.0), good=wait) as service,
    ):
        await connected.wait()
        await gateway.set_mode("requests_unanswered")
        result = await tried(service, "good")
        assert service.states["gateway"].verdict is Verdict.SESSION_STALLED
        assert (result.outcome, result.doubt) == (Outcome.CRASHED, Doubt.WIRE)
        await gateway.set_mode("ok")
        state = await in_verdict(service, Verdict.HEALTHY)
        assert state.client_probes["good"].result is result
        assert Verdict.CLIENT_FAULT not in [change.verdict for change in state.changes]


async def test_a_slow_import_holds_up_no_probe_of_the_wire() -> None:
    async with Gateway("ok") as gateway:
        target = at(gateway, "good", interval=0.2, deadline=0.1)
        async with watching(target, importing=1.5, good=None) as service:
            await asyncio.sleep(1.3)
            assert service.states["gateway"].probes[Layer.PORT, ""] >= 5


async def test_a_client_that_hangs_lets_the_wire_be_probed_in_time() -> None:
    """Its interval is shorter than the client's deadline: the probe takes the target, and nothing expires."""
    async with Gateway("ok") as gateway:
        target = at(gateway, "bad", interval=1.0, deadline=0.6)
        async with watching(target, bad=hang) as service:
            await asyncio.sleep(6.0)
            state = service.states["gateway"]
            assert state.probes[Layer.PORT, ""] >= 5
            assert state.verdict is Verdict.HEALTHY  # a timeout after so short a time does not count
            assert gateway.recorder.open_most == 1


async def test_a_hang_within_its_own_deadline_is_a_failure_and_names_the_stage() -> None:
    async with (
        Gateway("ok") as gateway,
        watching(at(gateway, "bad", interval=8.0), bad=hang) as service,
    ):
        state = await in_verdict(service, Verdict.CLIENT_FAULT, within=45.0)
        assert state.client_probes["bad"].result.outcome is Outcome.TIMEOUT
        assert state.client_probes["bad"].result.stage is Stage.CONNECT


async def test_a_hang_at_a_target_probed_more_often_than_a_try_may_take_is_a_failure_too() -> None:
    """The try is over before the probe of the wire, which waits for it, ends it: of that nothing would be said."""
    spec = {"bad": ClientSpec("bad", "fake", deadline=20.0)}
    async with Gateway("ok") as gateway, watching(bad=hang) as service:
        await service.apply([at(gateway, "bad", interval=6.0, deadline=3.0)], spec)
        result = await tried(service, "bad", within=30.0)
        assert (result.outcome, result.stage, result.doubt) == (Outcome.TIMEOUT, Stage.CONNECT, Doubt.ONCE)
        assert gateway.recorder.open_most == 1
