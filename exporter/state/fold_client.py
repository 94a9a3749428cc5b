"""One client probe folded into the state: counted, put beside the latest wire results, and judged with them."""

from collections.abc import Mapping

from exporter.model import LayerResult, Outcome, Report
from exporter.model.copies import replace
from exporter.state.histogram import CLIENT_BUCKETS, Histogram
from exporter.state.kept_reports import kept
from exporter.state.target import TargetState, count, revise
from exporter.verdict.client_blame import ClientProbe
from exporter.verdict.client_round import with_clients
from exporter.verdict.rules import WORKING, judge


def fold_client(state: TargetState, probe: ClientProbe) -> TargetState:
    """The state after one more client probe, judged again where there is a report to put it beside."""
    counted = _counted(state, probe)
    last = state.last
    if last is None or last.fault is not None:
        return counted
    report = with_clients(last, state.target.clients, counted.client_probes, probe.at)
    verdict = judge(report, state.target)
    if verdict is not state.verdict:
        return revise(counted, replace(report, at=max(last.at, probe.at), seconds=0.0, connections=0), verdict)
    judged = kept(report, verdict)
    failures = state.failures
    if verdict not in WORKING and failures and failures[-1].report.at == report.at:
        failures = (*failures[:-1], judged)
    return replace(counted, last=report, recent=(*state.recent[:-1], judged), failures=failures)


def _counted(state: TargetState, probe: ClientProbe) -> TargetState:
    """The client probe and the handshake before it, kept and counted.

    A handshake with a lower hello than the target's own says nothing about that one: its connections alone count.
    """
    name, result = probe.result.client or "", probe.result
    counted = replace(
        state,
        client_probes={**state.client_probes, name: probe} if probe.expires > probe.at else state.client_probes,
        connections=state.connections + probe.connections,
        conflicts=state.conflicts + probe.conflicts,
        client_times=_observed(state.client_times, name, result),
    )
    if probe.before is not None and state.lower_hello is not None:
        counted = replace(counted, connections=counted.connections + probe.before.connections)
    elif probe.before is not None:
        counted = count(counted, probe.before, probe.before.results)
    if result.outcome is Outcome.SKIPPED:
        return counted
    return count(counted, Report(target=state.target.name, at=probe.at, seconds=0.0, results=(result,)), (result,))


def _observed(times: Mapping[str, Histogram], name: str, result: LayerResult) -> Mapping[str, Histogram]:
    if not result.ok or result.seconds is None:
        return times
    return {**times, name: times.get(name, Histogram.empty(CLIENT_BUCKETS)).observe(result.seconds)}
