"""When a client's failure is the library's fault.

One client probe stands between two probes of our own: a handshake right before it, and the whole wire right after a
failure. If the second fails, the gateway failed meanwhile, and the library is not blamed. A gateway or relay may drop
one connection and work again before we look. So a failure that a lost connection explains is blamed on a library only
when it happens twice in a row. A client's result expires after three of its intervals.
"""

import math
from dataclasses import dataclass, replace

from exporter.model import DOWNLOAD_STAGES, Cause, Doubt, InstalledVersion, Layer, LayerResult, Outcome, Report, Stage
from exporter.protocol.error_codes import OUT_OF_DATE

WIRE = frozenset({Layer.PORT, Layer.HANDSHAKE, Layer.SESSION})
UNANSWERED = frozenset({Cause.SILENCE, Cause.UNFINISHED, Cause.EOF, Cause.RESET, Cause.BROKEN_OFF})
EXPIRY = 3  # intervals of the client
CONVINCING = 5.0  # seconds; a timeout after less than this and less than the client's deadline says nothing
NEARLY = 0.95  # of CONVINCING or the deadline: process start and scheduling take the rest
PATIENT = 4  # times the duration of our own wire probe; a timeout after less than this says nothing either
# Outcomes that the gateway, or a relay before it, may have caused. Only the library itself causes a crash.
SHARED = frozenset({Outcome.CLOSED, Outcome.TIMEOUT, Outcome.REFUSED, Outcome.REJECTED, Outcome.GARBLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProbe:
    """A client's result at unix time `at`; it claims nothing after `expires`.

    `before` is our handshake right before it. `connections` counts the client's own connections, `conflicts` the client
    ids that the gateway refused with error 326. `limit` is how many seconds the client was given. `failing_since` is
    when its failures in a row began, `settled_at` when its latest result that stands came (unix time).
    """

    result: LayerResult
    at: float
    expires: float
    before: Report | None = None
    connections: int = 0
    conflicts: int = 0
    limit: float = math.inf
    failing_since: float | None = None
    settled_at: float = math.inf

    @classmethod
    def of(
        cls,
        result: LayerResult,
        at: float,
        interval: float,
        *,
        before: Report | None = None,
        connections: int = 0,
        conflicts: int = 0,
        limit: float = math.inf,
    ) -> "ClientProbe":
        """A probe of a client that is probed every `interval` seconds: it expires after three of them."""
        return cls(
            result=result,
            at=at,
            expires=at + EXPIRY * interval,
            before=before,
            connections=connections,
            conflicts=conflicts,
            limit=limit,
        )


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """The installed version of a client, or the problem that keeps it from being used."""

    client: str
    installed: InstalledVersion | None = None
    problem: str | None = None


def is_conclusive(result: LayerResult) -> bool:
    """The result says something about the client: it ran, with a client id that was free."""
    return result.outcome not in (Outcome.SKIPPED, Outcome.UNAVAILABLE) and result.cause is not Cause.CLIENT_ID_IN_USE


def answered(report: Report) -> bool:
    """The gateway answered our hello."""
    handshake = report.layer(Layer.HANDSHAKE)
    return report.fault is None and handshake is not None and handshake.ok


def wire_ok(report: Report) -> bool:
    """Every wire layer that was probed answered."""
    wire = [result for result in report.results if result.layer in WIRE and _probed(result)]
    return report.fault is None and bool(wire) and all(result.ok for result in wire)


def hello_unanswered(report: Report) -> bool:
    """The gateway accepted the connection and did not answer our hello, or not to its end."""
    handshake = report.layer(Layer.HANDSHAKE)
    return report.fault is None and handshake is not None and handshake.cause in UNANSWERED


def enough(limit: float, deadline: float) -> bool:
    """Return whether a timeout after `limit` seconds counts for a client with this `deadline`."""
    return limit >= NEARLY * min(deadline, CONVINCING)


def confirm(probe: ClientProbe, after: Report) -> ClientProbe:
    """Return the probe as it counts after our own wire probe: a failure counts only if the wire still answers.

    If the wire answers the hello but then fails, the failure stays visible with a doubt.
    """
    result = probe.result
    if result.ok or not is_conclusive(result):
        return probe
    if after.fault is not None:
        return replace(probe, result=discard(result, "our own probe right after it failed for a fault of ours"))
    if not answered(after):
        return replace(probe, result=replace(result, doubt=Doubt.FALL))
    if not wire_ok(after) or upstream_lost(after) or malformed(after):
        return replace(probe, result=replace(result, doubt=Doubt.WIRE))
    if result.outcome is Outcome.TIMEOUT and probe.limit < PATIENT * after.seconds:
        reason = f"the gateway is slow, our own probe took {after.seconds:.1f} s: {probe.limit:.1f} s were too few"
        return replace(probe, result=discard(result, reason))
    return probe


def malformed(report: Report) -> bool:
    """The gateway sent our own session a message that breaks the protocol: a library may fail for the same bytes."""
    return any(result.session.malformed for result in report.results if result.session)


def is_shared(result: LayerResult) -> bool:
    """The client failed in a way that the gateway, or a relay before it, may have had a part in."""
    return result.outcome in SHARED and is_conclusive(result)


def repeats(probe: ClientProbe, earlier: ClientProbe | None) -> bool:
    """Whether this failure would count because the probe before it failed too, and did not count yet."""
    result = probe.result
    doubted = earlier is not None and earlier.result.doubt in (Doubt.ONCE, Doubt.PARTIAL)
    return doubted and result.outcome in SHARED and is_conclusive(result) and result.doubt is None


def require_repeat(probe: ClientProbe, earlier: ClientProbe | None) -> ClientProbe:
    """Return the probe as it counts after the `earlier` one: a SHARED outcome counts only the second time in a row."""
    began = probe.at if probe.before is None else probe.before.at
    if earlier is not None and began > earlier.expires:
        earlier = None
    again = earlier is not None and _failed(earlier.result)
    result = probe.result
    if not again and is_shared(result) and result.doubt is None:
        result = replace(result, doubt=Doubt.ONCE)
    settled = result.ok or result.doubt is None
    before = earlier.settled_at if earlier is not None else -math.inf
    since = earlier.failing_since if earlier is not None and again else began
    return replace(
        probe,
        result=result,
        failing_since=since if _failed(result) else None,
        settled_at=probe.at if settled else before,
    )


def doubt_partial(probe: ClientProbe) -> ClientProbe:
    """Return the probe as it counts where some of our own connections are not answered either, while others are."""
    result = probe.result
    if not is_shared(result) or result.doubt is not None:
        return probe
    return replace(probe, result=replace(result, doubt=Doubt.PARTIAL))


def discard(result: LayerResult, reason: str) -> LayerResult:
    """Return the result as `unavailable`, which says nothing about the target, with the reason as its detail."""
    return replace(result, outcome=Outcome.UNAVAILABLE, cause=None, code=None, detail=reason)


def skipped(client: str, installed: InstalledVersion | None = None) -> LayerResult:
    """Return the result of a client that was not probed."""
    return LayerResult(layer=Layer.CLIENT, outcome=Outcome.SKIPPED, client=client, installed=installed)


def failures(report: Report) -> tuple[LayerResult, ...]:
    """Return the clients' results that are conclusive and not ok."""
    return tuple([result for result in report.results if result.client and is_conclusive(result) and not result.ok])


def gateway_too_old(report: Report, result: LayerResult) -> bool:
    """The gateway's server version is below the lowest that the library accepts, and the library got no further.

    Error 503 is the reverse: the gateway's refusal of the library.
    """
    if not result.client or result.stage is not Stage.CONNECT or result.code == OUT_OF_DATE:
        return False
    handshake = report.layer(Layer.HANDSHAKE)
    version = handshake.server.version if handshake is not None and handshake.server is not None else None
    below = result.hello is not None and version is not None and version < result.hello.minimum
    return result.cause is Cause.TOO_OLD or below


def library_too_old(result: LayerResult) -> bool:
    """The gateway refused the library's API version with error 503."""
    return bool(result.client) and result.cause is Cause.TOO_OLD and result.code == OUT_OF_DATE


def suspended_clients(report: Report) -> tuple[LayerResult, ...]:
    """Return the clients that are kept away from the target because the gateway stops answering when they connect."""
    return tuple([result for result in report.results if result.client and result.cause is Cause.SUSPENDED])


def blamed(report: Report) -> tuple[LayerResult, ...]:
    """Return the failed clients whose failure counts (no `doubt`)."""
    return tuple(
        [result for result in failures(report) if result.doubt is None and not gateway_too_old(report, result)]
    )


def clearly_at_fault(report: Report, result: LayerResult) -> bool:
    """The client crashed, or another client or our own session got past the stage at which it failed.

    Our own session requests no contract details, so it says nothing about that stage. Nor does a client that downloads
    no account about a request of the download. Where the whole answer arrived (no cause), the library lost it.
    """
    if result.outcome is Outcome.CRASHED:
        return True
    if result.stage in DOWNLOAD_STAGES:
        return result.cause is None or _download_answered(report, result.stage)
    if any(other.ok for other in report.results if other.client):
        return True
    session = report.layer(Layer.SESSION)
    session_got_further = session is not None and session.ok and result.stage is not Stage.CONTRACT
    return result.stage is Stage.CONNECT or session_got_further


def download_unanswered(report: Report) -> bool:
    """No client that counts got the end of its request of the account download, and nothing shows that it ends."""
    failed = blamed(report)
    return bool(failed) and all(
        result.stage in DOWNLOAD_STAGES and not clearly_at_fault(report, result) for result in failed
    )


def _download_answered(report: Report, stage: Stage) -> bool:
    """Another client, or our own wire, got this request of the account download answered to its end."""
    return any(stage in dict(result.stages) for result in report.results)


def _failed(result: LayerResult) -> bool:
    """A failure that counts if the next one fails too."""
    return is_conclusive(result) and not result.ok and result.doubt in (None, Doubt.ONCE)


def upstream_lost(report: Report) -> bool:
    """The gateway reported the loss of IBKR's servers, and a library that needs data from there fails for that."""
    return any(result.session.upstream is False for result in report.results if result.session)


def _probed(result: LayerResult) -> bool:
    """Return whether the layer was probed: one skipped on purpose has a cause."""
    return result.outcome is not Outcome.SKIPPED or result.cause is None
