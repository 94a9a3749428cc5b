"""Maintenance windows: when IBKR resets its servers, and when a gateway restarts itself. No clock here, no files.

A window is set in the time of a place, so summer time moves it. Where a clock change makes a time of day ambiguous, the
window is open as long as it may be: from the first moment at which the clock there shows its start (or, if that time is
skipped, a later one) to the last moment before its end. A window from a time to a time within a skipped hour does not
happen; one with a length does, at the change.

Time zones are values (`tzinfo`) made in config: their constructor reads files.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import NamedTuple

RESTART = "restart"  # the name of a target's own restart window; alert rules know it
WEEKLY_LOGIN = "weekly_login"
LEAD = 60.0  # seconds: the gateway's clock and ours may disagree by as much about when a window opens
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
LOOK_BACK = 15  # days: a week, and another in case a clock change swallowed the window


class Day(StrEnum):
    """A day of the week, as the configuration writes it, in the order of `date.weekday()`."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class Region(StrEnum):
    """Where the servers are to which an account belongs: they are reset at a time of their own."""

    NORTH_AMERICA = "north_america"
    EUROPE = "europe"
    ASIA_PACIFIC = "asia_pacific"


WEEK = tuple(Day)
BUT_SATURDAY = tuple(day for day in Day if day is not Day.SATURDAY)


class Entry(NamedTuple):
    """A window as it is written down. `region` None: for every target. `zone` is an IANA name."""

    name: str
    region: Region | None
    days: tuple[Day, ...]
    start: time
    end: time
    zone: str


# Daily and weekend resets: IBKR's system status page (undated copy, read 2026-11); they have changed over the years.
# Weekly login: IBKR's guide on restarting says that security tokens end each Sunday at 01:00 New York time. That is a
# moment; it is shown for an hour.
IBKR_WINDOWS = (
    Entry("north_america", Region.NORTH_AMERICA, BUT_SATURDAY, time(0, 15), time(1, 45), "America/New_York"),
    Entry("europe", Region.EUROPE, BUT_SATURDAY, time(6, 25), time(7, 45), "Europe/Zurich"),
    Entry("asia_pacific", Region.ASIA_PACIFIC, BUT_SATURDAY, time(4, 45), time(6, 5), "Asia/Hong_Kong"),
    Entry("asia_pacific", Region.ASIA_PACIFIC, BUT_SATURDAY, time(20, 15), time(21, 15), "Asia/Hong_Kong"),
    Entry("weekend", None, (Day.FRIDAY,), time(23, 0), time(3, 0), "America/New_York"),
    Entry(WEEKLY_LOGIN, None, (Day.SUNDAY,), time(1, 0), time(2, 0), "America/New_York"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """A time that comes again on some days of the week. Windows of one name count as one: open if any is.

    `days` are those on which it begins, in the time of `zone`. `end` is a time of day, of the next day if it is not
    after `start`; or how long the window lasts, at most a day.
    """

    name: str
    days: frozenset[Day]
    start: time
    end: time | timedelta
    zone: tzinfo


class Span(NamedTuple):
    """One time that a window is open: unix seconds, from `begin` until before `end`."""

    name: str
    begin: float
    end: float


def names(windows: Iterable[Window]) -> tuple[str, ...]:
    """Every name once, in order."""
    return tuple(dict.fromkeys(window.name for window in windows))


def open_windows(now: float, windows: Iterable[Window]) -> tuple[str, ...]:
    """The names of the windows that are open now, each once, in order."""
    return tuple(dict.fromkeys(span.name for span in open_spans(now, windows)))


def open_spans(at: float, windows: Iterable[Window]) -> tuple[Span, ...]:
    """The spans that `at` is in, in the order of the windows."""
    return tuple(span for window in windows for span in _near(at, window) if span.begin <= at < span.end)


def latest(now: float, window: Window) -> Span | None:
    """The last span that has begun by now, open or over; None if there was none in two weeks."""
    return next((span for span in _back(now, window) if span.begin <= now), None)


def last_closed(now: float, window: Window) -> Span | None:
    """The last span that is over by now; None if there was none in two weeks."""
    return next((span for span in _back(now, window) if span.end <= now), None)


def expected_until(since: float, now: float, windows: Iterable[Window]) -> Span | None:
    """The span that explains at `now` what began at `since`: it is open, and was then or a minute later.

    Of several, that which ends last.
    """
    spans = (span for span in _covering(since, windows) if span.begin <= now < span.end)
    return max(spans, key=lambda span: span.end, default=None)


def overdue(since: float, now: float, windows: Iterable[Window]) -> Span | None:
    """The span in which began what has not ended although the span has; None while any such span is open."""
    spans = _covering(since, windows)
    return max(spans, key=lambda span: span.end) if spans and all(span.end <= now for span in spans) else None


def spelled(window: Window) -> str:
    """A window for people: `23:45 for 5 min America/New_York, every day`."""
    if isinstance(window.end, timedelta):
        when = f"{window.start:%H:%M} for {window.end.total_seconds() / 60:g} min"
    else:
        when = f"{window.start:%H:%M} to {window.end:%H:%M}"
    days = [day.value.capitalize() for day in Day if day in window.days]
    said = "every day" if len(days) == len(WEEK) else ", ".join(days)
    return f"{when} {window.zone}, {said}"


def _covering(at: float, windows: Iterable[Window]) -> list[Span]:
    return [
        span
        for window in windows
        for span in _near(at, window)
        if span.begin - LEAD <= at < span.end and span.begin < span.end
    ]


def _near(at: float, window: Window) -> Iterator[Span]:
    """The spans that `at` can be in: those that begin on its day there, the two before and the one after.

    A day and a half before, because clocks may be set back across midnight.
    """
    today = datetime.fromtimestamp(at, window.zone).date()
    return (_span(window, today + days * DAY) for days in (-2, -1, 0, 1) if _weekday(today, days) in window.days)


def _back(at: float, window: Window) -> Iterator[Span]:
    """The spans that begin from tomorrow back to two weeks ago, the latest first; empty ones left out."""
    today = datetime.fromtimestamp(at, window.zone).date()
    days = (days for days in range(1, -LOOK_BACK, -1) if _weekday(today, days) in window.days)
    return (span for span in (_span(window, today + day * DAY) for day in days) if span.begin < span.end)


def _weekday(today: date, later: int) -> Day:
    return WEEK[(today.weekday() + later) % len(WEEK)]


def _span(window: Window, day: date) -> Span:
    """The span of a window that begins on this day there; empty (it ends when it begins) if clocks skip it."""
    start = datetime.combine(day, window.start)
    begin = _first(start, window.zone)
    if isinstance(window.end, timedelta):
        return Span(window.name, begin, _last(start, window.zone) + window.end.total_seconds())
    end = datetime.combine(day if window.end > window.start else day + DAY, window.end)
    return Span(window.name, begin, max(begin, _last_before(end, window.zone)))


def _first(wall: datetime, zone: tzinfo) -> float:
    """The first moment at which a clock in the zone shows this time, or a later one if this is skipped."""
    before, after = _readings(wall, zone)
    return before if before <= after else _jump(after, before, zone)


def _last(wall: datetime, zone: tzinfo) -> float:
    """The last moment at which a clock in the zone shows this time; if it is skipped, when it is."""
    before, after = _readings(wall, zone)
    return after if before <= after else _jump(after, before, zone)


def _last_before(wall: datetime, zone: tzinfo) -> float:
    """The moment after which a clock in the zone never again shows a time before this one."""
    before, after = _readings(wall - SECOND, zone)
    return after + 1 if before <= after else _jump(after, before, zone)


def _readings(wall: datetime, zone: tzinfo) -> tuple[float, float]:
    """By the clock before a change and by the one after it: equal on most days, the wrong way round if skipped."""
    return wall.replace(tzinfo=zone).timestamp(), wall.replace(tzinfo=zone, fold=1).timestamp()


def _jump(low: float, high: float, zone: tzinfo) -> float:
    """The second between these two moments at which the clock in the zone is put forward."""
    old = _offset(low, zone)
    seconds = range(int(low), int(high) + 1)
    return float(seconds[bisect_left(seconds, True, key=lambda at: _offset(at, zone) != old)])  # noqa: FBT003 - sought


def _offset(at: float, zone: tzinfo) -> timedelta | None:
    return datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
