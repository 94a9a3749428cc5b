from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.protocol.launcher_log import MARKERS, Login, LoginPhase, LogProblem, follow, unreadable

NOW = 1_790_000_000.0
# The markers as recorded (docs/facts.md: launcher log), and the phase each one means.
RECORDED = {
    "---- IB GATEWAY RESTART ----": "restarting",
    "Running in auto-restart mode": "restarting",
    "LauncherLoginThread.runLoginWithUI()[mode=PAPER,loginAttempt=1,x=y]": "logging_in",
    "NS_AUTH_START version=52 pwd=1 soft=0 token(s)=[4[IB Key]] initialTokenType=PWD": "logging_in",
    "Received CHALLENGE": "waiting_two_factor",
    "Authentication timeout": "two_factor_expired",
    "Authorization failed: SUPPRESS_MESSAGE_BOX.": "two_factor_expired",
    "Too many failed login attempts. Please wait 4 minutes & 55 seconds before": "throttled",
    "AUTH_RESULT indicates wrong password": "rejected",
    "SPLASH Attempt 13: network error, will retry": "network_error",
    "### onAuthenticationCompleted tokenProtocol=5; authenticated=true": "logged_in",
    "Switching to a new encrypted log": "logged_in",
    "instance of control is not created yet": "idle",
}


def line(message: str, stamp: str = "2026-08-28 22:30:02.112", tag: str = "") -> bytes:
    return f"{stamp} {tag}INFO  [JTS-Main] - {message}".encode()


def after(*messages: str, login: Login | None = None) -> Login:
    return follow(login or Login(), [line(message) for message in messages], NOW)


@pytest.mark.parametrize(("message", "tag"), [*product(RECORDED, ["", "[AB] "])])
def test_each_recorded_line_means_its_phase_in_both_formats(message: str, tag: str) -> None:
    login = follow(Login(), [line(message, tag=tag)], NOW)
    assert (login.phase, login.at, login.problem) == (LoginPhase(RECORDED[message]), NOW, None)


@pytest.mark.parametrize("message", RECORDED)
def test_a_recorded_line_without_a_time_takes_the_files(message: str) -> None:
    assert follow(Login(), [message.encode()], NOW).at == NOW


def test_every_marker_is_a_recorded_one() -> None:
    texts = [message.encode() for message in RECORDED]
    assert all(any(all(part in text for part in parts) for text in texts) for parts, _ in MARKERS)


def test_the_time_is_reckoned_back_from_the_files_by_the_lines_own_differences() -> None:
    lines = [
        line("Received CHALLENGE", "2026-08-28 22:30:00.500"),
        line("heartbeat", "2026-08-28 22:30:20.000"),
        line("heartbeat", "2026-08-28 22:30:40.750"),
        b"\tat a.stack.trace(Of.java:1)",
    ]
    assert follow(Login(), lines, NOW) == Login(LoginPhase.WAITING_TWO_FACTOR, NOW - 40.25)


def test_a_clock_that_was_set_back_puts_no_phase_into_the_future() -> None:
    lines = [line("Received CHALLENGE", "2026-11-01 01:59:59.000"), line("heartbeat", "2026-11-01 01:00:05.000")]
    assert follow(Login(), lines, NOW).at == NOW


def test_a_time_that_does_not_exist_is_none() -> None:
    assert follow(Login(), [line("Received CHALLENGE", "2026-02-31 25:61:00.000")], NOW).at == NOW


@pytest.mark.parametrize(
    "message",
    [
        "### onAuthenticationCompleted tokenProtocol=5; authenticated=false",
        "SPLASH Attempt 13: done",
        "network error, will retry",
        "received challenge",
        "AUTH_RESULT indicates something new",
        "x" * 2048 + "Received CHALLENGE",
        "",
    ],
)
def test_lines_that_were_never_recorded_change_nothing(message: str) -> None:
    known = Login(LoginPhase.LOGGING_IN, 5.0)
    assert after(message, login=known) == known


# Hypothesis takes constants from the source it tests, the markers among them.
RUBBISH = st.binary(max_size=200).filter(lambda some: not any(part in some for parts, _ in MARKERS for part in parts))


@given(st.lists(RUBBISH))
def test_rubbish_changes_nothing(lines: list[bytes]) -> None:
    known = Login(LoginPhase.LOGGED_IN, 5.0)
    assert follow(known, lines, NOW) == known


@given(st.lists(st.sampled_from([*RECORDED, "unknown"]), max_size=12), st.integers(0, 12))
def test_it_makes_no_difference_in_how_many_pieces_lines_arrive(messages: list[str], cut: int) -> None:
    lines = [line(message) for message in messages]
    whole = follow(Login(), lines, NOW)
    assert follow(follow(Login(), lines[:cut], NOW), lines[cut:], NOW) == whole


def test_a_password_login_after_an_automatic_restart_is_a_refused_session() -> None:
    start = "NS_AUTH_START version=52 pwd=1 soft=0 token(s)=[4[IB Key]]"
    restart, mode = "---- IB GATEWAY RESTART ----", "Running in auto-restart mode"
    refused = LoginPhase.SAVED_SESSION_REFUSED
    assert after(restart, mode, start).phase is refused
    assert after(mode, restart, start).phase is refused
    assert after(restart, mode, "LauncherLoginThread.runLoginWithUI()[loginAttempt=1]", start).phase is refused
    assert after(restart, mode, "NS_AUTH_START version=52 pwd=0 soft=1").phase is LoginPhase.LOGGING_IN
    assert after(restart, start).phase is LoginPhase.LOGGING_IN
    assert after(mode, start, restart, start).phase is LoginPhase.LOGGING_IN  # a cold start after it
    assert after(mode, "Switching to a new encrypted log", start).phase is LoginPhase.LOGGING_IN


def test_a_challenge_after_an_automatic_restart_remembers_that_it_was_automatic() -> None:
    login = after("Running in auto-restart mode", "NS_AUTH_START version=52 pwd=1", "Received CHALLENGE")
    assert login == Login(LoginPhase.WAITING_TWO_FACTOR, NOW, automatic=True)


@pytest.mark.parametrize(
    "failure", ["Authentication timeout", "Too many failed login attempts.", "AUTH_RESULT indicates wrong password"]
)
def test_idling_after_a_failed_login_keeps_the_reason(failure: str) -> None:
    idle = "instance of control is not created yet"
    assert after(failure, idle, idle).phase is LoginPhase(RECORDED.get(failure, "throttled"))
    assert after("Received CHALLENGE", idle).phase is LoginPhase.IDLE


def test_a_lasting_phase_began_with_its_first_line_and_a_new_challenge_begins_again() -> None:
    idle = follow(Login(LoginPhase.IDLE, 5.0), [line("instance of control is not created yet")], NOW)
    assert idle.at == 5.0
    waiting = follow(Login(LoginPhase.WAITING_TWO_FACTOR, 5.0), [line("Received CHALLENGE")], NOW)
    assert waiting.at == NOW


def test_a_log_that_cannot_be_read_leaves_nothing_known() -> None:
    login = unreadable(Login(LoginPhase.LOGGED_IN, 5.0), LogProblem.FORBIDDEN)
    assert login == Login(problem=LogProblem.FORBIDDEN)
    assert follow(login, [], NOW).problem is None


def test_nothing_of_a_lines_text_is_kept() -> None:
    login = follow(Login(), [line("Received CHALLENGE from 203.0.113.7 session 4711471147114711")], NOW)
    assert "203.0.113.7" not in repr(login)
    assert "4711471147114711" not in repr(login)
