"""Trials: one client tried once against one target, and what its result says.

A client's failure is believed only between two answers of the gateway to ourselves: a handshake right before, and a
whole probe of the wire right after. If the second fails, the gateway fell over meanwhile, and the library is not
accused. What is said of a client is forgotten after three of its intervals.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from exporter.model import Cause, Edition, Layer, LayerResult, Outcome, Report, Stage

EXPIRY = 3  # intervals of the client
CONVINCING = 5.0  # seconds; a try that was given less than this and than its deadline accuses nobody of being late


@dataclass(frozen=True, slots=True)
class Trial:
    """A client's result at unix time `at`; it claims nothing after `expires`.

    `before` is the handshake that was made right before. `connections` counts the client's own, `conflicts` the client
    ids that were refused to it with error 326.
    """

    result: LayerResult
    at: float
    expires: float
    before: Report | None = None
    connections: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Usability:
    """Whether a client's interpreter starts and imports the library: what it is, or why it cannot be used."""

    client: str
    edition: Edition | None = None
    problem: str | None = None


def speaks(result: LayerResult) -> bool:
    """The result says something of the client: it was tried, and neither our ids nor an installation was in the way."""
    return result.outcome not in (Outcome.SKIPPED, Outcome.UNAVAILABLE) and result.cause is not Cause.CLIENT_ID_IN_USE


def answered(report: Report) -> bool:
    """The gateway answered our hello."""
    handshake = report.layer(Layer.HANDSHAKE)
    return report.fault is None and handshake is not None and handshake.ok


def wire_ok(report: Report) -> bool:
    """Every wire layer that was probed answered."""
    wire = [result for result in report.results if result.client is None and _asked(result)]
    return report.fault is None and bool(wire) and all(result.ok for result in wire)


def believe(trial: Trial, after: Report) -> Trial:
    """The trial as it counts after one more probe: a failure holds only if the hello is still answered."""
    result = trial.result
    if answered(after) or result.ok or not speaks(result):
        return trial
    said = f"the gateway stopped answering meanwhile; the library had ended with {result.outcome.value}"
    return replace(trial, result=withdrawn(result, said))


def withdrawn(result: LayerResult, why: str) -> LayerResult:
    """The result as one that says nothing, for this reason."""
    return replace(result, outcome=Outcome.UNAVAILABLE, cause=None, code=None, detail=why)


def skipped(client: str, edition: Edition | None = None) -> LayerResult:
    """A client that was not tried."""
    return LayerResult(Layer.CLIENT, Outcome.SKIPPED, client=client, edition=edition)


def with_clients(report: Report, names: Iterable[str], trials: Mapping[str, Trial], now: float) -> Report:
    """A report of the wire with the latest results of these clients that still hold.

    An earlier success claims nothing once the wire fails; an earlier failure agrees with that.
    """
    latest = [trials[name] for name in names if name in trials and now <= trials[name].expires]
    if not latest:
        return report
    working = wire_ok(report)
    results = tuple(
        skipped(trial.result.client or "", trial.result.edition) if trial.result.ok and not working else trial.result
        for trial in latest
    )
    return replace(report, results=(*(result for result in report.results if result.client is None), *results))


def culprits(report: Report) -> tuple[LayerResult, ...]:
    """The clients of a report that were tried and failed."""
    return tuple(result for result in report.results if result.client and speaks(result) and not result.ok)


def proven(report: Report, result: LayerResult) -> bool:
    """Something else got as far as this client did not: another client, or we ourselves on the wire."""
    if any(other.ok for other in report.results if other.client):
        return True
    session = report.layer(Layer.SESSION)
    return result.stage is Stage.CONNECT or (session is not None and session.ok)


def _asked(result: LayerResult) -> bool:
    """Not left out on purpose, for a cause."""
    return result.outcome is not Outcome.SKIPPED or result.cause is None
