"""From a report to one verdict: the ordered rules, first match wins, our own fault as the default.

The rules in words, from the outside in:

    we failed                                             probe_broken
    the name has no address                               name_unresolved
    no answer to the connect, or no route                 unreachable
    the connect was refused                               port_closed
    connected, then EOF or reset before a byte of reply   closed_before_handshake
    connected, hello sent, no reply or part of one        api_silent
    a reply that is not this API's                        not_tws_api
    a clear answer, but not with a usable version         server_redirect, server_too_old, session_refused
    error 326 for every client id reserved for us         client_id_in_use
    startApi refused, or closed or reset after it         session_refused
    startApi not answered                                 session_silent
    a session begun only in part, or no request answered  session_stalled
    the configured account is not among the managed       account_missing
    told of the loss of IBKR's servers                    upstream_down
    at least two clients were tried, and all failed,
      or one, and nothing shows that it is the library    clients_failing
    some failed, and others or the wire got further       client_fault
    told of a data farm that is disconnected              farm_down
    all that was probed answered, slower than the limit   slow
    all that was probed answered                          healthy
    anything else                                         probe_broken: a case without a rule is our fault
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from exporter.model import Cause, Layer, LayerResult, Outcome, Report, SessionFacts, Stage, Target, Verdict
from exporter.protocol.error_codes import PORT_RESET
from exporter.protocol.launcher_log import Login
from exporter.verdict.actions import MOVED, REMEDIES, VERIFY, format_for
from exporter.verdict.client_blame import blamed, clearly_at_fault, failures, wire_ok
from exporter.verdict.context import context
from exporter.verdict.evidence import release, sentence

Rule = Callable[[Report, Target], bool]


class Severity(StrEnum):
    """How bad a verdict is, for colours and for sorting the worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    OK = "ok"
    UNKNOWN = "unknown"


WARNINGS = frozenset(
    {Verdict.CLIENT_FAULT, Verdict.FARM_DOWN, Verdict.SLOW, Verdict.PROBE_BROKEN, Verdict.CLIENT_ID_IN_USE}
)

# The verdicts under which a trading program could connect now: the API answers the opening of a connection. What is
# wrong then is data, an account, one library, or only our own client ids.
CONNECTABLE = frozenset(
    {
        Verdict.CLIENT_ID_IN_USE,
        Verdict.ACCOUNT_MISSING,
        Verdict.UPSTREAM_DOWN,
        Verdict.CLIENT_FAULT,
        Verdict.FARM_DOWN,
        Verdict.SLOW,
        Verdict.HEALTHY,
    }
)
# The verdicts of a report worth keeping only for a short while.
WORKING = frozenset({Verdict.HEALTHY, Verdict.SLOW})
# The verdicts that say nothing about the target.
CLAIMLESS = frozenset({Verdict.PROBE_BROKEN, Verdict.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict in words, for one report of one target."""

    headline: str
    evidence: tuple[str, ...]
    actions: tuple[str, ...]


def judge(report: Report, target: Target) -> Verdict:
    """The one verdict of a report: that of the first rule that applies."""
    rules = ANSWERED_RULES if report.fault is None and _answered(report, target) else RULES
    return next((verdict for verdict, applies in rules if applies(report, target)), Verdict.PROBE_BROKEN)


def severity(verdict: Verdict) -> Severity:
    """How bad a verdict is."""
    if verdict is Verdict.HEALTHY:
        return Severity.OK
    if verdict is Verdict.UNKNOWN:
        return Severity.UNKNOWN
    return Severity.WARNING if verdict in WARNINGS else Severity.CRITICAL


def explain(
    report: Report, target: Target, verdict: Verdict, login: Login | None = None, since: float | None = None
) -> Explanation:
    """The verdict's headline, the evidence for it in this report, and the required actions.

    `login` is what the gateway's launcher log tells. `since` (unix seconds) is when the target began to fail; by
    default at this report.
    """
    remedy = REMEDIES[verdict]
    evidence = [] if report.fault is None else [f"We failed: {report.fault}"]
    evidence += [sentence(result, target) for result in report.results if not _left_out(result) or result.cause]
    if verdict in AT_THE_DOOR and target.host in LOOPBACK:
        evidence.append("The host is this machine itself, so neither a network nor a firewall on the way is to blame.")
    if failures(report) and not wire_ok(report):
        evidence.append("We ourselves get no further on the wire, without any library: none of them is to blame.")
    port = _new_port(report)
    if port is not None:
        evidence.append(f"The gateway said that its API port is {port} from now on (error {PORT_RESET}).")
    added = context(verdict, target, report.at, login, since)
    usual = (VERIFY,) if added.decisive else remedy.actions
    moved = [] if port is None or port == target.port else [format_for(MOVED, target).format(new_port=port)]
    headline = format_for(remedy.headline, target)
    if verdict is Verdict.CLIENT_FAULT:
        headline = f"{_named(blamed(report))} at fault, not the gateway at {target.endpoint}"
    return Explanation(
        headline,
        (*evidence, *added.evidence),
        (*moved, *added.actions, *(format_for(action, target) for action in usual)),
    )


def _new_port(report: Report) -> int | None:
    """Where the API is now, if error 1300 told so in this report's session or in the watch's."""
    session = report.layer(Layer.SESSION)
    told = session.session.new_port if session is not None and session.session is not None else None
    return told or report.new_port


def _failed(layer: Layer, *causes: Cause) -> Rule:
    return lambda report, _: (result := report.layer(layer)) is not None and result.cause in causes


def _session_failed(outcomes: tuple[Outcome, ...], stages: tuple[Stage, ...]) -> Rule:
    """The session layer ended so, at one of these stages."""

    def applies(report: Report, _: Target) -> bool:
        result = report.layer(Layer.SESSION)
        return result is not None and result.outcome in outcomes and result.stage in stages

    return applies


def _told(condition: Callable[[SessionFacts, Target], bool]) -> Rule:
    """The session was answered, and what the gateway told in it is so."""

    def applies(report: Report, target: Target) -> bool:
        result = report.layer(Layer.SESSION)
        return result is not None and result.ok and result.session is not None and condition(result.session, target)

    return applies


def _account_missing(facts: SessionFacts, target: Target) -> bool:
    return target.account is not None and target.account not in (facts.accounts or ())


def _left_out(result: LayerResult) -> bool:
    return result.outcome is Outcome.SKIPPED


def _answered(report: Report, _: Target) -> bool:
    """Every layer that was probed is ok, and at least one was; one left out on purpose has a cause.

    A client that fails has rules of its own.
    """
    probed = [result for result in report.results if result.client is None and not (_left_out(result) and result.cause)]
    return bool(probed) and all(result.ok for result in probed)


def _clients_failing(report: Report, target: Target) -> bool:
    """Whoever was tried and is believed failed; and if that is a single one, nothing shows that it is the library."""
    failed, passed = blamed(report), any(result.ok for result in report.results if result.client)
    if not failed or passed or not _answered(report, target):
        return False
    return len(failed) > 1 or not clearly_at_fault(report, failed[0])


def _client_fault(report: Report, target: Target) -> bool:
    return bool(blamed(report)) and _answered(report, target)


def _named(failed: tuple[LayerResult, ...]) -> str:
    """The clients that fail, each with its version."""
    names = [
        f"{result.client} ({release(result.installed)})" if result.installed else str(result.client)
        for result in failed
    ]
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} are"


def _slow(report: Report, target: Target) -> bool:
    """The hello was answered late, or the session's request was."""
    return _answered(report, target) and any(result.waited > target.slow_after for result in report.results)


BEGINNING = (Stage.START_API, Stage.NEXT_VALID_ID, Stage.MANAGED_ACCOUNTS)
FAILED = (Outcome.TIMEOUT, Outcome.GARBLED, Outcome.CLOSED, Outcome.REJECTED)
FAILED_RULES: tuple[tuple[Verdict, Rule], ...] = (  # none applies to a report in which every layer answered
    (Verdict.PROBE_BROKEN, lambda report, _: report.fault is not None),
    (Verdict.NAME_UNRESOLVED, _failed(Layer.PORT, Cause.NAME_UNKNOWN, Cause.NAME_TIMEOUT)),
    (Verdict.UNREACHABLE, _failed(Layer.PORT, Cause.CONNECT_TIMEOUT, Cause.NO_ROUTE)),
    (Verdict.PORT_CLOSED, _failed(Layer.PORT, Cause.CONNECT_REFUSED)),
    (Verdict.CLOSED_BEFORE_HANDSHAKE, _failed(Layer.HANDSHAKE, Cause.EOF, Cause.RESET)),
    (Verdict.API_SILENT, _failed(Layer.HANDSHAKE, Cause.SILENCE, Cause.UNFINISHED, Cause.BROKEN_OFF)),
    (
        Verdict.NOT_TWS_API,
        _failed(Layer.HANDSHAKE, Cause.HTTP, Cause.TLS, Cause.VNC, Cause.SSH, Cause.OVERSIZED, Cause.MALFORMED),
    ),
    (Verdict.SERVER_REDIRECT, _failed(Layer.HANDSHAKE, Cause.REDIRECT)),
    (Verdict.SERVER_TOO_OLD, _failed(Layer.HANDSHAKE, Cause.TOO_OLD)),
    (Verdict.SERVER_TOO_OLD, _failed(Layer.SESSION, Cause.TOO_OLD)),
    (Verdict.CLIENT_ID_IN_USE, _failed(Layer.SESSION, Cause.CLIENT_ID_IN_USE)),
    (Verdict.SESSION_REFUSED, _failed(Layer.HANDSHAKE, Cause.API_ERROR)),
    (Verdict.SESSION_REFUSED, _session_failed((Outcome.REJECTED, Outcome.CLOSED), BEGINNING)),
    (Verdict.SESSION_SILENT, _session_failed((Outcome.TIMEOUT, Outcome.GARBLED), (Stage.START_API,))),
    (Verdict.SESSION_STALLED, _session_failed(FAILED, (*BEGINNING, Stage.CURRENT_TIME))),
)
ANSWERED_RULES: tuple[tuple[Verdict, Rule], ...] = (
    (Verdict.ACCOUNT_MISSING, _told(_account_missing)),
    (Verdict.UPSTREAM_DOWN, _told(lambda facts, _: facts.upstream is False)),
    (Verdict.CLIENTS_FAILING, _clients_failing),
    (Verdict.CLIENT_FAULT, _client_fault),
    (Verdict.FARM_DOWN, _told(lambda facts, _: not all(farm.connected for farm in facts.farms))),
    (Verdict.SLOW, _slow),
    (Verdict.HEALTHY, _answered),
)
RULES = FAILED_RULES + ANSWERED_RULES

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
AT_THE_DOOR = frozenset({Verdict.UNREACHABLE, Verdict.PORT_CLOSED})
