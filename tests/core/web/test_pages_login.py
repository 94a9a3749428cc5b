from dataclasses import replace
from datetime import UTC, time, timedelta

from exporter.maintenance import WEEK, Window
from exporter.model import Cause, Verdict
from exporter.protocol.launcher_log import Login, LoginPhase, LogProblem
from exporter.state.target import TargetState
from exporter.web import pages
from tests.core.states import T0, TARGET, grown, port_failed, report

# T0 is 02:00 UTC.
OPEN = Window("restart", frozenset(WEEK), time(1, 58), timedelta(minutes=5), UTC)
SHUT = Window("reset", frozenset(WEEK), time(4, 0), time(5, 0), UTC)
WAITING = Login(LoginPhase.WAITING_TWO_FACTOR, T0 - 20)
SHUT_DOOR = port_failed(Cause.CONNECT_REFUSED)


def failing(login: Login | None) -> TargetState:
    return replace(grown(SHUT_DOOR, target=replace(TARGET, windows=(OPEN, SHUT))), login=login)


def test_the_status_tells_the_login_and_which_windows_are_open() -> None:
    told = pages.state_json(failing(WAITING), T0 + 1)
    assert told["login"] == {"phase": "waiting_two_factor", "at": "2026-11-21T01:59:40Z", "problem": None}
    assert told["maintenance"] == {"restart": True, "reset": False}
    assert any("waits for two-factor approval" in line for line in told["evidence"])
    assert any("maintenance window restart" in line for line in told["evidence"])
    assert told["actions"][0].startswith("Approve the IB Key push")


def test_the_status_tells_why_a_log_says_nothing_and_null_where_there_is_none() -> None:
    unread = pages.state_json(failing(Login(problem=LogProblem.MISSING)), T0 + 1)
    assert unread["login"] == {"phase": "unknown", "at": None, "problem": "missing"}
    plain = pages.state_json(grown(SHUT_DOOR), T0 + 1)
    assert (plain["login"], plain["maintenance"]) == (None, {})


def test_diagnose_tells_the_login_in_its_evidence_and_actions() -> None:
    told = pages.report_json(TARGET, report(SHUT_DOOR), Verdict.PORT_CLOSED, WAITING)
    assert told["actions"][0].startswith("Approve the IB Key push")


def test_the_page_of_a_target_shows_the_login_and_every_window() -> None:
    shown = pages.render_target(failing(WAITING), T0 + 1)
    assert "waiting_two_factor, 21 s ago" in shown
    assert "01:58 for 5 min UTC, every day, open now" in shown
    assert "04:00 to 05:00 UTC, every day<" in shown


def test_the_first_page_shows_the_login_as_evidence() -> None:
    assert "waits for two-factor approval" in "".join(pages.status_chunks([failing(WAITING)], T0 + 1))
