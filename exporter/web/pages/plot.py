"""The plot of a target's last day: the verdicts, and how long the handshake and each client took.

Positions and texts for the templates; no HTML here. One scale of time and one of duration for all rows, so that they
can be compared. What a row shows stands in a table too, hour by hour.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the plot at `y`, with its text."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class HourRow:
    """One hour in the table: a cell for each curve."""

    hour: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """All rows of a target's plot; `clock` are the times below them, evenly spaced."""

    verdicts: Strip
    curves: tuple[Curve, ...]
    ticks: tuple[Tick, ...]
    clock: tuple[str, ...]
    span: str
    table: tuple[HourRow, ...]


def plot(state: TargetState, now: float) -> Plot:
    """The plot of a target at `now`."""
    series = _series(state, now)
    oldest = min([now, *(bucket.start for buckets in series.values() for bucket in buckets[:1])])
    seconds = next((span for span in SPANS if span >= now - oldest), SPANS[-1])
    low, high = _decades([bucket for buckets in series.values() for bucket in buckets if bucket.passed])
    return Plot(
        verdicts=strip(spans(state, now), now, seconds),
        curves=tuple(
            Curve(name, tuple(_column(bucket, now, seconds, low, high) for bucket in buckets), _words(buckets, seconds))
            for name, buckets in series.items()
        ),
        ticks=tuple(Tick(_height(10.0**decade, low, high), _tick(decade)) for decade in range(low, high + 1)),
        clock=tuple(_clock(now - seconds * (TICKS - 1 - place) / (TICKS - 1)) for place in range(TICKS)),
        span="24 h" if seconds == DAY else elapsed(seconds),
        table=_table(list(series.values())),
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


def _height(seconds: float, low: int, high: int) -> float:
    """Where a time lies on the logarithmic scale; 0 is the top."""
    share = (_log(seconds) - low) / (high - low)
    return round(BOTTOM - (BOTTOM - TOP) * min(max(share, 0.0), 1.0), 1)


def _column(bucket: Bucket, now: float, seconds: float, low: int, high: int) -> Column:
    x = 100 * (bucket.start - (now - seconds)) / seconds
    left, right = max(0.0, x), min(100.0, x + 100 * WIDTH / seconds)
    top, bottom = _height(bucket.most, low, high), _height(bucket.least, low, high)
    return Column(
        x=round(left, 2),
        width=round(max(right - left, 0.2), 2),
        y=top,
        height=round(max(bottom - top, 1.0), 1),
        median=_height(bucket.median, low, high),
        passed=bucket.passed > 0,
        failed=bucket.failed > 0,
    )


def _words(buckets: Sequence[Bucket], seconds: float) -> str:
    passed, failed = sum(bucket.passed for bucket in buckets), sum(bucket.failed for bucket in buckets)
    counted = f"{passed + failed} probe{'' if passed + failed == 1 else 's'} in {elapsed(seconds)}, {failed} failed"
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


def _table(series: Sequence[Sequence[Bucket]]) -> tuple[HourRow, ...]:
    hours = sorted({bucket.start // HOUR for buckets in series for bucket in buckets}, reverse=True)
    return tuple(
        HourRow(
            datetime.fromtimestamp(hour * HOUR, UTC).strftime("%Y-%m-%d %H:00"),
            tuple(_cell([bucket for bucket in buckets if bucket.start // HOUR == hour]) for buckets in series),
        )
        for hour in hours
    )


def _cell(buckets: Sequence[Bucket]) -> str:
    passed, failed = sum(bucket.passed for bucket in buckets), sum(bucket.failed for bucket in buckets)
    if not passed + failed:
        return "not probed"
    lost = f"{failed} of {passed + failed} failed" if failed else ""
    return ", ".join(part for part in (_range(buckets) if passed else "", lost) if part)
