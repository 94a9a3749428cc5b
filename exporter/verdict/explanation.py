"""A verdict in words for one report of one target: the headline, the evidence and the actions. Pure.

evidence.py writes the line of each result, actions.py has the texts of each verdict, and context.py adds what the
launcher log and the calendar show. This module puts them in order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.model import (
    DOWNLOAD_STAGES,
    Cause,
    InstalledVersion,
    Layer,
    LayerResult,
    Outcome,
    Report,
    Stage,
    Target,
    Verdict,
)
from exporter.protocol.error_codes import PORT_RESET
from exporter.protocol.hello import lower_offer
from exporter.protocol.launcher_log import Login
from exporter.verdict.actions import REMEDIES, format_for
from exporter.verdict.client_blame import (
    blamed,
    failures,
    hello_unanswered,
    library_too_old,
    suspended_clients,
    wire_ok,
)
from exporter.verdict.context import context
from exporter.verdict.evidence import MISSING, NO_ACCOUNT, exchange, no_account, release, sentence
from exporter.verdict.steps import DOWNLOAD_CURES, MOVED, VERIFY

BEGINNING = (Stage.START_API, Stage.NEXT_VALID_ID, Stage.MANAGED_ACCOUNTS)  # stages before a session exists
PORT_VERDICTS = frozenset({Verdict.UNREACHABLE, Verdict.PORT_CLOSED})
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
THIS_MACHINE = (
    "The host is this machine itself (in WSL or a container: not the one that runs TWS), so neither a network nor a "
    "firewall on the way is to blame."
)


LOWER_MEANING = (
    "The gateway is alive and answers programs that announce an older version of the API: leave it alone, and "
    "let those that work go on. Programs that announce a newer one time out, as we do."
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict in words, for one report of one target."""

    headline: str
    meaning: str
    evidence: tuple[str, ...]
    actions: tuple[str, ...]


def explain(
    report: Report, target: Target, verdict: Verdict, login: Login | None = None, since: float | None = None
) -> Explanation:
    """Return the verdict's headline, the evidence for it in this report, and the required actions.

    `login` is the login's state by the gateway's launcher log. `since` (unix seconds) is when the target began to fail;
    by default at this report.
    """
    evidence = [] if report.fault is None else [f"We failed: {report.fault}"]
    for result in report.results:
        if result.outcome is not Outcome.SKIPPED or result.cause:
            evidence.append(sentence(result, target))
        if not result.ok and (messages := exchange(result)):
            evidence.append(f"{result.client} {messages}")
    if verdict in PORT_VERDICTS and target.host in LOOPBACK:
        evidence.append(THIS_MACHINE)
    evidence += report.remarks
    if failures(report) and not wire_ok(report) and report.fall is None:
        evidence.append("We ourselves get no further on the wire, without any library: none of them is to blame.")
    evidence += _lower_hello(report, target)
    port = _new_port(report)
    if port is not None:
        evidence.append(f"The gateway said that its API port is {port} from now on (error {PORT_RESET}).")
    added = context(verdict, target, report.at, login, since)
    lower = tuple(_lower_versions(report, target))
    usual = (VERIFY,) if added.decisive or lower else REMEDIES[verdict].actions
    moved = [] if port is None or port == target.port else [format_for(MOVED, target).format(new_port=port)]
    return Explanation(
        headline(report, target, verdict),
        LOWER_MEANING if lower else REMEDIES[verdict].meaning,
        (*evidence, *added.evidence),
        (
            *moved,
            *lower,
            *_upgrades(report, verdict),
            *added.actions,
            *_download_cures(report, verdict),
            *(format_for(action, target) for action in usual),
            *_started_last(report, verdict),
        ),
    )


def headline(report: Report, target: Target, verdict: Verdict) -> str:
    """Return the verdict in one line; of `client_fault`, with the libraries and their versions."""
    if verdict is Verdict.CLIENT_BREAKS_GATEWAY:
        return f"{_breaker(report)} makes the gateway at {target.endpoint} stop answering; it is kept away"
    if verdict is Verdict.CLIENT_FAULT:
        return f"{_named(blamed(report))} at fault, not the gateway at {target.endpoint}"
    handshake = report.layer(Layer.HANDSHAKE)
    if verdict is Verdict.SESSION_REFUSED and handshake is not None and handshake.cause is Cause.API_ERROR:
        return f"{target.endpoint} answers the hello with an error instead of its version"
    if hello_unanswered(report) and report.lower_hello is not None:
        return f"{target.endpoint} answers a lower hello than ours: set api_versions"
    if verdict is Verdict.DOWNLOAD_STALLED:
        return f"{target.endpoint} answers, but the account download stalls: {', '.join(_stalled(report))}"
    return _usual_headline(report, target, verdict)


def _usual_headline(report: Report, target: Target, verdict: Verdict) -> str:
    if verdict is Verdict.SESSION_STALLED:
        return f"{target.endpoint} {_stalled_session(report)}"
    port = _new_port(report)
    if verdict is Verdict.HEALTHY and port not in (None, target.port):
        return f"The gateway at {target.endpoint} is healthy, and moves its API to port {port}"
    return format_for(REMEDIES[verdict].headline, target)


def _stalled_session(report: Report) -> str:
    """Return how a session that begins ends before its first answer."""
    session = report.layer(Layer.SESSION)
    if session is not None and session.outcome is Outcome.GARBLED:
        return "begins the session, then sends what is no message of this API"
    if session is not None and session.outcome is Outcome.CLOSED:
        return "begins the session, then ends the connection"
    if session is not None and session.outcome is Outcome.REJECTED:
        return "begins the session, then refuses the first request"
    if session is not None and session.stage in BEGINNING:
        missing = NO_ACCOUNT if no_account(session) else MISSING[session.stage]
        return f"begins the session only in part: {missing}"
    return "begins the session, but answers no request"


def _named(failed: tuple[LayerResult, ...]) -> str:
    """Return the failing clients, each with its version, and the verb."""
    names = [_with_version(result.client, result.installed) for result in failed]
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} are"


def _breaker(report: Report) -> str:
    """Return the library that makes the gateway stop answering, with its version."""
    if report.fall is not None and report.fall.client is not None:
        return _with_version(report.fall.client, report.fall.installed)
    return " or ".join(_with_version(result.client, result.installed) for result in suspended_clients(report))


def _with_version(client: str | None, installed: InstalledVersion | None) -> str:
    return f"{client} ({release(installed)})" if installed else str(client)


def _upgrades(report: Report, verdict: Verdict) -> Iterator[str]:
    """Yield an action for each library that the gateway refused as too old."""
    for result in blamed(report) if verdict is Verdict.CLIENT_FAULT else ():
        if library_too_old(result):
            name = _with_version(result.client, result.installed)
            yield f"Upgrade {name}: the gateway no longer accepts the API version that it announces."


def _started_last(report: Report, verdict: Verdict) -> Iterator[str]:
    """Yield what tells a library that makes the gateway fall silent from a coincidence."""
    if wire_ok(report) or verdict is Verdict.CLIENT_BREAKS_GATEWAY:
        return
    if report.fall is not None and report.fall.client is not None:
        name = _with_version(report.fall.client, report.fall.installed)
        yield (
            f"Once it answers again, start programs that use {name} last: it began within that one's connect. If it "
            "happens again, keep them away from it."
        )


def _lower_hello(report: Report, target: Target) -> Iterator[str]:
    """Yield what shows that the gateway answers, but not our own hello."""
    if not hello_unanswered(report):
        return
    offer = lower_offer(target.hello)
    if report.lower_hello is not None and offer is not None:
        version = report.lower_hello.version
        yield f"A lower hello, v{offer.minimum}..{offer.maximum}, was answered: server version {version}."
    passed = [result.client for result in report.results if result.client and result.ok]
    if passed:
        yield f"{', '.join(map(str, passed))} got through with a lower hello than ours: the gateway is alive."


def _lower_versions(report: Report, target: Target) -> Iterator[str]:
    """Yield the action for a gateway that answers a lower hello than ours."""
    offer = lower_offer(target.hello)
    if offer is not None and any(_lower_hello(report, target)):
        versions = f"{offer.minimum}..{offer.maximum}"
        yield (
            f"Set api_versions: {versions} for this target: it, or a relay before it, does not stand our newest hello. "
            "Upgrade it when its sessions can be spared."
        )


def _new_port(report: Report) -> int | None:
    """Return the API's port after error 1300, in this report's session or in the watch's."""
    session = report.layer(Layer.SESSION)
    port = session.session.new_port if session is not None and session.session is not None else None
    return port or report.new_port


def _stalled(report: Report) -> tuple[Stage, ...]:
    """Return the requests of the account download that had no end, on our own wire or for a library."""
    result = report.layer(Layer.DOWNLOAD)
    own = () if result is None else tuple(each.stage for each in result.requests if each.seconds is None)
    clients = (client.stage for client in blamed(report) if client.stage in DOWNLOAD_STAGES)
    return tuple(dict.fromkeys((*own, *(stage for stage in clients if stage))))


def _download_cures(report: Report, verdict: Verdict) -> tuple[str, ...]:
    """Return what others did about the requests that had no end."""
    if verdict is not Verdict.DOWNLOAD_STALLED:
        return ()
    return tuple(DOWNLOAD_CURES[stage] for stage in _stalled(report) if stage in DOWNLOAD_CURES)
