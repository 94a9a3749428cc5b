import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.metrics.exposition import exposition
from exporter.model import Mode, Target, Verdict
from exporter.protocol.launcher_log import LoginPhase, LogProblem
from exporter.service.service import Service
from exporter.state.claims import explanation
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState
from exporter.web import pages
from tests.shell.support import PATIENCE

pytestmark = pytest.mark.turned_clock

SECRET = "203.0.113.7"  # noqa: S105 - an address of a documentation network, as a log line may hold one
CHALLENGE = f"2026-08-28 22:30:05.000 INFO  [JTS-Main] - Received CHALLENGE from {SECRET} session 4711471147114711\n"
LOGGED_IN = f"2026-08-28 22:30:40.000 INFO  [JTS-Main] - Switching to a new encrypted log {SECRET}\n"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """Return a port on which no program listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    log = str(tmp_path / "launcher.log")
    return Target("paper", "127.0.0.1", port, Mode.PAPER, interval=0.05, deadline=1.0, launcher_log=log)


def write(target: Target, text: str) -> None:
    """Begin a new log; a former one is moved away as the gateway does it."""
    log = Path(target.launcher_log or "")
    if log.exists():
        log.rename(log.with_name("launcher.20260828.log"))
    log.write_text(text)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service(ExporterState("0", "3")) as service:
        yield service


async def state_where(service: Service, condition: Callable[[TargetState], bool]) -> TargetState:
    """The state of the one target as soon as it is so."""
    async with asyncio.timeout(PATIENCE):
        await service.wait_for(lambda: service.states["paper"].last is not None and condition(service.states["paper"]))
    return service.states["paper"]


def in_phase(phase: LoginPhase) -> Callable[[TargetState], bool]:
    return lambda state: state.login is not None and state.login.phase is phase


async def test_the_login_is_followed_from_tick_to_tick_and_explains_the_closed_port(
    service: Service, target: Target
) -> None:
    write(target, CHALLENGE)
    await service.apply([target])
    state = await state_where(service, in_phase(LoginPhase.WAITING_TWO_FACTOR))
    assert state.verdict is Verdict.PORT_CLOSED
    assert state.last is not None
    assert explanation(state, state.last).actions[0].startswith("Approve the IB Key push")
    write(target, LOGGED_IN)
    await state_where(service, in_phase(LoginPhase.LOGGED_IN))


async def test_nothing_of_a_log_line_but_its_phase_and_time_leaves_the_process(
    service: Service, target: Target
) -> None:
    write(target, CHALLENGE)
    with capture_logs() as logged:
        await service.apply([target])
        state = await state_where(service, in_phase(LoginPhase.WAITING_TWO_FACTOR))
    assert state.last is not None
    now = state.last.at
    shown = [repr(logged), repr(state), *exposition([state], now), json.dumps(pages.status([state], now))]
    shown += ["".join(pages.status_chunks([state], now)), pages.render_target(state, now)]
    for text in shown:
        assert SECRET not in text
        assert "4711471147114711" not in text
        assert "CHALLENGE" not in text
    assert 'phase="waiting_two_factor"} 1' in "".join(shown)
    assert "waiting_two_factor" in shown[-1]


async def test_a_log_that_cannot_be_read_is_warned_of_once_and_hinders_no_probe(
    service: Service, target: Target, tmp_path: Path
) -> None:
    target = replace(target, launcher_log=str(tmp_path))
    with capture_logs() as logged:
        await service.apply([target])
        state = await state_where(service, lambda state: sum(state.probes.values()) > 4)
    assert state.verdict is Verdict.PORT_CLOSED
    assert state.login is not None
    assert state.login.problem is LogProblem.NOT_A_FILE
    assert [entry["problem"] for entry in logged if entry["log_level"] == "warning"] == ["not_a_file"]


async def test_a_log_that_is_configured_no_more_leaves_no_phase_behind(service: Service, target: Target) -> None:
    write(target, CHALLENGE)
    await service.apply([target])
    await state_where(service, in_phase(LoginPhase.WAITING_TWO_FACTOR))
    await service.apply([replace(target, launcher_log=None)])
    assert service.states["paper"].login is None
    state = await state_where(service, lambda state: sum(state.probes.values()) > 2)
    assert state.login is None
