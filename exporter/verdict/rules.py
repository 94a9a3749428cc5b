"""From a report to one verdict: ordered rules, the first match wins, and the default is our own fault.

The rules in words, from the outside in:

    we failed                                             probe_broken
    the name has no address                               name_unresolved
    it stopped answering within a library's connect,
      or soon after it, and again within the next one     client_breaks_gateway
    no answer to the connect, or no route                 unreachable
    the connect was refused                               port_closed
    connected, then EOF or reset before a byte of reply   closed_before_handshake
    no reply, and a session that existed was answered     new_connections_silent
    connected, hello sent, no reply or part of one        api_silent
    a reply that is not this API's                        not_tws_api
    a clear answer, but not with a usable version         server_redirect, server_too_old, session_refused
    or one that a library itself refuses as too old       server_too_old
    error 326 for every client id reserved for us         client_id_in_use
    startApi refused, or closed or reset after it         session_refused
    startApi not answered                                 session_silent
    a session begun only in part, or no request answered  session_stalled
    the configured account is not among the managed       account_missing
    the gateway has lost IBKR's servers                   upstream_down
    a request of the account download has no end          download_stalled
    every client that was tried got a session, but no
      answer to its request for contract details          contract_details_stalled
    at least two clients were tried, and all failed,
      or one, and nothing shows that it is the library    clients_failing
    some failed, and others or the wire got further       client_fault
    a data farm is disconnected                           farm_down
    all that was probed answered, slower than the limit   slow
    all that was probed answered                          healthy
    anything else                                         probe_broken: a case without a rule is our fault
"""

from collections.abc import Callable
from enum import StrEnum

from exporter.model import (
    Cause,
    Layer,
    LayerResult,
    Outcome,
    Report,
    SessionFacts,
    Stage,
    Target,
    Verdict,
)
from exporter.verdict.client_blame import (
    WIRE,
    answered,
    blamed,
    clearly_at_fault,
    download_unanswered,
    failures,
    gateway_too_old,
    suspended_clients,
)

Rule = Callable[[Report, Target], bool]


class Severity(StrEnum):
    """How bad a verdict is, for colours and for sorting the worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    OK = "ok"
    UNKNOWN = "unknown"


WARNINGS = frozenset(
    {
        Verdict.DOWNLOAD_STALLED,
        Verdict.CLIENT_FAULT,
        Verdict.FARM_DOWN,
        Verdict.SLOW,
        Verdict.PROBE_BROKEN,
        Verdict.CLIENT_ID_IN_USE,
    }
)

# The verdicts under which a trading program could connect now: the API answers. Data, an account, one library or our
# own client ids are wrong.
CONNECTABLE = frozenset(
    {
        Verdict.CLIENT_ID_IN_USE,
        Verdict.ACCOUNT_MISSING,
        Verdict.UPSTREAM_DOWN,
        Verdict.DOWNLOAD_STALLED,
        Verdict.CONTRACT_DETAILS_STALLED,
        Verdict.CLIENT_FAULT,
        Verdict.FARM_DOWN,
        Verdict.SLOW,
        Verdict.HEALTHY,
    }
)
# The verdicts of a gateway that works: such reports are kept for a shorter time.
WORKING = frozenset({Verdict.HEALTHY, Verdict.SLOW})
# The verdicts that say nothing about the target.
CLAIMLESS = frozenset({Verdict.PROBE_BROKEN, Verdict.UNKNOWN})


def is_connectable(verdict: Verdict, report: Report | None) -> bool:
    """Return whether a trading program could connect now; a suspended library does not prevent it."""
    if verdict is Verdict.CLIENT_BREAKS_GATEWAY:
        return report is not None and answered(report)
    return verdict in CONNECTABLE


def judge(report: Report, target: Target) -> Verdict:
    """Return the verdict of the first rule that applies."""
    clean = all(result.outcome is Outcome.OK and result.cause is None for result in report.results)
    rules = RULES_WITHOUT_FAILURE if clean else RULES
    for verdict, applies in rules:
        if applies(report, target):
            return verdict
    return Verdict.PROBE_BROKEN


def severity(verdict: Verdict) -> Severity:
    """Return how bad a verdict is."""
    if verdict is Verdict.HEALTHY:
        return Severity.OK
    if verdict is Verdict.UNKNOWN:
        return Severity.UNKNOWN
    return Severity.WARNING if verdict in WARNINGS else Severity.CRITICAL


def _download_stalled(report: Report, target: Target) -> bool:
    """Our own download failed, or those of the clients that download did, and nothing shows that the request ends."""
    result = report.layer(Layer.DOWNLOAD)
    failed = result is not None and result.outcome in FAILED
    return (failed or download_unanswered(report)) and _answered(report, target)


class _Failed:
    """The rule that a layer failed with one of these causes."""

    def __init__(self, layer: Layer, *causes: Cause) -> None:
        self._layer, self._causes = layer, causes

    def __call__(self, report: Report, _: Target) -> bool:
        result = report.layer(self._layer)
        return result is not None and result.cause in self._causes


class _SessionFailed:
    """The rule that the session failed with one of these outcomes, at one of these stages."""

    def __init__(self, outcomes: tuple[Outcome, ...], stages: tuple[Stage, ...]) -> None:
        self._outcomes, self._stages = outcomes, stages

    def __call__(self, report: Report, _: Target) -> bool:
        result = report.layer(Layer.SESSION)
        return result is not None and result.outcome in self._outcomes and result.stage in self._stages


def _session_facts(condition: Callable[[SessionFacts, Target], bool]) -> Rule:
    """The session was answered, and its facts meet the condition."""

    def applies(report: Report, target: Target) -> bool:
        result = report.layer(Layer.SESSION)
        return result is not None and result.ok and result.session is not None and condition(result.session, target)

    return applies


def _account_missing(facts: SessionFacts, target: Target) -> bool:
    return target.account is not None and target.account not in (facts.accounts or ())


def _skipped(result: LayerResult) -> bool:
    return result.outcome is Outcome.SKIPPED


def _answered(report: Report, _: Target) -> bool:
    """Every wire layer that was probed is ok, and at least one was. One skipped on purpose has a cause."""
    probed = [result for result in report.results if result.layer in WIRE and not (_skipped(result) and result.cause)]
    return bool(probed) and all(result.ok for result in probed)


def _too_old_for_a_library(report: Report, target: Target) -> bool:
    refused = [result for result in failures(report) if gateway_too_old(report, result) and result.doubt is None]
    return bool(refused) and _answered(report, target)


def _contract_details_stalled(report: Report, target: Target) -> bool:
    """No client that counts got contract details; one whose request was answered contradicts that."""
    failed, passed = blamed(report), any(result.ok for result in report.results if result.client)
    waited = all(result.outcome is Outcome.TIMEOUT and result.stage is Stage.CONTRACT for result in failed)
    return bool(failed) and waited and not passed and _answered(report, target)


def _clients_failing(report: Report, target: Target) -> bool:
    """Every client whose result counts failed; if it is one alone, nothing shows that the library is at fault."""
    failed, passed = blamed(report), any(result.ok for result in report.results if result.client)
    if not failed or passed or not _answered(report, target):
        return False
    return len(failed) > 1 or not clearly_at_fault(report, failed[0])


def _client_fault(report: Report, target: Target) -> bool:
    return bool(blamed(report)) and _answered(report, target)


def _client_breaks_gateway(report: Report, target: Target) -> bool:
    """A library's connect is what the present failure began with, twice in a row; or it is suspended for that.

    While the gateway answers, an account, a link or libraries that keep programs from trading come first.
    """
    if report.fall is not None:
        return report.fall.client is not None and report.fall.count >= TWICE
    if not suspended_clients(report) or not _answered(report, target):
        return False
    worse = (_session_facts(_account_missing), _session_facts(_upstream_lost), _clients_failing)
    return not any(applies(report, target) for applies in worse)


def _upstream_lost(facts: SessionFacts, _: Target) -> bool:
    return facts.upstream is False


def _slow(report: Report, target: Target) -> bool:
    """The hello or the session's request was answered later than the limit."""
    return _answered(report, target) and any(result.waited > target.slow_after for result in report.results)


TWICE = 2  # falls in a row
BEGINNING = (Stage.START_API, Stage.NEXT_VALID_ID, Stage.MANAGED_ACCOUNTS)
FAILED = (Outcome.TIMEOUT, Outcome.GARBLED, Outcome.CLOSED, Outcome.REJECTED)
RULES: tuple[tuple[Verdict, Rule], ...] = (
    (Verdict.PROBE_BROKEN, lambda report, _: report.fault is not None),
    (Verdict.NAME_UNRESOLVED, _Failed(Layer.PORT, Cause.NAME_UNKNOWN, Cause.NAME_TIMEOUT)),
    (Verdict.CLIENT_BREAKS_GATEWAY, _client_breaks_gateway),
    (Verdict.UNREACHABLE, _Failed(Layer.PORT, Cause.CONNECT_TIMEOUT, Cause.NO_ROUTE)),
    (Verdict.PORT_CLOSED, _Failed(Layer.PORT, Cause.CONNECT_REFUSED)),
    (Verdict.CLOSED_BEFORE_HANDSHAKE, _Failed(Layer.HANDSHAKE, Cause.EOF, Cause.RESET)),
    (Verdict.NEW_CONNECTIONS_SILENT, lambda report, _: report.answered_beside is not None),
    (Verdict.API_SILENT, _Failed(Layer.HANDSHAKE, Cause.SILENCE, Cause.UNFINISHED, Cause.BROKEN_OFF)),
    (
        Verdict.NOT_TWS_API,
        _Failed(Layer.HANDSHAKE, Cause.HTTP, Cause.TLS, Cause.VNC, Cause.SSH, Cause.OVERSIZED, Cause.MALFORMED),
    ),
    (Verdict.SERVER_REDIRECT, _Failed(Layer.HANDSHAKE, Cause.REDIRECT)),
    (Verdict.SERVER_TOO_OLD, _Failed(Layer.HANDSHAKE, Cause.TOO_OLD)),
    (Verdict.SERVER_TOO_OLD, _Failed(Layer.SESSION, Cause.TOO_OLD)),
    (Verdict.SERVER_TOO_OLD, _too_old_for_a_library),
    (Verdict.CLIENT_ID_IN_USE, _Failed(Layer.SESSION, Cause.CLIENT_ID_IN_USE)),
    (Verdict.SESSION_REFUSED, _Failed(Layer.HANDSHAKE, Cause.API_ERROR)),
    (Verdict.SESSION_REFUSED, _SessionFailed((Outcome.REJECTED, Outcome.CLOSED), BEGINNING)),
    (Verdict.SESSION_SILENT, _SessionFailed((Outcome.TIMEOUT, Outcome.GARBLED), (Stage.START_API,))),
    (Verdict.SESSION_STALLED, _SessionFailed(FAILED, (*BEGINNING, Stage.CURRENT_TIME))),
    (Verdict.ACCOUNT_MISSING, _session_facts(_account_missing)),
    (Verdict.UPSTREAM_DOWN, _session_facts(_upstream_lost)),
    (Verdict.DOWNLOAD_STALLED, _download_stalled),
    (Verdict.CONTRACT_DETAILS_STALLED, _contract_details_stalled),
    (Verdict.CLIENTS_FAILING, _clients_failing),
    (Verdict.CLIENT_FAULT, _client_fault),
    (Verdict.FARM_DOWN, _session_facts(lambda facts, _: not all(farm.connected for farm in facts.farms))),
    (Verdict.SLOW, _slow),
    (Verdict.HEALTHY, _answered),
)
# The rules that can apply to a report without a failed result or a cause, as nearly every one of a working gateway is.
RULES_WITHOUT_FAILURE = tuple(row for row in RULES if not isinstance(row[1], _Failed | _SessionFailed))
