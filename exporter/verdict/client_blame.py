"""Trials: one client tried once against one target, and what its result says.

A client's failure is believed only between two answers of the gateway to ourselves: a handshake right before, and a
whole probe of the wire right after. If the second fails, the gateway fell over meanwhile, and the library is not
accused. A gateway or a relay that drops a connection, or says something wrong, and is well again before we look leaves
no trace: what that would explain is held against a library only when it happens twice in a row. What is said of a
client is forgotten after three of its intervals.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from exporter.model import Cause, Doubt, InstalledVersion, Layer, LayerResult, Outcome, Report, Stage

EXPIRY = 3  # intervals of the client
CONVINCING = 5.0  # seconds; a try that was given less than this and than its deadline accuses nobody of being late
NEARLY = 0.95  # of these: a moment is lost on the way
PATIENT = 4  # times what our own probe of the wire took; neither does a try that was given less than this
# What the gateway, or what lies before it, may have had a part in. A crash is the library's own.
SHARED = frozenset({Outcome.CLOSED, Outcome.TIMEOUT, Outcome.REFUSED, Outcome.REJECTED, Outcome.GARBLED})


@dataclass(frozen=True, slots=True)
class ClientProbe:
    """A client's result at unix time `at`; it claims nothing after `expires`.

    `before` is the handshake that was made right before. `connections` counts the client's own, `conflicts` the client
    ids that were refused to it with error 326. `limit` is for how many seconds it might go on.
    """

    result: LayerResult
    at: float
    expires: float
    before: Report | None = None
    connections: int = 0
    conflicts: int = 0
    limit: float = math.inf


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """Whether a client's interpreter starts and imports the library: what it is, or why it cannot be used."""

    client: str
    installed: InstalledVersion | None = None
    problem: str | None = None


def is_conclusive(result: LayerResult) -> bool:
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


def enough(limit: float, deadline: float) -> bool:
    """A client that had `limit` seconds of its `deadline` had its time."""
    return limit >= NEARLY * min(deadline, CONVINCING)


def confirm(trial: ClientProbe, after: Report) -> ClientProbe:
    """The trial as it counts after one more probe: a failure holds only if the whole wire still answers.

    While it does not, the failure is shown beside that, and nothing is left of it when the wire recovers.
    """
    result = trial.result
    if result.ok or not is_conclusive(result):
        return trial
    if not answered(after):
        said = f"the gateway stopped answering meanwhile; the library had ended with {result.outcome.value}"
        return replace(trial, result=discard(result, said))
    if not wire_ok(after) or _cut_off(after):
        return replace(trial, result=replace(result, doubt=Doubt.WIRE))
    if result.outcome is Outcome.TIMEOUT and trial.limit < PATIENT * after.seconds:
        said = f"the gateway is slow, our own probe took {after.seconds:.1f} s: {trial.limit:.1f} s were too few"
        return replace(trial, result=discard(result, said))
    return trial


def require_repeat(trial: ClientProbe, earlier: ClientProbe | None) -> ClientProbe:
    """The trial as it counts after the one before: what the gateway may have part in counts at the second time."""
    result = trial.result
    if result.outcome not in SHARED or not is_conclusive(result) or result.doubt is not None:
        return trial
    began = trial.at if trial.before is None else trial.before.at
    if earlier is not None and began <= earlier.expires and _failed(earlier.result):
        return trial
    return replace(trial, result=replace(result, doubt=Doubt.ONCE))


def discard(result: LayerResult, why: str) -> LayerResult:
    """The result as one that says nothing, for this reason."""
    return replace(result, outcome=Outcome.UNAVAILABLE, cause=None, code=None, detail=why)


def skipped(client: str, installed: InstalledVersion | None = None) -> LayerResult:
    """A client that was not tried."""
    return LayerResult(layer=Layer.CLIENT, outcome=Outcome.SKIPPED, client=client, installed=installed)


def with_clients(report: Report, names: Iterable[str], client_probes: Mapping[str, ClientProbe], now: float) -> Report:
    """A report of the wire with the latest results of these clients that still hold.

    An earlier success claims nothing once the wire fails; an earlier failure agrees with that.
    """
    latest = [client_probes[name] for name in names if name in client_probes and now <= client_probes[name].expires]
    if not latest:
        return report
    working = wire_ok(report)
    results = tuple(
        skipped(trial.result.client or "", trial.result.installed) if trial.result.ok and not working else trial.result
        for trial in latest
    )
    return replace(report, results=(*(result for result in report.results if result.client is None), *results))


def failures(report: Report) -> tuple[LayerResult, ...]:
    """The clients of a report that were tried and failed."""
    return tuple(result for result in report.results if result.client and is_conclusive(result) and not result.ok)


def blamed(report: Report) -> tuple[LayerResult, ...]:
    """Of these the ones whose failure is held against them."""
    return tuple(result for result in failures(report) if result.doubt is None)


def clearly_at_fault(report: Report, result: LayerResult) -> bool:
    """It crashed, or something else got as far as it did not: another client, or we ourselves on the wire.

    We never ask for a contract.
    """
    if result.outcome is Outcome.CRASHED or any(other.ok for other in report.results if other.client):
        return True
    session = report.layer(Layer.SESSION)
    within = session is not None and session.ok and result.stage is not Stage.CONTRACT
    return result.stage is Stage.CONNECT or within


def _failed(result: LayerResult) -> bool:
    """It speaks against the client, if only together with another."""
    return is_conclusive(result) and not result.ok and result.doubt is not Doubt.WIRE


def _cut_off(report: Report) -> bool:
    """The gateway told that it has lost IBKR's servers: a library that wants data from there fails for that."""
    return any(result.session.upstream is False for result in report.results if result.session)


def _asked(result: LayerResult) -> bool:
    """Not left out on purpose, for a cause."""
    return result.outcome is not Outcome.SKIPPED or result.cause is None
