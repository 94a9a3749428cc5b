"""New connections that are silent beside the watch's session: a limit of connections, a stuck gateway, or a relay."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from exporter.metrics.exposition import exposition
from exporter.model import Layer, Mode, Target, Verdict
from exporter.service.service import Service
from exporter.service.watch import HeartbeatTimings
from exporter.simulator.gateway import Gateway
from exporter.simulator.recorder import ClientEnd
from exporter.simulator.settings import GatewaySettings
from exporter.state.claims import explanation
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState
from exporter.verdict.rules import is_connectable
from tests.shell.support import PATIENCE

pytestmark = pytest.mark.turned_clock

PROBES, WATCH = 9001, 9002
QUICK = HeartbeatTimings(heartbeat=0.2, late=0.1, again=0.12, given_up=0.22)


def at(gateway: Gateway, interval: float = 0.5, deadline: float = 0.6) -> Target:
    return Target(
        "gateway",
        gateway.host,
        gateway.port,
        Mode.PAPER,
        interval,
        deadline,
        client_ids=(PROBES, WATCH),
        watch=True,
    )


@asynccontextmanager
async def watching(target: Target) -> AsyncIterator[Service]:
    async with Service(ExporterState("test", "3"), timings=QUICK) as service:
        await service.apply([target])
        yield service


async def until(service: Service, condition: object, within: float = 15.0) -> TargetState:
    async with asyncio.timeout(within):
        await service.wait_for(lambda: bool(condition(service.states["gateway"])))  # type: ignore[operator]
    return service.states["gateway"]


def evidence(state: TargetState) -> str:
    assert state.last is not None
    return " ".join(explanation(state, state.last).evidence)


def sample(state: TargetState, name: str) -> str:
    assert state.last is not None
    text = "".join(exposition([state], state.last.at))
    return next(line for line in text.splitlines() if line.startswith(f"{name}{{"))


@pytest.mark.parametrize("connections", [1, 2])
async def test_a_gateway_whose_last_place_the_watch_holds_is_left_to_trading_programs(connections: int) -> None:
    settings = GatewaySettings(connections=connections)
    async with Gateway("one_connection", setup=settings) as gateway:
        others = [await asyncio.open_connection(gateway.host, gateway.port) for _ in range(connections - 1)]
        with capture_logs() as logged:
            async with watching(at(gateway)) as service:
                state = await until(service, lambda state: state.release.limit)
                state = await until(service, lambda state: state.last.remarks and state.verdict is Verdict.HEALTHY)
                assert [change.verdict for change in state.changes] == [Verdict.HEALTHY]
                assert "serves a limited number of connections" in evidence(state)
                assert "The watch is suspended until the configuration is reloaded" in evidence(state)
                assert sample(state, "ibkr_watch_connected").endswith(" 0")
                assert sample(state, "ibkr_watch_suspended").endswith(" 1")
                assert sample(state, "ibkr_up").endswith(" 1")
                probed = state.probes[Layer.PORT, ""]
                state = await until(service, lambda state: state.probes[Layer.PORT, ""] > probed + 3)
                assert [change.verdict for change in state.changes] == [Verdict.HEALTHY]
                watches = [record for record in gateway.recorder if record.client_id == WATCH]
                assert [record.client_end for record in watches] == [ClientEnd.FIN]
        assert sum("watch suspended" in line["event"] for line in logged) == 1
        for _, writer in others:
            writer.close()


async def test_every_connection_is_counted_while_the_limit_is_found() -> None:
    async with Gateway("one_connection") as gateway, watching(at(gateway)) as service:
        await until(service, lambda state: state.release.limit)
        async with asyncio.timeout(PATIENCE):
            while service.states["gateway"].connections != gateway.recorder.opened:  # noqa: ASYNC110 - the recorder has no event
                await asyncio.sleep(0.002)
        assert gateway.recorder.open_most <= 2
        assert gateway.recorder.forbidden == 0


async def test_a_reload_lets_the_watch_try_again() -> None:
    async with Gateway("one_connection") as gateway, watching(at(gateway)) as service:
        await until(service, lambda state: state.release.limit)
        await gateway.set_mode("ok")
        await service.apply([at(gateway)])
        state = await until(service, lambda state: state.watched.connected)
        assert not state.release.suspended


async def test_a_program_in_the_only_place_is_no_reason_to_restart_once_the_limit_is_known() -> None:
    async with Gateway("one_connection") as gateway, watching(at(gateway)) as service:
        await until(service, lambda state: state.release.limit)
        await until(service, lambda state: state.verdict is Verdict.HEALTHY)
        await gateway.set_mode("sessions_only")  # as if a program had the place
        state = await until(service, lambda state: state.verdict is not Verdict.HEALTHY)
        assert state.verdict is Verdict.NEW_CONNECTIONS_SILENT
        assert "another program may have the place" in evidence(state)


async def test_silent_new_connections_beside_an_answered_session_are_named_and_need_no_restart() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway)) as service:
        await until(service, lambda state: state.watched.connected)
        await gateway.set_mode("sessions_only")
        state = await until(service, lambda state: state.verdict is not Verdict.HEALTHY)
        assert state.verdict is Verdict.NEW_CONNECTIONS_SILENT
        assert state.last is not None
        words = explanation(state, state.last)
        assert "do not restart it now" in words.headline
        assert words.actions[0].startswith("Do not restart the gateway now, and do not reconnect")
        assert "a session that existed was answered" in " ".join(words.evidence)
        assert not is_connectable(state.verdict, state.last)
        probed = state.probes[Layer.PORT, ""]
        state = await until(service, lambda state: state.probes[Layer.PORT, ""] > probed + 2)
        assert state.verdict is Verdict.NEW_CONNECTIONS_SILENT
        assert not state.watched.connected
        await gateway.set_mode("ok")
        await until(service, lambda state: state.verdict is Verdict.HEALTHY and state.watched.connected)
        await gateway.set_mode("sessions_only")
        await until(service, lambda state: state.verdict is Verdict.NEW_CONNECTIONS_SILENT)
        await gateway.set_mode("ok")
        state = await until(service, lambda state: state.verdict is Verdict.HEALTHY)
        assert state.release.suspended, "it let go twice, and does not flap"


async def test_a_freeze_of_the_whole_gateway_is_still_a_silent_api() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway)) as service:
        for _ in range(3):
            await until(service, lambda state: state.watched.connected)
            await asyncio.sleep(1.0)
            await gateway.set_mode("silent")
            await until(service, lambda state: state.verdict is Verdict.API_SILENT)
            await gateway.set_mode("ok")
            await until(service, lambda state: state.verdict is Verdict.HEALTHY)
        state = service.states["gateway"]
        assert {change.verdict for change in state.changes} <= {
            Verdict.HEALTHY,
            Verdict.API_SILENT,
            Verdict.SESSION_STALLED,
        }
        assert not state.release.times
