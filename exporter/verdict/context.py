"""What the gateway's launcher log and the maintenance calendar add to a verdict: more evidence, and the first actions.

They never change the verdict itself. No clock here, no files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from exporter.maintenance import RESTART, WEEKLY_LOGIN, Window, expected_until, latest, open_windows, overdue
from exporter.model import Target, Verdict
from exporter.protocol.launcher_log import TWO_FACTOR_SECONDS, Login, LoginPhase, LogProblem
from exporter.text import elapsed, utc

# The verdicts of a gateway that is not logged in.
LOGIN_VERDICTS = frozenset({Verdict.PORT_CLOSED, Verdict.CLOSED_BEFORE_HANDSHAKE})
# The verdicts of a gateway that restarts.
RESTART_VERDICTS = LOGIN_VERDICTS | {
    Verdict.UNREACHABLE,
    Verdict.API_SILENT,
    Verdict.SESSION_REFUSED,
    Verdict.SESSION_SILENT,
    Verdict.SESSION_STALLED,
    Verdict.CONTRACT_DETAILS_STALLED,
    Verdict.CLIENTS_FAILING,
    Verdict.CLIENT_FAULT,
}
# The verdicts of a gateway that runs while IBKR resets its servers.
RESET_VERDICTS = frozenset({Verdict.UPSTREAM_DOWN, Verdict.FARM_DOWN, Verdict.SLOW})
AFTER_WEEKLY_LOGIN = 24 * 3600.0  # seconds: a gateway restarts itself once a day


@dataclass(frozen=True, slots=True)
class Context:
    """Lines of evidence and actions. `decisive`: the cause is certain, so these actions replace the verdict's own."""

    evidence: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    decisive: bool = False


@dataclass(frozen=True, slots=True)
class PhaseText:
    """A login phase in words: one line of evidence, with {when} for its time, and the actions."""

    evidence: str
    actions: tuple[str, ...]
    decisive: bool = True


BY_LOG = "By the launcher log "
MISSED = PhaseText(
    BY_LOG + "the two-factor push was not approved within its 180 s, at {when}: the login was given up.",
    (
        "Start the login again (restart the gateway) with the phone at hand, and approve the push within 180 s.",
        "To have it try again by itself: with IBC set TWOFA_TIMEOUT_ACTION=restart, RELOGIN_AFTER_TWOFA_TIMEOUT=yes.",
    ),
)

SOFT_FIRST = (
    "Restart it first in the way that needs no second factor: TWS: File > Restart; IB Gateway: its auto-restart."
)
AFTER_RESET = "Log in once more after the reset, before you change user name or password."
# Sources: docs/facts.md: resets, and docs/facts.md: launcher log.
PHASES: Mapping[LoginPhase, PhaseText] = {
    LoginPhase.RESTARTING: PhaseText(
        BY_LOG + "the gateway is restarting, since {when}.",
        ("Wait: a restart takes 35 to 90 seconds, and the API 30 to 90 more.",),
        decisive=False,
    ),
    LoginPhase.LOGGING_IN: PhaseText(
        BY_LOG + "the login is under way, since {when}.",
        ("Wait for the login. If it takes more than two minutes, look at the gateway's window: a dialog may be open.",),
        decisive=False,
    ),
    LoginPhase.WAITING_TWO_FACTOR: PhaseText(
        BY_LOG + "the login waits for two-factor approval, since {when}.",
        ("Approve the IB Key push in IBKR Mobile on the phone now: its window is 180 s. The gateway itself is well.",),
    ),
    LoginPhase.TWO_FACTOR_EXPIRED: MISSED,
    LoginPhase.THROTTLED: PhaseText(
        BY_LOG + "IBKR refused the login, at {when}: too many had failed before.",
        (
            "Stop whatever repeats the login (a restart policy, the controller), wait five minutes, then log in once.",
            "Find out why the logins failed: the password, or a two-factor push that was not approved.",
        ),
    ),
    LoginPhase.REJECTED: PhaseText(
        BY_LOG + "IBKR rejected the user name or password, at {when}.",
        (
            "Correct the user name and password where the gateway gets them (.env, a secret; in YAML with quotes).",
            "Do not let it repeat the login before: IBKR throttles failed logins.",
        ),
    ),
    LoginPhase.SAVED_SESSION_REFUSED: PhaseText(
        BY_LOG + "the gateway restarted itself and IBKR did not accept its saved session, at {when}.",
        (
            "Log in by hand with two-factor approval (a cold restart of the gateway).",
            "If this is no Sunday: see whether the gateway's public IP address changes; IBKR ends saved sessions then.",
        ),
    ),
    LoginPhase.NETWORK_ERROR: PhaseText(
        BY_LOG + "the gateway does not reach IBKR's servers, since {when}.",
        (
            "Look at the network, DNS and firewall of the gateway's machine.",
            "Look at IBKR's system status page. The gateway tries again by itself.",
        ),
    ),
    LoginPhase.LOGGED_IN: PhaseText(
        BY_LOG + "the login was completed, at {when}; it says nothing after a login.",
        ("See whether the gateway still runs. If it does, it is logged in: look at its API settings and its relay.",),
        decisive=False,
    ),
    LoginPhase.IDLE: PhaseText(
        BY_LOG + "the gateway runs and waits for a login, since {when}.",
        ("Log in: the gateway waits for user name and password. With a controller (IBC), read its log.",),
    ),
}
PROBLEMS: Mapping[LogProblem, str] = {
    LogProblem.MISSING: "there is no such file",
    LogProblem.FORBIDDEN: "the exporter may not read it",
    LogProblem.NOT_A_FILE: "it is not a regular file",
    LogProblem.UNREADABLE: "it cannot be read",
    LogProblem.STUCK: "reading it does not come back",
}


def context(
    verdict: Verdict, target: Target, at: float, login: Login | None = None, since: float | None = None
) -> Context:
    """Return what to add to a verdict at a time, for a target that has been failing `since` (both unix seconds)."""
    began = at if since is None else since
    calendar = _by_calendar(verdict, target.windows, began, at)
    weekly = _by_weekly_login(verdict, target.windows, began)
    log = _by_login(login, at, target.windows) if login and verdict in LOGIN_VERDICTS else Context()
    evidence = (*log.evidence, *calendar.evidence, *weekly.evidence)
    if log.decisive:  # neither waiting nor searching helps
        return replace(log, evidence=evidence)
    return Context(evidence, (*calendar.actions, *weekly.actions, *log.actions))


def _by_calendar(verdict: Verdict, windows: Iterable[Window], since: float, at: float) -> Context:
    if verdict not in RESTART_VERDICTS | RESET_VERDICTS:
        return Context()
    windows = tuple(windows)
    open_now = expected_until(
        since, at, (window for window in windows if verdict in RESET_VERDICTS or window.name == RESTART)
    )
    if open_now:
        end = utc(open_now.end)
        line = f"The maintenance window {open_now.name} is open until {end}, and this is expected in it."
        return Context((line,), (f"Wait until {end}.",))
    late = overdue(since, at, windows)
    if late is None:
        return Context()
    ago = elapsed(at - late.end)
    return Context(
        (f"The failure began in the maintenance window {late.name}, which ended {ago} ago: the recovery is overdue.",),
        (
            "Do not wait any longer: the gateway may be stuck at its login. Look at its window, then restart it.",
            SOFT_FIRST,
        ),
    )


def _by_weekly_login(verdict: Verdict, windows: Iterable[Window], since: float) -> Context:
    ends = [latest(since, window) for window in windows if window.name == WEEKLY_LOGIN]
    if verdict not in LOGIN_VERDICTS or not any(span and since < span.begin + AFTER_WEEKLY_LOGIN for span in ends):
        return Context()
    return Context(
        ("IBKR ended all logins less than a day before, as on each Sunday at 01:00 New York time.",),
        ("Log in by hand with two-factor approval: no automatic restart can.",),
    )


def _by_login(login: Login, at: float, windows: Iterable[Window]) -> Context:
    if login.problem:
        return Context((f"The launcher log says nothing: {PROBLEMS[login.problem]}.",))
    if login.phase not in PHASES:
        return Context(("The launcher log has no line about a login.",))
    phase = PHASES[login.phase]
    if login.phase is LoginPhase.WAITING_TWO_FACTOR and login.at is not None and at - login.at > TWO_FACTOR_SECONDS:
        phase = MISSED
    evidence = [phase.evidence.format(when="an unknown time" if login.at is None else utc(login.at))]
    if login.automatic and login.phase in (LoginPhase.WAITING_TWO_FACTOR, LoginPhase.TWO_FACTOR_EXPIRED):
        evidence.append("The gateway had restarted itself, and IBKR did not accept its saved session.")
    if login.phase is LoginPhase.REJECTED and (window := _reset_at(login.at, windows)):
        evidence.append(f"That was within IBKR's reset ({window}), in which logins are rejected that are right.")
        return Context(tuple(evidence), (AFTER_RESET, *phase.actions))
    return Context(tuple(evidence), phase.actions, phase.decisive)


def _reset_at(at: float | None, windows: Iterable[Window]) -> str | None:
    """Return the name of a window of IBKR's own that is open at `at` (unix seconds)."""
    resets = [window for window in windows if window.name not in (RESTART, WEEKLY_LOGIN)]
    return None if at is None else next(iter(open_windows(at, resets)), None)
