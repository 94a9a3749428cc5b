"""How far the gateway's login has come, by its launcher.log: lines in, a phase and its time out. No files here.

Nothing else of a line is kept: they carry addresses and session ids.

The log is plain text until the login is done and silent after that, so `logged_in` is its last word for days. Lines
(docs/facts.md: launcher log), the tag in brackets in Gateway 10.30 and older only:

    2026-08-28 22:30:02.112 INFO  [JTS-Main] - message
    2021-03-01 10:00:00.000 [AB] INFO  [JTS-Main] - message

Their times are local to the gateway's machine or container, without an offset. So only differences between them are
used, reckoned back from the time at which the file was last changed, which is that of its last line.

    a line with                                         the login is
    ---- IB GATEWAY RESTART ----                        restarting
    Running in auto-restart mode                        restarting, by itself: it should need no password
    LauncherLoginThread.runLoginWithUI()                logging_in
    NS_AUTH_START                                       logging_in
    NS_AUTH_START with pwd=1 after an auto-restart      saved_session_refused: IBKR wants the password again
    Received CHALLENGE                                  waiting_two_factor
    Authentication timeout                              two_factor_expired
    Authorization failed: SUPPRESS_MESSAGE_BOX.         two_factor_expired
    Too many failed login attempts.                     throttled
    AUTH_RESULT indicates wrong password                rejected
    SPLASH Attempt N: network error, will retry         network_error
    ### onAuthenticationCompleted, authenticated=true   logged_in
    Switching to a new encrypted log                    logged_in
    instance of control is not created yet              idle, unless a login has failed: then that is still the reason
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

MOST_OF_A_LINE = 2048  # bytes; the markers stand at the beginning
TWO_FACTOR_SECONDS = 180.0  # how long a push can be approved; fixed by IBKR (docs/facts.md: resets)


class LoginPhase(StrEnum):
    """Where the login stands, by the last line that says anything about it."""

    RESTARTING = "restarting"
    LOGGING_IN = "logging_in"
    WAITING_TWO_FACTOR = "waiting_two_factor"
    TWO_FACTOR_EXPIRED = "two_factor_expired"
    THROTTLED = "throttled"
    REJECTED = "rejected"
    SAVED_SESSION_REFUSED = "saved_session_refused"
    NETWORK_ERROR = "network_error"
    LOGGED_IN = "logged_in"
    IDLE = "idle"
    UNKNOWN = "unknown"


class LogProblem(StrEnum):
    """Why the log says nothing."""

    MISSING = "missing"
    FORBIDDEN = "forbidden"
    NOT_A_FILE = "not_a_file"
    UNREADABLE = "unreadable"  # an I/O error
    STUCK = "stuck"  # the read does not return: a dead network mount


@dataclass(frozen=True, slots=True)
class Login:
    """The phase and when it began (unix seconds; None if unknown).

    `automatic`: the gateway restarted itself and should have logged in by its saved session. `problem` is set where the
    log cannot be read; the phase is unknown then.
    """

    phase: LoginPhase = LoginPhase.UNKNOWN
    at: float | None = None
    automatic: bool = False
    problem: LogProblem | None = None


FAILED = frozenset(
    {
        LoginPhase.TWO_FACTOR_EXPIRED,
        LoginPhase.THROTTLED,
        LoginPhase.REJECTED,
        LoginPhase.SAVED_SESSION_REFUSED,
    }
)
# The gateway repeats the line of such a phase while it lasts: the phase began with the first one.
LASTING = frozenset({LoginPhase.RESTARTING, LoginPhase.NETWORK_ERROR, LoginPhase.LOGGED_IN, LoginPhase.IDLE})

AUTOMATIC = b"Running in auto-restart mode"
RESTART = b"---- IB GATEWAY RESTART ----"
BY_PASSWORD = b"pwd=1"
AUTH_START = b"NS_AUTH_START"
# What a line must hold, all of it, to mean a phase; the first row that fits.
MARKERS: tuple[tuple[tuple[bytes, ...], LoginPhase], ...] = (
    ((RESTART,), LoginPhase.RESTARTING),
    ((AUTOMATIC,), LoginPhase.RESTARTING),
    ((b"LauncherLoginThread.runLoginWithUI()",), LoginPhase.LOGGING_IN),
    ((AUTH_START,), LoginPhase.LOGGING_IN),
    ((b"Received CHALLENGE",), LoginPhase.WAITING_TWO_FACTOR),
    ((b"Authentication timeout",), LoginPhase.TWO_FACTOR_EXPIRED),
    ((b"Authorization failed: SUPPRESS_MESSAGE_BOX.",), LoginPhase.TWO_FACTOR_EXPIRED),
    ((b"Too many failed login attempts.",), LoginPhase.THROTTLED),
    ((b"AUTH_RESULT indicates wrong password",), LoginPhase.REJECTED),
    ((b"SPLASH Attempt ", b": network error, will retry"), LoginPhase.NETWORK_ERROR),
    ((b"### onAuthenticationCompleted", b"authenticated=true"), LoginPhase.LOGGED_IN),
    ((b"Switching to a new encrypted log",), LoginPhase.LOGGED_IN),
    ((b"instance of control is not created yet",), LoginPhase.IDLE),
)
HINT = re.compile(b"|".join(re.escape(parts[0]) for parts, _ in MARKERS))
TIME = re.compile(rb"\0*([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}) ")


def follow(login: Login, lines: Sequence[bytes], changed: float) -> Login:
    """The login after these further lines. `changed` is when the file was last written (unix seconds).

    Lines that are not in the table change nothing.
    """
    last = next((stamp for stamp in map(_stamp, reversed(lines)) if stamp), None)
    login = replace(login, problem=None)
    for line in lines:
        phase = _phase(line[:MOST_OF_A_LINE])
        if phase is not None:
            stamp = _stamp(line)
            ago = (last - stamp).total_seconds() if stamp and last else 0.0
            login = _advanced(login, phase, line, changed - max(0.0, ago))
    return login


def unreadable(login: Login, problem: LogProblem) -> Login:
    """What is known once the log cannot be read: nothing."""
    return replace(login, phase=LoginPhase.UNKNOWN, at=None, problem=problem)


def _phase(line: bytes) -> LoginPhase | None:
    if not HINT.search(line):  # most lines end here, five times as fast
        return None
    return next((phase for parts, phase in MARKERS if all(part in line for part in parts)), None)


def _advanced(login: Login, phase: LoginPhase, line: bytes, at: float) -> Login:
    if phase is LoginPhase.IDLE and login.phase in FAILED:
        return login
    if phase is LoginPhase.LOGGING_IN and login.automatic and AUTH_START in line and BY_PASSWORD in line:
        phase = LoginPhase.SAVED_SESSION_REFUSED
    began = login.at if phase is login.phase and phase in LASTING else at
    return Login(phase, began, _automatic(login, phase, line))


def _automatic(login: Login, phase: LoginPhase, line: bytes) -> bool:
    """A restart clears the flag unless a line beside it calls it automatic; the end of the login clears it too."""
    if phase is LoginPhase.RESTARTING:
        return AUTOMATIC in line or (login.automatic and login.phase is LoginPhase.RESTARTING)
    return login.automatic and phase is not LoginPhase.LOGGED_IN


def _stamp(line: bytes) -> datetime | None:
    """The local time of a line, without zone; None where there is none."""
    match = TIME.match(line)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[1].decode("ascii"))
    except ValueError:  # the 31st of February
        return None
