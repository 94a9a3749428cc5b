"""Maintenance windows: when IBKR resets its servers, and when a gateway restarts itself. No clock here, no files.

A window is set in the time of a place, so summer time moves it. On the night when an hour comes twice, the window is
open as long as it may be: from the first moment at which the clock there shows its start to the last at which it shows
its end. A time within a skipped hour counts as much later as the clock is put forward.

Time zones are values (`tzinfo`) made in config: their constructor reads files.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

RESTART = "restart"  # the name of a target's own restart window; alert rules know it
WEEKLY_LOGIN = "weekly_login"
LEAD = 60.0  # seconds: the gateway's clock and ours may disagree by as much about when a window opens
DAY = timedelta(days=1)
LOOK_BACK = 7  # days: every window begins at least once a week


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
    """Where IBKR's servers of an account are. Each region resets them at its own time."""

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
    """The last span that has begun by now, open or over; None for a window without days."""
    today = datetime.fromtimestamp(now, window.zone).date()
    spans = (
        _span(window, today - days * DAY) for days in range(-1, LOOK_BACK + 1) if _weekday(today, -days) in window.days
    )
    return next((span for span in spans if span.begin <= now), None)


def expected_until(since: float, now: float, windows: Iterable[Window]) -> Span | None:
    """The span that is open at `now` and was open at `since`, when the failure began, or LEAD seconds later.

    Of several, the one that ends last.
    """
    spans = (span for span in _covering(since, windows) if span.begin <= now < span.end)
    return max(spans, key=lambda span: span.end, default=None)


def overdue(since: float, now: float, windows: Iterable[Window]) -> Span | None:
    """The span in which a failure that still lasts began, once that span is over; None while any such span is open."""
    spans = _covering(since, windows)
    return max(spans, key=lambda span: span.end) if spans and all(span.end <= now for span in spans) else None


def window_text(window: Window) -> str:
    """A window for people: `23:45 for 5 min America/New_York, every day`."""
    if isinstance(window.end, timedelta):
        when = f"{window.start:%H:%M} for {window.end.total_seconds() / 60:g} min"
    else:
        when = f"{window.start:%H:%M} to {window.end:%H:%M}"
    days = [day.value.capitalize() for day in Day if day in window.days]
    return f"{when} {window.zone}, {'every day' if len(days) == len(WEEK) else ', '.join(days)}"


def _covering(at: float, windows: Iterable[Window]) -> list[Span]:
    spans = (span for window in windows for span in _near(at, window) if span.begin < span.end)
    return [span for span in spans if span.begin - LEAD <= at < span.end]


def _near(at: float, window: Window) -> tuple[Span, ...]:
    """The spans that `at` can be in: they begin on its day there or near it. A day may last 25 hours, a window 24."""
    return _around(window, datetime.fromtimestamp(at, window.zone).date())


@lru_cache(maxsize=1024)  # every scrape, page and `/probe` asks for the windows of the day
def _around(window: Window, today: date) -> tuple[Span, ...]:
    return tuple(_span(window, today + days * DAY) for days in (-2, -1, 0, 1) if _weekday(today, days) in window.days)


def _weekday(today: date, later: int) -> Day:
    return WEEK[(today.weekday() + later) % len(WEEK)]


def _span(window: Window, day: date) -> Span:
    """The span of a window that begins on this day there."""
    begin, last_begin = _readings(day, window.start, window.zone)
    if isinstance(window.end, timedelta):
        return Span(window.name, begin, last_begin + window.end.total_seconds())
    _, end = _readings(day if window.end > window.start else day + DAY, window.end, window.zone)
    return Span(window.name, begin, max(begin, end))


def _readings(day: date, at: time, zone: tzinfo) -> tuple[float, float]:
    """The first and the last moment at which the clock there shows this time; later in a skipped hour (PEP 495)."""
    wall = datetime.combine(day, at, zone)
    first = wall.timestamp()
    return first, max(first, wall.replace(fold=1).timestamp())
