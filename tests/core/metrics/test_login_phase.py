from dataclasses import replace
from datetime import UTC, time, timedelta

from prometheus_client.parser import text_string_to_metric_families as parse

from exporter.maintenance import WEEK, Window
from exporter.metrics.exposition import exposition
from exporter.model import Cause
from exporter.protocol.launcher_log import Login, LoginPhase, LogProblem
from exporter.state.target import TargetState
from tests.core.states import T0, TARGET, grown, port_failed

# T0 is 02:00 UTC.
OPEN = Window("restart", frozenset(WEEK), time(1, 58), timedelta(minutes=5), UTC)
SHUT = Window("reset", frozenset(WEEK), time(4, 0), time(5, 0), UTC)
AGAIN = Window("reset", frozenset(WEEK), time(14, 0), time(15, 0), UTC)
WINDOWS = (OPEN, SHUT, AGAIN)


def shown(state: TargetState, name: str, label: str, now: float = T0 + 1) -> dict[str, float]:
    families = parse("".join(exposition([state], now)))
    found = [sample for family in families for sample in family.samples if sample.name == name]
    values = {sample.labels[label]: sample.value for sample in found}
    assert len(values) == len(found)
    return values


def failing(login: Login | None = None) -> TargetState:
    return replace(grown(port_failed(Cause.CONNECT_REFUSED), target=replace(TARGET, windows=WINDOWS)), login=login)


def test_exactly_the_present_phase_is_one() -> None:
    values = shown(failing(Login(LoginPhase.THROTTLED, T0)), "ibkr_login_phase", "phase")
    assert values == {phase.value: float(phase is LoginPhase.THROTTLED) for phase in LoginPhase}


def test_a_log_that_cannot_be_read_shows_unknown() -> None:
    values = shown(failing(Login(problem=LogProblem.MISSING)), "ibkr_login_phase", "phase")
    assert [phase for phase, value in values.items() if value] == ["unknown"]


def test_without_a_log_or_when_the_state_has_expired_no_phase_is_claimed() -> None:
    assert shown(failing(), "ibkr_login_phase", "phase") == {}
    assert shown(failing(Login(LoginPhase.IDLE)), "ibkr_login_phase", "phase", T0 + 46) == {}


def test_every_window_of_a_target_is_shown_by_its_name_once() -> None:
    assert shown(failing(), "ibkr_maintenance_window", "window") == {"restart": 1.0, "reset": 0.0}
    assert shown(failing(), "ibkr_maintenance_window", "window", T0 + 12.5 * 3600) == {"restart": 0.0, "reset": 1.0}


def test_the_calendar_is_shown_even_if_the_target_was_never_probed() -> None:
    state = TargetState(replace(TARGET, windows=WINDOWS))
    assert shown(state, "ibkr_maintenance_window", "window") == {"restart": 1.0, "reset": 0.0}
    assert shown(TargetState(TARGET), "ibkr_maintenance_window", "window") == {}
