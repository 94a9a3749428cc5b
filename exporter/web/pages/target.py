"""What the page of one target shows beside its card: tests, reports with their logs, counters, times, history."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from exporter.maintenance import open_windows, window_text
from exporter.model import Cause, Layer, LayerResult, Outcome, Report, Stamp, Target, Verdict
from exporter.protocol.releases import release_of
from exporter.state.claims import claims
from exporter.state.histogram import Histogram
from exporter.state.kept_reports import Judged
from exporter.state.target import TargetState
from exporter.text import duration, elapsed, joined
from exporter.verdict.evidence import detail, stage_times, time_taken
from exporter.verdict.rules import severity
from exporter.web.pages.plot import Plot, plot
from exporter.web.pages.rows import DASH, SIGNS, Card, ShownTime, at, card, common_window, spans

LAYER_QUESTIONS = {
    Layer.PORT: "Port check",
    Layer.HANDSHAKE: "API handshake",
    Layer.SESSION: "API session",
    Layer.DOWNLOAD: "Account download",
    Layer.CLIENT: "Client library",
}


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One test of the last report, for the table that compares the libraries. `mark` is as in LayerCell."""

    name: str
    library: str
    version: str
    mark: str
    sign: str
    word: str
    took: str
    stages: str
    detail: str


@dataclass(frozen=True, slots=True)
class KeptReport:
    """One kept report: its time, its verdict, and its log line by line."""

    at: ShownTime
    verdict: str
    tone: str
    sign: str
    took: str
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProbeCount:
    """The probes of one layer, or of one client, since the exporter started."""

    name: str
    done: int
    failed: str
    last: ShownTime | None


@dataclass(frozen=True, slots=True)
class DurationSummary:
    """The successes of one layer since the exporter started, by their histogram."""

    name: str
    count: int
    mean: str
    p50: str
    p99: str


@dataclass(frozen=True, slots=True)
class VerdictPeriod:
    """A verdict in the history of a target, and how long it lasted."""

    at: ShownTime
    verdict: str
    tone: str
    sign: str
    lasted: str


@dataclass(frozen=True, slots=True)
class Details:
    """Everything about one target. Reports, failures and history have the newest first."""

    card: Card
    tests: tuple[LayerRow, ...]
    reports: tuple[KeptReport, ...]
    failures: tuple[KeptReport, ...]
    counts: tuple[ProbeCount, ...]
    times: tuple[DurationSummary, ...]
    plot: Plot
    history: tuple[VerdictPeriod, ...]
    connections: int
    interval: str
    deadline: str
    facts: tuple[tuple[str, str], ...]


def describe(state: TargetState, now: float) -> Details:
    """A target with all that its state holds. Failures that are among the recent reports are shown there only."""
    target, report = state.target, claims(state, now)
    recent = _unpacked(state.recent)
    shown = {report.at for report, _ in recent}
    return Details(
        card=card(state, now, common_window([state], now)),
        tests=tuple(_test(result, target) for result in report.results) if report else (),
        reports=_newest(recent, target, now),
        failures=_newest([each for each in _unpacked(state.failures) if each[0].at not in shown], target, now),
        counts=_counts(state, now),
        times=(_times("TCP connect", state.connect), _times("API handshake", state.handshake)),
        plot=plot(state, now),
        history=_history(state, now),
        connections=state.connections,
        interval=f"{target.interval:g} s",
        deadline=f"{target.deadline:g} s",
        facts=_facts(state, now),
    )


def log_lines(report: Report, verdict: Verdict, target: Target) -> tuple[str, ...]:
    """A report as the lines of a log, one for each step."""
    lines = [f"probe of {target.endpoint}, deadline {target.deadline:g} s, connections opened: {report.connections}"]
    for result in report.results:
        layer = f"{result.layer.value} {result.client}" if result.client else result.layer.value
        lines += [f"{layer}: {stage.value} {duration(seconds)}" for stage, seconds in result.stages]
        lines.append(f"{layer}: {_ending(result)}")
    if report.fault:
        lines.append(f"our own fault: {report.fault}")
    lines.append(f"verdict {verdict.value} after {duration(report.seconds)}")
    return tuple(lines)


def _ending(result: LayerResult) -> str:
    took = "" if result.seconds is None else f" after {duration(result.seconds)}"
    where = f" at {result.stage.value}" if result.stage and not result.ok else ""
    why = f", cause {result.cause.value}" if result.cause else ""
    server = f", server version {result.server.version}" if result.server else ""
    clock = {Stamp.KERNEL: ", timed by the kernel", Stamp.USER: ", timed by our own clock", None: ""}[result.stamp]
    note = f" ({detail(result)})" if detail(result) else ""
    return f"{result.outcome.value}{where}{took}{why}{server}{clock}{note}"


def _test(result: LayerResult, target: Target) -> LayerRow:
    spoken = f"hello v{target.hello.minimum}..{target.hello.maximum}" if result.layer is Layer.HANDSHAKE else ""
    mark, sign = ("ok", "✓") if result.ok else ("fail", "✗")
    if result.outcome in (Outcome.SKIPPED, Outcome.UNAVAILABLE) and result.cause is None:
        mark, sign = "none", DASH
    return LayerRow(
        name=LAYER_QUESTIONS[result.layer],
        library=_library(result),
        version=_version(result) if result.client else spoken,
        mark=mark,
        sign=sign,
        word=result.outcome.value + (f" at {result.stage.value}" if result.stage and not result.ok else ""),
        took=time_taken(result),
        stages=stage_times(result),
        detail=detail(result) or _server(result, target),
    )


def _server(result: LayerResult, target: Target) -> str:
    """The server's version, and the release of the API that it belongs to where our own hello was answered."""
    if result.server is None:
        return ""
    release = "" if result.client else f" (API {release_of(result.server.version, target.hello.maximum)})"
    return f"server version {result.server.version}{release}"


def _library(result: LayerResult) -> str:
    """The library, and the client's name where that is another."""
    if result.client is None:
        return "our own socket"
    if result.installed is None or result.installed.library == result.client:
        return result.client
    return f"{result.installed.library} ({result.client})"


def _version(result: LayerResult) -> str:
    return f"{result.installed.version}, Python {result.installed.python}" if result.installed else ""


def _unpacked(kept: Iterable[Judged]) -> list[tuple[Report, Verdict]]:
    return [(judged.report, judged.verdict) for judged in kept]


def _newest(kept: Sequence[tuple[Report, Verdict]], target: Target, now: float) -> tuple[KeptReport, ...]:
    return tuple(
        KeptReport(
            at=at(report.at, now),
            verdict=verdict.value,
            tone=severity(verdict).value,
            sign=SIGNS[severity(verdict)],
            took=duration(report.seconds),
            log=log_lines(report, verdict, target),
        )
        for report, verdict in reversed(kept)
    )


def _counts(state: TargetState, now: float) -> tuple[ProbeCount, ...]:
    counts = []
    for (layer, client), done in state.probes.items():
        failed = [(key[2].value, number) for key, number in state.failed.items() if key[:2] == (layer, client)]
        when = state.probed_at.get((layer, client))
        failures = ", ".join(f"{number} {outcome}" for outcome, number in failed) or "none"
        name = f"{layer.value} {client}" if client else layer.value
        counts.append(ProbeCount(name, done, failures, None if when is None else at(when, now)))
    return tuple(counts)


def _times(name: str, histogram: Histogram) -> DurationSummary:
    count = sum(histogram.counts)
    mean = duration(histogram.total / count) if count else DASH
    return DurationSummary(name, count, mean, _within(histogram, 0.5), _within(histogram, 0.99))


def _within(histogram: Histogram, share: float) -> str:
    """The bound that this share of the observations did not exceed."""
    running = list(accumulate(histogram.counts))
    if not running[-1]:
        return DASH
    place = bisect_left(running, share * running[-1])
    if place < len(histogram.bounds):
        return f"≤ {duration(histogram.bounds[place])}"
    return f"> {duration(histogram.bounds[-1])}"


def _history(state: TargetState, now: float) -> tuple[VerdictPeriod, ...]:
    return tuple(
        VerdictPeriod(
            at=at(span.start, now),
            verdict=span.verdict.value,
            tone=severity(span.verdict).value,
            sign=SIGNS[severity(span.verdict)],
            lasted=elapsed(span.end - span.start),
        )
        for span in reversed(spans(state, now))
    )


def _watch(state: TargetState, now: float) -> str:
    """Whether the watch is in its session and since when, or why not."""
    watched = state.watched
    if state.target.watch_id is None:
        return "none"
    since = f" for {at(watched.since, now).ago}" if watched.since is not None else ""
    if state.release.suspended or state.falls.sessions_suspended:
        return "suspended until the configuration is reloaded: see the evidence"
    if watched.connected:
        return f"connected{since}"
    end = watched.ended
    if end and end.cause is Cause.CLIENT_ID_IN_USE:
        return f"not connected{since}: client id {state.target.watch_id} is in use. Another exporter with the same ids?"
    return f"not connected{since}" + (f" ({joined(end.cause.value, end.detail)})" if end and end.cause else "")


def _facts(state: TargetState, now: float) -> tuple[tuple[str, str], ...]:
    """What is configured, for the table beside the counters, and what the launcher log and the calendar show."""
    target = state.target
    reserved = ", ".join(str(number) for number in target.client_ids) or "none"
    facts = [
        ("Endpoint", target.endpoint),
        ("Mode", target.mode.value),
        ("Probed every", f"{target.interval:g} s"),
        ("Deadline", f"{target.deadline:g} s"),
        ("Slow after", duration(target.slow_after)),
        ("Reserved client ids", reserved),
        ("Watch", _watch(state, now)),
        ("Clients", ", ".join(target.clients) or "none"),
    ]
    if state.login:
        since = f", {at(state.login.at, now).ago} ago" if state.login.at is not None else ""
        facts.append(("Login", f"{state.login.phase.value}{since}"))
    opened = open_windows(now, target.windows)
    facts += [
        (f"Window {window.name}", window_text(window) + ", open now" * (window.name in opened))
        for window in target.windows
    ]
    return (*facts, *((f"Label {name}", value) for name, value in target.labels.items()))
