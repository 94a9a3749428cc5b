"""One probe of the account download folded into the state: counted, put beside the latest wire results, and judged."""

from dataclasses import replace

from exporter.model import Layer, Outcome, Report
from exporter.state.target import EXPIRY_INTERVALS, DownloadProbe, TargetState, count, revise
from exporter.verdict.client_blame import wire_ok
from exporter.verdict.rules import judge


def fold_download(state: TargetState, report: Report) -> TargetState:
    """The state after one more probe of the account download, judged again with the latest report of the wire."""
    results = report.results
    conclusive = bool(results) and results[0].outcome is not Outcome.UNAVAILABLE
    counted = count(state, report, results if conclusive else ())
    if not results:  # our own fault, in the log
        return counted
    ended = report.at + report.seconds
    probe = DownloadProbe(results[0], ended, ended + EXPIRY_INTERVALS * state.target.download_interval)
    counted = replace(counted, download=probe)
    last = state.last
    if last is None or last.fault is not None:
        return counted
    beside = with_download(last, counted, ended)
    verdict = judge(beside, state.target)
    if verdict is state.verdict:
        return replace(counted, last=beside)
    return revise(counted, replace(beside, at=max(last.at, ended), seconds=0.0, connections=0), verdict)


def with_download(report: Report, state: TargetState, now: float) -> Report:
    """A report with the latest result of the account download after the wire's; without it once the wire fails."""
    results = [result for result in report.results if result.layer is not Layer.DOWNLOAD]
    probe = state.download
    if probe is not None and now <= probe.expires and wire_ok(report):
        place = next((at for at, result in enumerate(results) if result.client is not None), len(results))
        results.insert(place, probe.result)
    return replace(report, results=tuple(results))
