"""The clients' results beside a report of the wire, and when a failure waits for the other libraries. Pure.

A library that fails is blamed only when every other library of its target has been probed since that failure began: if
all fail alike, it is no single library's fault. The others are probed at once, so the blame waits for one round of
probes, and for two intervals of the client at most.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from exporter.model import Doubt, LayerResult, Report
from exporter.verdict.client_blame import EXPIRY, ClientProbe, is_conclusive, skipped, wire_ok

WAIT = 2  # intervals of the client

ClientProbes = Mapping[str, ClientProbe]


def with_clients(report: Report, names: Iterable[str], client_probes: ClientProbes, now: float) -> Report:
    """Return a report of the wire with the latest result of each of these clients that has not expired.

    Once the wire fails, an earlier success of a client becomes `skipped`; an earlier failure stays.
    """
    names = tuple(names)
    latest = [client_probes[name] for name in names if name in client_probes and now <= client_probes[name].expires]
    if not latest:
        return report
    working = wire_ok(report) or report.lower_hello is not None
    results = tuple(
        skipped(probe.result.client or "", probe.result.installed)
        if probe.result.ok and not working
        else _waiting(probe, names, client_probes, now)
        for probe in latest
    )
    return replace(report, results=(*(result for result in report.results if result.client is None), *results))


def awaited(names: Iterable[str], client_probes: ClientProbes, now: float) -> frozenset[str]:
    """Return the clients not probed since another one began to fail, or whose first failure is to be repeated."""
    names = tuple(names)
    return frozenset(
        other
        for probe in client_probes.values()
        if probe.result.doubt in (None, Doubt.ONCE)
        for other in _unsettled(probe, names, client_probes, now)
    )


def _waiting(probe: ClientProbe, names: tuple[str, ...], client_probes: ClientProbes, now: float) -> LayerResult:
    """Return the result of a client; its failure with a doubt while others have not been tried since it began."""
    result = probe.result
    if result.ok or result.doubt is not None or not _unsettled(probe, names, client_probes, now):
        return result
    return replace(result, doubt=Doubt.OTHERS)


def _unsettled(probe: ClientProbe, names: tuple[str, ...], client_probes: ClientProbes, now: float) -> list[str]:
    """Return the other clients whose result since this failure began does not stand yet; none after a time."""
    began = probe.failing_since
    if began is None or not is_conclusive(probe.result) or now - began > WAIT * (probe.expires - probe.at) / EXPIRY:
        return []
    return [name for name in names if name != probe.result.client and not _settled(client_probes.get(name), began)]


def _settled(probe: ClientProbe | None, since: float) -> bool:
    """Return whether this client has a result since then that stands, or a failure that has stood all along."""
    if probe is None:
        return False
    return probe.settled_at >= since or (probe.failing_since is not None and probe.result.doubt is None)
