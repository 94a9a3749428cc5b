from dataclasses import replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from exporter.maintenance import RESTART, WEEK, WEEKLY_LOGIN, Day, Window
from exporter.model import Cause, Mode, Outcome, Target, Verdict
from exporter.protocol.launcher_log import Login, LoginPhase, LogProblem
from exporter.state.claims import explanation, failing_since
from exporter.state.target import TargetState, fold
from exporter.verdict.actions import REMEDIES
from exporter.verdict.context import AFTER_RESET, PHASES, PROBLEMS, Context, context
from exporter.verdict.explanation import explain
from tests.core.states import HEALTHY, handshake_failed, port_failed, report

NEW_YORK = ZoneInfo("America/New_York")
DAILY = frozenset(WEEK)
OWN = Window(RESTART, DAILY, time(23, 45), timedelta(minutes=5), NEW_YORK)
RESET = Window("north_america", DAILY, time(0, 15), time(1, 45), NEW_YORK)
WEEKLY = Window(WEEKLY_LOGIN, frozenset({Day.SUNDAY}), time(1, 0), time(2, 0), NEW_YORK)
TARGET = Target("paper", "10.0.0.5", 7497, Mode.PAPER, windows=(RESET, WEEKLY, OWN))
PLAIN = replace(TARGET, windows=())
SHUT, CLOSED, LOST = Verdict.PORT_CLOSED, Verdict.CLOSED_BEFORE_HANDSHAKE, Verdict.UPSTREAM_DOWN


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


NOON = at("2026-12-09 12:00")  # a Wednesday
WAITING = Login(LoginPhase.WAITING_TWO_FACTOR, NOON - 40)


def test_without_a_log_and_windows_nothing_is_added() -> None:
    assert all(context(verdict, PLAIN, NOON) == Context() for verdict in Verdict)


def test_every_phase_but_unknown_and_every_problem_has_its_words() -> None:
    assert set(PHASES) == set(LoginPhase) - {LoginPhase.UNKNOWN}
    assert set(PROBLEMS) == set(LogProblem)


@pytest.mark.parametrize("verdict", [SHUT, CLOSED])
@pytest.mark.parametrize("phase", list(PHASES))
def test_each_phase_is_evidence_for_a_shut_door_with_its_time(verdict: Verdict, phase: LoginPhase) -> None:
    added = context(verdict, PLAIN, NOON, Login(phase, NOON - 5))
    assert added.evidence[0].startswith("By the launcher log ")
    assert "2026-12-09 16:59:55 UTC" in added.evidence[0]
    assert added.actions
    assert "{" not in "".join(added.evidence + added.actions)


def test_a_login_is_no_evidence_for_what_it_cannot_cause() -> None:
    others = set(Verdict) - {SHUT, CLOSED}
    assert all(context(verdict, PLAIN, NOON, WAITING) == Context() for verdict in others)


def test_while_a_push_waits_the_first_action_is_to_approve_it_and_none_distracts_from_it() -> None:
    said = explain(report(port_failed(Cause.CONNECT_REFUSED), NOON), PLAIN, SHUT, WAITING)
    assert said.actions[0].startswith("Approve the IB Key push")
    assert len(said.actions) == 2
    assert "diagnose" in said.actions[1]
    assert (
        said.evidence[-1]
        == "By the launcher log the login waits for two-factor approval, since 2026-12-09 16:59:20 UTC."
    )


def test_a_push_older_than_its_window_has_been_missed() -> None:
    assert "approve the push within 180 s" in context(SHUT, PLAIN, WAITING.at + 181, WAITING).actions[0]  # type: ignore[operator]
    assert context(SHUT, PLAIN, WAITING.at + 180, WAITING).actions[0].startswith("Approve")  # type: ignore[operator]


def test_a_push_after_an_automatic_restart_tells_of_the_saved_session() -> None:
    said = context(CLOSED, PLAIN, NOON, replace(WAITING, automatic=True)).evidence
    assert said[1] == "The gateway had restarted itself, and IBKR did not accept its saved session."


def test_a_phase_that_decides_nothing_leaves_the_usual_actions() -> None:
    said = explain(report(port_failed(Cause.CONNECT_REFUSED), NOON), PLAIN, SHUT, Login(LoginPhase.LOGGED_IN, NOON))
    assert len(said.actions) == 1 + len(REMEDIES[SHUT].actions)


@pytest.mark.parametrize("problem", list(LogProblem))
def test_a_log_that_cannot_be_read_is_said_and_decides_nothing(problem: LogProblem) -> None:
    added = context(SHUT, PLAIN, NOON, Login(problem=problem))
    assert added == Context((f"The launcher log says nothing: {PROBLEMS[problem]}.",))


def test_a_log_without_a_known_line_is_said() -> None:
    assert context(SHUT, PLAIN, NOON, Login()).evidence == ("The launcher log has no line about a login.",)


def test_an_outage_in_the_targets_own_restart_window_is_expected_until_its_end() -> None:
    began = at("2026-12-09 23:45:10")
    added = context(SHUT, TARGET, began + 60, None, began)
    assert "restart is open until 2026-12-10 04:50:00 UTC, and this is expected" in added.evidence[0]
    assert added.actions == ("Wait until 2026-12-10 04:50:00 UTC.",)


def test_an_outage_that_outlasts_the_restart_window_is_overdue() -> None:
    began = at("2026-12-09 23:45:10")
    added = context(CLOSED, TARGET, at("2026-12-10 03:55"), None, began)
    assert "restart, which ended 4 h 5 min ago: the recovery is overdue" in added.evidence[0]
    assert added.actions[0].startswith("Do not wait any longer")


def test_a_reset_of_ibkrs_servers_explains_a_lost_upstream_but_no_closed_port() -> None:
    began = at("2026-12-09 00:20")
    assert "this is expected" in context(LOST, TARGET, began, None, began).evidence[0]
    assert context(SHUT, TARGET, began, None, began) == Context()


@pytest.mark.parametrize("verdict", [LOST, SHUT])
def test_what_began_in_a_reset_and_outlasts_it_is_overdue_whatever_it_is(verdict: Verdict) -> None:
    added = context(verdict, TARGET, at("2026-12-09 02:00"), None, at("2026-12-09 00:20"))
    assert "north_america, which ended 15 min ago: the recovery is overdue" in added.evidence[0]


def test_the_calendar_says_nothing_of_wrong_addresses_and_accounts() -> None:
    began = at("2026-12-09 23:46")
    for verdict in (
        Verdict.NAME_UNRESOLVED,
        Verdict.NOT_TWS_API,
        Verdict.ACCOUNT_MISSING,
        Verdict.HEALTHY,
        Verdict.UNKNOWN,
    ):
        assert context(verdict, TARGET, began, None, began) == Context()


def test_a_door_that_is_shut_within_a_day_after_sunday_one_oclock_may_be_the_weekly_login() -> None:
    sunday = at("2026-12-13 23:47")
    added = context(SHUT, TARGET, sunday + 7200, None, sunday)
    assert any("Sunday at 01:00 New York time" in line for line in added.evidence)
    assert any(line.startswith("Log in by hand") for line in added.actions)
    monday = at("2026-12-14 01:00")
    assert context(SHUT, TARGET, monday, None, monday) == Context()
    assert not any("Sunday" in line for line in context(LOST, TARGET, sunday, None, sunday).evidence)


def test_a_decisive_login_keeps_the_calendars_evidence_but_not_its_patience() -> None:
    began = at("2026-12-09 23:45:10")
    added = context(SHUT, TARGET, began + 60, Login(LoginPhase.WAITING_TWO_FACTOR, began + 50), began)
    assert len(added.evidence) == 2
    assert not any(line.startswith("Wait until") for line in added.actions)


def test_a_target_fails_since_its_first_verdict_that_is_not_well() -> None:
    refused, silent = port_failed(Cause.CONNECT_REFUSED), handshake_failed(Cause.SILENCE, Outcome.TIMEOUT)
    state = TargetState(TARGET)
    since = []
    for number, results in enumerate([HEALTHY, refused, refused, silent, HEALTHY, silent]):
        made = report(results, 100.0 * number, TARGET)
        verdict = {id(HEALTHY): Verdict.HEALTHY, id(refused): SHUT, id(silent): Verdict.API_SILENT}[id(results)]
        state = fold(state, made, verdict)
        since.append(failing_since(state))
    assert since == [None, 100.0, 100.0, 100.0, None, 500.0]
    assert failing_since(TargetState(TARGET)) is None


def test_a_state_explains_itself_with_its_login_and_since_it_began_to_fail() -> None:
    began = at("2026-12-09 23:45:10")
    refused = port_failed(Cause.CONNECT_REFUSED)
    state = fold(TargetState(TARGET, login=Login(LoginPhase.LOGGING_IN, began)), report(refused, began, TARGET), SHUT)
    later = report(refused, at("2026-12-10 00:05"), TARGET)
    said = explanation(fold(state, later, SHUT), later)
    assert any("the login is under way" in line for line in said.evidence)
    assert any("restart, which ended 15 min ago" in line for line in said.evidence)


def test_a_login_rejected_within_a_reset_of_ibkr_is_tried_again_before_the_password_is_changed() -> None:
    night = at("2026-12-09 00:30")
    rejected = Login(LoginPhase.REJECTED, night)
    target = replace(TARGET, windows=(OWN, RESET, WEEKLY))
    added = context(SHUT, target, night, rejected)
    assert not added.decisive
    assert AFTER_RESET in added.actions
    assert any("logins are rejected that are right" in line for line in added.evidence)
    by_day = context(SHUT, target, NOON, Login(LoginPhase.REJECTED, NOON))
    assert by_day.decisive
    assert AFTER_RESET not in by_day.actions
