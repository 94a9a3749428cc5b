"""The plot of a target's last day: the verdicts, and how long the handshake and each client took.

Positions and texts for the templates; no HTML here. One scale of time and one of duration for all rows, so that they
can be compared. What a row shows stands in a table too, hour by hour.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from math import ceil, floor, log10
from statistics import median

from exporter.state.target import TargetState
from exporter.state.trend import WIDTH, Bucket
from exporter.text import DAY, HOUR, MINUTE, duration, elapsed
from exporter.web.pages.rows import Strip, spans, strip

SPANS = (30 * MINUTE, 2 * HOUR, 6 * HOUR, DAY)  # seconds that a plot may show
TOP, BOTTOM = 10.0, 94.0  # units: where the scale ends; a plot has 100 each way, and failures are marked on top
TICKS = 5
SHORTEST = 1e-5  # seconds; the scale does not begin at zero


@dataclass(frozen=True, slots=True)
class Column:
    """One bucket: from the least to the most, the median in between; `failed` draws the mark on top."""

    x: float
    width: float
    y: float
    height: float
    median: float
    passed: bool
    failed: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """The times of one kind of probe; `text` says in words what the columns show."""

    name: str
    columns: tuple[Column, ...]
    text: str

    @property
    def ranges(self) -> str:
        """The columns as one SVG path: a day of elements would be ten times as large."""
        shown = (column for column in self.columns if column.passed)
        return "".join(f"M{each.x} {each.y}h{each.width}v{each.height}h-{each.width}z" for each in shown)

    @property
    def medians(self) -> str:
        """The lines at the medians as one SVG path."""
        return "".join(f"M{each.x} {each.median}h{each.width}" for each in self.columns if each.passed)

    @property
    def failures(self) -> str:
        """The marks on top as one SVG path."""
        return "".join(f"M{each.x} 0h{each.width}v6h-{each.width}z" for each in self.columns if each.failed)


@dataclass(frozen=True, slots=True)
class GridLine:
    """A line across the plot at `y`, with its text."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class HourRow:
    """One hour in the table: a cell for each curve."""

    hour: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """What all curves have in common: the `seconds` before `now`, and the powers of ten between which all times lie."""

    now: float
    seconds: float
    low: int
    high: int

    def height(self, seconds: float) -> float:
        """Where a time lies on the logarithmic scale; 0 is the top."""
        share = (_log(seconds) - self.low) / (self.high - self.low)
        return round(BOTTOM - (BOTTOM - TOP) * min(max(share, 0.0), 1.0), 1)


@dataclass(frozen=True, slots=True)
class Plot:
    """A target's plot; `clock` are the times below it, evenly spaced.

    Curves and table are made one after the other, so that a server can do other work between two of them.
    """

    verdicts: Strip
    series: Mapping[str, tuple[Bucket, ...]]
    scale: Scale
    ticks: tuple[GridLine, ...]
    clock: tuple[str, ...]
    span: str

    def curves(self) -> Iterator[Curve]:
        """The curve of the handshake, then of each client."""
        for name, buckets in self.series.items():
            columns = tuple(_column(bucket, self.scale) for bucket in buckets)
            yield Curve(name, columns, _words(buckets, self.span))

    def table(self) -> Iterator[HourRow]:
        """The hours, the latest first."""
        hours = [
            {hour: list(buckets) for hour, buckets in groupby(each, key=lambda bucket: bucket.start // HOUR)}
            for each in self.series.values()
        ]
        for hour in sorted({hour for each in hours for hour in each}, reverse=True):
            name = datetime.fromtimestamp(hour * HOUR, UTC).strftime("%Y-%m-%d %H:00")
            yield HourRow(name, tuple(_cell(each.get(hour, ())) for each in hours))


def plot(state: TargetState, now: float) -> Plot:
    """The plot of a target at `now`."""
    series = _series(state, now)
    oldest = min([now, *(bucket.start for buckets in series.values() for bucket in buckets[:1])])
    seconds = next((span for span in SPANS if span >= now - oldest), SPANS[-1])
    scale = Scale(now, seconds, *_decades([bucket for each in series.values() for bucket in each if bucket.passed]))
    return Plot(
        verdicts=strip(spans(state, now), now, seconds),
        series=series,
        scale=scale,
        ticks=tuple(GridLine(scale.height(10.0**decade), _tick(decade)) for decade in range(scale.low, scale.high + 1)),
        clock=tuple(_clock(now - seconds * (TICKS - 1 - place) / (TICKS - 1)) for place in range(TICKS)),
        span="24 h" if seconds == DAY else elapsed(seconds),
    )


def _series(state: TargetState, now: float) -> dict[str, tuple[Bucket, ...]]:
    """The buckets of the handshake, then of each client in the order of the configuration."""
    names = {"": "API handshake"} | {client: client for client in state.target.clients}
    return {names[key]: tuple(state.trends[key].buckets(now)) for key in names if key in state.trends}


def _decades(buckets: Sequence[Bucket]) -> tuple[int, int]:
    """The powers of ten between which all times lie; at least one apart."""
    if not buckets:
        return -3, 0
    low = floor(_log(min(bucket.least for bucket in buckets)))
    return low, max(low + 1, ceil(_log(max(bucket.most for bucket in buckets))))


def _log(seconds: float) -> float:
    return log10(max(seconds, SHORTEST))


def _column(bucket: Bucket, scale: Scale) -> Column:
    x = 100 * (bucket.start - (scale.now - scale.seconds)) / scale.seconds
    left, right = max(0.0, x), min(100.0, x + 100 * WIDTH / scale.seconds)
    top, bottom = scale.height(bucket.most), scale.height(bucket.least)
    return Column(
        x=round(left, 2),
        width=round(max(right - left, 0.2), 2),
        y=top,
        height=round(max(bottom - top, 1.0), 1),
        median=scale.height(bucket.median),
        passed=bucket.passed > 0,
        failed=bucket.failed > 0,
    )


def _words(buckets: Sequence[Bucket], span: str) -> str:
    passed, failed = sum(bucket.passed for bucket in buckets), sum(bucket.failed for bucket in buckets)
    counted = f"{passed + failed} probe{'' if passed + failed == 1 else 's'} in {span}, {failed} failed"
    return f"{counted}; {_range(buckets)}" if passed else counted


def _range(buckets: Iterable[Bucket]) -> str:
    """The times of these buckets; the median is that of the buckets' medians."""
    good = [bucket for bucket in buckets if bucket.passed]
    middle = median(bucket.median for bucket in good)
    least, most = min(bucket.least for bucket in good), max(bucket.most for bucket in good)
    return f"median {duration(middle)}, from {duration(least)} to {duration(most)}"


def _tick(decade: int) -> str:
    return f"{10.0 ** (decade + 3):g} ms" if decade < 0 else f"{10.0**decade:g} s"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M")


def _cell(buckets: Sequence[Bucket]) -> str:
    passed, failed = sum(bucket.passed for bucket in buckets), sum(bucket.failed for bucket in buckets)
    if not passed + failed:
        return "not probed"
    lost = f"{failed} of {passed + failed} failed" if failed else ""
    return ", ".join(part for part in (_range(buckets) if passed else "", lost) if part)
