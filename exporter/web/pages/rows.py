"""What the pages show, as frozen values ready for the templates: texts, marks and positions. No HTML here, no clock.

    Row      one target in a line: name, ladder, times, strip          every target
    Card     a row with headline, actions and evidence                 every target that is not healthy
    Details  everything (target.py)                                   the page of one target

A colour never stands alone: every tone has a sign and a word, every bar of a strip a height.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from exporter.model import Layer, LayerResult, Outcome, Report, Target, Verdict
from exporter.state.claims import claims, current_verdict, expired, expires_at
from exporter.state.target import TargetState
from exporter.text import elapsed, rfc3339, utc
from exporter.verdict.evidence import time_taken
from exporter.verdict.rules import Severity, severity
from exporter.web.pages.status_json import since, words

WORST_FIRST = (Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN, Severity.OK)
SIGNS = {Severity.CRITICAL: "✗", Severity.WARNING: "!", Severity.UNKNOWN: "?", Severity.OK: "✓"}
ORDER = {
    verdict: place
    for place, verdict in enumerate(sorted(Verdict, key=lambda verdict: WORST_FIRST.index(severity(verdict))))
}
TALLEST = 12
HEIGHTS = {Severity.CRITICAL: TALLEST, Severity.WARNING: 8, Severity.UNKNOWN: 1, Severity.OK: 4}  # of a bar in a strip
WINDOWS = (
    120.0,
    300.0,
    900.0,
    3600.0,
    2 * 3600.0,
    6 * 3600.0,
    12 * 3600.0,
    24 * 3600.0,
)  # seconds that a strip may show
NARROWEST = 0.8  # percent of a strip: a failure of one tick stays visible
WIRE = (Layer.PORT, Layer.HANDSHAKE, Layer.SESSION)
DASH = "\N{EN DASH}"  # nothing to mark

Judgement = tuple[TargetState, Verdict]


@dataclass(frozen=True, slots=True)
class ShownTime:
    """A time for people and machines: RFC 3339, the same in words, and how long ago."""

    iso: str
    text: str
    ago: str


@dataclass(frozen=True, slots=True)
class LayerCell:
    """One layer on the ladder. `mark` is ok, fail, part or none; the sign and the word say the same without colour."""

    name: str
    mark: str
    sign: str
    word: str
    took: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One verdict in a strip: x and width in percent, y and height of 12; `text` says which and when."""

    tone: str
    text: str
    x: float
    y: int
    width: float
    height: int


@dataclass(frozen=True, slots=True)
class Strip:
    """The verdicts of a window of time as bars, and the same in words."""

    bars: tuple[Bar, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One target in a line. `href` is its name for a path, escaped."""

    name: str
    href: str
    endpoint: str
    mode: str
    verdict: str
    tone: str
    sign: str
    since: ShownTime | None
    last: ShownTime | None
    layer_cells: tuple[LayerCell, ...]
    connect: str
    handshake: str
    version: str
    strip: Strip


@dataclass(frozen=True, slots=True)
class Card:
    """A target that needs attention."""

    row: Row
    headline: str
    meaning: str
    evidence: tuple[str, ...]
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerdictSpan:
    """A verdict from one time to another (unix seconds)."""

    verdict: Verdict
    start: float
    end: float


def row(state: TargetState, now: float, window: float) -> Row:
    """A target in one line, with a strip of the last `window` seconds."""
    target, verdict, report = state.target, current_verdict(state, now), claims(state, now)
    began, tone = since(state, now), severity(verdict)
    handshake = report.layer(Layer.HANDSHAKE) if report else None
    return Row(
        name=target.name,
        href=quote(target.name, safe=""),
        endpoint=target.endpoint,
        mode=target.mode.value,
        verdict=verdict.value,
        tone=tone.value,
        sign=SIGNS[tone],
        since=None if began is None else at(began, now),
        last=None if state.last is None else at(state.last.at, now),
        layer_cells=layer_cells(report, target),
        connect=time_taken(report.layer(Layer.PORT) if report else None),
        handshake=time_taken(handshake),
        version=str(handshake.server.version) if handshake and handshake.server else "",
        strip=strip(spans(state, now), now, window),
    )


def card(state: TargetState, now: float, window: float) -> Card:
    """A target with what is wrong and what to do."""
    explained = words(state, now)
    return Card(row(state, now, window), explained.headline, explained.meaning, explained.evidence, explained.actions)


def worst_first(judged: Judgement) -> tuple[int, str]:
    """The key to sort by: severity, then from the outside in, then name."""
    state, verdict = judged
    return ORDER[verdict], state.target.name


def common_window(states: Sequence[TargetState], now: float) -> float:
    """The shortest window that holds the first change of every target, so that all strips of a page agree."""
    oldest = max((now - state.changes[0].at for state in states if state.changes), default=0.0)
    return next((window for window in WINDOWS if window >= oldest), WINDOWS[-1])


def layer_cells(report: Report | None, target: Target) -> tuple[LayerCell, ...]:
    """The layers from the outside in: how each answered, or why it was not probed."""
    cells: list[LayerCell] = []
    reached = report is not None
    for layer in WIRE:
        result = report.layer(layer) if report else None
        if result is None or result.outcome is Outcome.SKIPPED:
            cells.append(_blank(layer.value, report, reached=reached))
        else:
            cells.append(_layer_cell(layer, result, target))
            reached = result.ok
    download = report.layer(Layer.DOWNLOAD) if report else None
    if download is not None:
        cells.append(_layer_cell(Layer.DOWNLOAD, download, target))
    results = [result for result in report.results if result.layer is Layer.CLIENT] if report else []
    cells.append(_clients(results) if results else _blank("clients", report, reached=reached))
    return tuple(cells)


def spans(state: TargetState, now: float) -> tuple[VerdictSpan, ...]:
    """The verdicts one after the other, oldest first; after the last report has expired, `unknown`."""
    ends = [change.at for change in state.changes[1:]]
    ends_at = expires_at(state)
    end = ends_at if ends_at is not None and expired(state, now) else now
    shown = [
        VerdictSpan(change.verdict, change.at, last) for change, last in zip(state.changes, [*ends, end], strict=False)
    ]
    return tuple(shown) if end == now else (*shown, VerdictSpan(Verdict.UNKNOWN, end, now))


def strip(shown: Sequence[VerdictSpan], now: float, window: float) -> Strip:
    """The spans of the last `window` seconds as bars; a short failure is drawn wider than it was."""
    start, bars = now - window, []
    for span in shown:
        if span.end < start:
            continue
        tone = severity(span.verdict)
        x = min(100 * max(0.0, span.start - start) / window, 100 - NARROWEST)
        width = min(max(100 * (span.end - start) / window - x, NARROWEST), 100 - x)
        text = f"{span.verdict.value} for {elapsed(span.end - span.start)} from {utc(span.start)}"
        bars.append(Bar(tone.value, text, round(x, 1), TALLEST - HEIGHTS[tone], round(width, 1), HEIGHTS[tone]))
    latest = [f"{span.verdict.value} for {elapsed(span.end - span.start)}" for span in reversed(shown[-4:])]
    return Strip(tuple(bars), ", before that ".join(latest) or "no history yet")


def at(when: float, now: float) -> ShownTime:
    """A unix time as it is shown at `now`."""
    return ShownTime(rfc3339(when), utc(when), elapsed(max(0.0, now - when)))


def _layer_cell(layer: Layer, result: LayerResult, target: Target) -> LayerCell:
    if result.outcome is Outcome.UNAVAILABLE and layer is Layer.DOWNLOAD:
        return LayerCell(layer.value, "none", DASH, result.outcome.value)
    if not result.ok:
        return LayerCell(layer.value, "fail", "✗", result.outcome.value, time_taken(result))
    if result.waited > target.slow_after:
        return LayerCell(layer.value, "part", "!", "slow", time_taken(result))
    return LayerCell(layer.value, "ok", "✓", "ok", time_taken(result))


def _clients(results: Sequence[LayerResult]) -> LayerCell:
    probed = [result for result in results if result.outcome not in (Outcome.SKIPPED, Outcome.UNAVAILABLE)]
    passed = sum(result.ok for result in probed)
    if not probed:
        return LayerCell("clients", "none", DASH, "unavailable")
    mark, sign = ("ok", "✓") if passed == len(probed) else ("part", "!") if passed else ("fail", "✗")
    return LayerCell("clients", mark, sign, f"{passed} of {len(probed)} ok")


def _blank(name: str, report: Report | None, *, reached: bool) -> LayerCell:
    return LayerCell(name, "none", DASH, "not known" if report is None else "not probed" if reached else "not reached")
