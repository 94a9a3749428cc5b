"""From a report to one verdict: the ordered rules, first match wins, our own fault as the default.

The rules in words, from the outside in:

    we failed                                             probe_broken
    the name has no address                               name_unresolved
    no answer to the connect, or no route                 unreachable
    the connect was refused                               port_closed
    connected, then EOF or reset instead of a reply       closed_before_handshake
    connected, hello sent, no reply or half of one        api_silent
    a reply that is not this API's                        not_tws_api
    a clear answer, but not with a usable version         server_redirect, server_too_old, session_refused
    all that was probed answered, slower than the limit   slow
    all that was probed answered                          healthy
    anything else                                         probe_broken: a case without a rule is our fault
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from exporter.model import Cause, Layer, LayerResult, Outcome, Report, Stamp, Target, Verdict
from exporter.remedy import REMEDIES, fill

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
    return next((verdict for verdict, applies in RULES if applies(report, target)), Verdict.PROBE_BROKEN)


def severity(verdict: Verdict) -> Severity:
    """How bad a verdict is."""
    if verdict is Verdict.HEALTHY:
        return Severity.OK
    if verdict is Verdict.UNKNOWN:
        return Severity.UNKNOWN
    return Severity.WARNING if verdict in WARNINGS else Severity.CRITICAL


def explain(report: Report, target: Target, verdict: Verdict) -> Explanation:
    """The verdict's headline, the evidence for it in this report, and the required actions."""
    remedy = REMEDIES[verdict]
    evidence = [] if report.fault is None else [f"We failed: {report.fault}"]
    evidence += [sentence(result, target) for result in report.results if result.outcome is not Outcome.SKIPPED]
    if verdict in AT_THE_DOOR and target.host in LOOPBACK:
        evidence.append("The host is this machine itself, so neither a network nor a firewall on the way is to blame.")
    return Explanation(
        fill(remedy.headline, target), tuple(evidence), tuple(fill(action, target) for action in remedy.actions)
    )


def sentence(result: LayerResult, target: Target) -> str:
    """One result as a line of evidence."""
    took = "" if result.seconds is None else f" after {duration(result.seconds)}"
    if result.outcome is Outcome.OK:
        said = SUCCESSES[result.layer](result, target)
    else:
        cause = result.cause.value if result.cause else result.outcome.value
        said = FAILURES.get((result.layer, result.cause), f"{result.layer.value} failed: {cause}").format(
            endpoint=target.endpoint,
            host=target.host,
            offer=f"v{target.hello.minimum}..{target.hello.maximum}",
            took=took,
        )
    who = f"{result.client}: " if result.client else ""
    return f"{who}{said}" + (f" ({result.detail})" if result.detail else "")


def duration(seconds: float) -> str:
    """Seconds for people: 0.31 ms, 12 ms, 5.0 s."""
    if seconds < 0.01:  # noqa: PLR2004 - below ten milliseconds the fractions matter
        return f"{seconds * 1000:.2f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _failed(layer: Layer, *causes: Cause) -> Rule:
    return lambda report, _: (result := report.layer(layer)) is not None and result.cause in causes


def _answered(report: Report, _: Target) -> bool:
    """Every layer that was probed is ok, and at least one was."""
    return bool(report.results) and all(result.ok for result in report.results)


def _slow(report: Report, target: Target) -> bool:
    handshake = report.layer(Layer.HANDSHAKE)
    return _answered(report, target) and handshake is not None and (handshake.seconds or 0.0) > target.slow_after


RULES: tuple[tuple[Verdict, Rule], ...] = (
    (Verdict.PROBE_BROKEN, lambda report, _: report.fault is not None),
    (Verdict.NAME_UNRESOLVED, _failed(Layer.PORT, Cause.NAME_UNKNOWN, Cause.NAME_TIMEOUT)),
    (Verdict.UNREACHABLE, _failed(Layer.PORT, Cause.CONNECT_TIMEOUT, Cause.NO_ROUTE)),
    (Verdict.PORT_CLOSED, _failed(Layer.PORT, Cause.CONNECT_REFUSED)),
    (Verdict.CLOSED_BEFORE_HANDSHAKE, _failed(Layer.HANDSHAKE, Cause.EOF, Cause.RESET)),
    (Verdict.API_SILENT, _failed(Layer.HANDSHAKE, Cause.SILENCE, Cause.UNFINISHED)),
    (
        Verdict.NOT_TWS_API,
        _failed(Layer.HANDSHAKE, Cause.HTTP, Cause.TLS, Cause.VNC, Cause.SSH, Cause.OVERSIZED, Cause.MALFORMED),
    ),
    (Verdict.SERVER_REDIRECT, _failed(Layer.HANDSHAKE, Cause.REDIRECT)),
    (Verdict.SERVER_TOO_OLD, _failed(Layer.HANDSHAKE, Cause.TOO_OLD)),
    (Verdict.SESSION_REFUSED, _failed(Layer.HANDSHAKE, Cause.API_ERROR)),
    (Verdict.SLOW, _slow),
    (Verdict.HEALTHY, _answered),
)

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
AT_THE_DOOR = frozenset({Verdict.UNREACHABLE, Verdict.PORT_CLOSED})


def _port_open(result: LayerResult, target: Target) -> str:
    return f"{target.endpoint} accepts connections, in {duration(result.seconds or 0.0)}"


def _handshake_answered(result: LayerResult, _: Target) -> str:
    version = result.server.version if result.server else "unknown"
    clock = "" if result.stamp is Stamp.KERNEL else ", by our own clock"
    return f"The hello was answered in {duration(result.seconds or 0.0)}{clock}: server version {version}"


def _passed(result: LayerResult, _: Target) -> str:
    return f"{result.layer.value} passed" + ("" if result.seconds is None else f" in {duration(result.seconds)}")


SUCCESSES: dict[Layer, Callable[[LayerResult, Target], str]] = {
    Layer.PORT: _port_open,
    Layer.HANDSHAKE: _handshake_answered,
    Layer.SESSION: _passed,
    Layer.CLIENT: _passed,
}

NO_GATEWAY = ", which no TWS or IB Gateway sends"
FAILURES: dict[tuple[Layer, Cause | None], str] = {
    (Layer.PORT, Cause.NAME_UNKNOWN): "The name {host} has no address",
    (Layer.PORT, Cause.NAME_TIMEOUT): "The name {host} got no answer from the resolver{took}",
    (Layer.PORT, Cause.NO_ROUTE): "There is no route to {endpoint}",
    (Layer.PORT, Cause.CONNECT_TIMEOUT): "The TCP connect to {endpoint} got no answer{took}",
    (Layer.PORT, Cause.CONNECT_REFUSED): "The TCP connect to {endpoint} was refused{took}",
    (Layer.HANDSHAKE, Cause.EOF): "The connection was closed{took} instead of an answer to the hello {offer}",
    (Layer.HANDSHAKE, Cause.RESET): "The connection was reset{took} instead of an answer to the hello {offer}",
    (Layer.HANDSHAKE, Cause.SILENCE): "The hello {offer} was sent, and not one byte came back: given up{took}",
    (Layer.HANDSHAKE, Cause.UNFINISHED): "The reply to the hello {offer} began and never ended: given up{took}",
    (Layer.HANDSHAKE, Cause.REDIRECT): "The hello {offer} was answered by a redirect",
    (Layer.HANDSHAKE, Cause.TOO_OLD): "The hello {offer} was answered with too old a version",
    (Layer.HANDSHAKE, Cause.API_ERROR): "The hello {offer} was answered by an error",
    (Layer.HANDSHAKE, Cause.HTTP): "The answer to the hello {offer} is HTTP" + NO_GATEWAY,
    (Layer.HANDSHAKE, Cause.TLS): "The answer to the hello {offer} is a TLS alert" + NO_GATEWAY,
    (Layer.HANDSHAKE, Cause.VNC): "The answer to the hello {offer} is a VNC banner" + NO_GATEWAY,
    (Layer.HANDSHAKE, Cause.SSH): "The answer to the hello {offer} is an SSH banner" + NO_GATEWAY,
    (Layer.HANDSHAKE, Cause.OVERSIZED): "The answer to the hello {offer} begins with an impossible length" + NO_GATEWAY,
    (Layer.HANDSHAKE, Cause.MALFORMED): "The answer to the hello {offer} is garbled" + NO_GATEWAY,
}
