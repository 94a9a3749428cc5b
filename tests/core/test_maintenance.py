from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.maintenance import (
    IBKR_WINDOWS,
    WEEK,
    Day,
    Span,
    Window,
    expected_until,
    last_closed,
    latest,
    names,
    open_spans,
    open_windows,
    overdue,
    spelled,
)

NEW_YORK, ZURICH, HONG_KONG = ZoneInfo("America/New_York"), ZoneInfo("Europe/Zurich"), ZoneInfo("Asia/Hong_Kong")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # changes its clocks by half an hour
SAO_PAULO = ZoneInfo("America/Sao_Paulo")  # until 2019 it skipped and doubled the hour at midnight
ST_JOHNS = ZoneInfo("America/St_Johns")  # until 2011 it went from 00:01 back to 23:01 of the day before
APIA = ZoneInfo("Pacific/Apia")  # skipped the whole of 30 December 2011
MINUTE = 60
DAILY = frozenset(WEEK)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def window(start: str, end: str | timedelta, zone: ZoneInfo = NEW_YORK, days: frozenset[Day] = DAILY) -> Window:
    until = end if isinstance(end, timedelta) else time.fromisoformat(end)
    return Window("w", days, time.fromisoformat(start), until, zone)


def defaults() -> tuple[Window, ...]:
    return tuple(
        Window(name, frozenset(days), start, end, ZoneInfo(zone)) for name, _, days, start, end, zone in IBKR_WINDOWS
    )


# The oracle: go through the minutes and read the clock on the wall. It knows nothing of folds.


def wall(minute: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(minute, zone).replace(tzinfo=None)


def oracle(now: int, window: Window, around: range) -> bool:
    """Read the wall at every minute, and see whether `now` lies in a span that begins on one of the days."""
    walls = [(minute, wall(minute, window.zone)) for minute in around]
    today = wall(now, window.zone).date()
    for day in (today + timedelta(days) for days in range(-4, 5)):
        if WEEK[day.weekday()] not in window.days:
            continue
        start = datetime.combine(day, window.start)
        begin = next((minute for minute, shown in walls if shown >= start), None)
        if begin is None:
            continue
        if isinstance(window.end, timedelta):
            showing = [minute for minute, shown in walls if shown == start] or [begin]
            end = showing[-1] + window.end.total_seconds()
        else:
            stop = datetime.combine(day + timedelta(window.end <= window.start), window.end)
            end = max((minute + MINUTE for minute, shown in walls if shown < stop), default=begin)
        if walls[0][1] < start and begin <= now < end:
            return True
    return False


CHANGES = [
    (NEW_YORK, "2026-03-08T07:00Z"),
    (NEW_YORK, "2026-11-01T06:00Z"),
    (ZURICH, "2026-03-29T01:00Z"),
    (ZURICH, "2026-10-25T01:00Z"),
    (LORD_HOWE, "2026-04-04T15:00Z"),
    (LORD_HOWE, "2026-10-03T15:30Z"),
    (SAO_PAULO, "2018-02-18T02:00Z"),
    (SAO_PAULO, "2018-11-04T03:00Z"),
    (ST_JOHNS, "2010-11-07T02:31Z"),
    (APIA, "2011-12-30T10:00Z"),
    (HONG_KONG, "2026-06-01T00:00Z"),
]
# Times of day, more of them near the hours at which clocks change.
TIMES = st.one_of(
    st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 29, 30, 31, 59])),
    st.builds(time, st.sampled_from([0, 1, 2, 3, 23]), st.integers(0, 59)),
)
ENDS = st.one_of(TIMES, st.integers(1, 24 * 60).map(lambda minutes: timedelta(minutes=minutes)))
DAYS = st.frozensets(st.sampled_from(WEEK), min_size=1)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CHANGES), st.integers(-36 * 60, 36 * 60), TIMES, ENDS, DAYS)
@example((NEW_YORK, "2026-11-01T06:00Z"), -60, time(1, 0), time(1, 0), DAILY)
@example((NEW_YORK, "2026-11-01T06:00Z"), 15, time(0, 15), time(1, 45), DAILY)
@example((NEW_YORK, "2026-11-01T06:00Z"), -10, time(0, 15), time(1, 0), DAILY)
@example((NEW_YORK, "2026-03-08T07:00Z"), 0, time(2, 10), time(2, 50), DAILY)
@example((NEW_YORK, "2026-03-08T07:00Z"), 0, time(2, 30), timedelta(minutes=5), DAILY)
@example((NEW_YORK, "2026-11-01T06:00Z"), 32, time(1, 30), timedelta(minutes=5), DAILY)
@example((NEW_YORK, "2026-03-08T07:00Z"), 21 * 60 + 30, time(23, 59), timedelta(days=1), frozenset({Day.SATURDAY}))
@example((ST_JOHNS, "2010-11-07T02:31Z"), 20, time(0, 0), time(1, 0), frozenset({Day.SUNDAY}))
@example((SAO_PAULO, "2018-02-18T02:00Z"), 30, time(23, 30), time(0, 15), frozenset({Day.SATURDAY}))
@example((APIA, "2011-12-30T10:00Z"), 0, time(12, 0), time(13, 0), frozenset({Day.FRIDAY}))
def test_a_window_is_open_exactly_when_the_clock_on_the_wall_says_so(
    change: tuple[ZoneInfo, str], minutes: int, start: time, end: time | timedelta, days: frozenset[Day]
) -> None:
    zone, moment = change
    now = int(at(moment)) + minutes * MINUTE
    some = Window("w", days, start, end, zone)
    around = range(now - 4 * 24 * 3600, now + 4 * 24 * 3600, MINUTE)
    assert (open_windows(now, [some]) == ("w",)) is oracle(now, some, around)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(CHANGES), st.integers(-36 * 60, 36 * 60), TIMES, ENDS, DAYS)
def test_the_last_closed_span_is_over_and_none_closed_after_it(
    change: tuple[ZoneInfo, str], minutes: int, start: time, end: time | timedelta, days: frozenset[Day]
) -> None:
    zone, change_at = change
    now = int(at(change_at)) + minutes * MINUTE
    some = Window("w", days, start, end, zone)
    closed = last_closed(now, some)
    assert closed is not None
    assert closed.begin < closed.end <= now
    assert open_windows(closed.begin, [some]) == ("w",) == open_windows(closed.end - 1, [some])
    begun = latest(now, some)
    assert begun is not None
    assert closed.begin <= begun.begin <= now
    since = range(int(closed.end), now, 30 * MINUTE)
    assert all(span.end > now for moment in since for span in open_spans(moment, [some]))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-07-06T04:15Z", ("north_america",)),  # Monday 00:15 in summer
        ("2026-07-06T05:44:59Z", ("north_america", "europe")),  # 07:44:59 in Zurich
        ("2026-07-06T05:45Z", ()),
        ("2026-12-07T04:30Z", ()),  # Sunday 23:30 in winter: the same UTC time, and not yet
        ("2026-12-07T05:15Z", ("north_america",)),
        ("2026-12-05T05:15Z", ("weekend",)),  # Saturday: no daily reset, but that of the weekend
        ("2026-12-05T04:00Z", ("weekend",)),  # Friday 23:00
        ("2026-12-05T07:59:59Z", ("weekend",)),
        ("2026-12-05T08:00Z", ()),
        ("2026-12-06T06:00Z", ("north_america", "europe", "weekly_login")),  # Sunday 01:00
        ("2026-12-07T05:25Z", ("north_america", "europe")),  # 06:25 in Zurich
        ("2026-12-06T21:00Z", ("asia_pacific",)),  # Monday 05:00 in Hong Kong
        ("2026-12-07T12:30Z", ("asia_pacific",)),  # Monday 20:30 there
    ],
)
def test_ibkrs_windows_open_by_the_clocks_of_their_own_places(moment: str, expected: tuple[str, ...]) -> None:
    assert open_windows(at(moment), defaults()) == expected


def test_windows_of_one_name_count_once() -> None:
    pair = (window("00:15", "01:45"), window("01:00", "03:00"))
    assert names(pair) == ("w",)
    assert open_windows(at("2026-12-07T06:30Z"), pair) == ("w",)


def test_a_night_with_a_doubled_hour_makes_the_window_an_hour_longer() -> None:
    some = window("00:15", "01:45")
    night = at("2026-11-01T04:15Z")
    assert open_spans(night, [some]) == (Span("w", night, night + 2.5 * 3600),)


def test_a_window_within_a_skipped_hour_does_not_happen() -> None:
    some = window("02:10", "02:50")
    assert open_spans(at("2026-03-08T07:00Z"), [some]) == ()
    closed = last_closed(at("2026-03-08T12:00Z"), some)
    assert closed == Span("w", at("2026-03-07T07:10Z"), at("2026-03-07T07:50Z"))


def test_a_failure_that_began_in_an_open_window_is_expected_until_its_end() -> None:
    some = window("00:15", "01:45")
    span = Span("w", at("2026-12-07T05:15Z"), at("2026-12-07T06:45Z"))
    assert expected_until(span.begin + 10, span.begin + 600, [some]) == span
    assert overdue(span.begin + 10, span.begin + 600, [some]) is None


def test_a_failure_up_to_a_minute_before_a_window_counts_because_clocks_differ() -> None:
    some = window("23:45", timedelta(minutes=5))
    begin = at("2026-12-08T04:45Z")
    assert expected_until(begin - 60, begin + 1, [some]) == Span("w", begin, begin + 300)
    assert expected_until(begin - 61, begin + 1, [some]) is None
    assert expected_until(begin - 30, begin - 20, [some]) is None  # not open yet


def test_a_failure_older_than_the_window_is_not_explained_by_it() -> None:
    some = window("00:15", "01:45")
    begin = at("2026-12-07T05:15Z")
    assert expected_until(begin - 3600, begin + 600, [some]) is None
    assert overdue(begin - 3600, begin + 9000, [some]) is None


def test_what_began_in_a_window_and_goes_on_after_it_is_overdue_for_days() -> None:
    some = window("00:15", "01:45")
    span = Span("w", at("2026-12-07T05:15Z"), at("2026-12-07T06:45Z"))
    assert overdue(span.begin + 60, span.end, [some]) == span
    assert overdue(span.begin + 60, span.end + 3 * 24 * 3600 + 600, [some]) == span  # later windows do not excuse it
    assert expected_until(span.begin + 60, span.begin + 24 * 3600 + 60, [some]) is None


def test_of_two_windows_the_one_that_ends_last_decides() -> None:
    pair = (window("23:45", timedelta(minutes=40)), window("00:15", "01:45"))
    begin = at("2026-12-07T05:16Z")
    assert overdue(begin, at("2026-12-07T06:00Z"), pair) is None
    assert overdue(begin, at("2026-12-07T06:45Z"), pair) == Span("w", at("2026-12-07T05:15Z"), at("2026-12-07T06:45Z"))


def test_no_windows_explain_nothing() -> None:
    assert (open_windows(0.0, ()), expected_until(0.0, 1.0, ()), overdue(0.0, 1.0, ())) == ((), None, None)


def test_a_window_without_days_never_was() -> None:
    some = window("00:15", "01:45", days=frozenset())
    assert (latest(1e9, some), last_closed(1e9, some)) == (None, None)


def test_a_window_is_spelled_for_people() -> None:
    assert spelled(window("23:45", timedelta(minutes=5))) == "23:45 for 5 min America/New_York, every day"
    friday = window("23:00", "03:00", days=frozenset({Day.FRIDAY}))
    assert spelled(friday) == "23:00 to 03:00 America/New_York, Friday"


def test_the_default_windows_name_zones_that_exist() -> None:
    assert {str(window.zone) for window in defaults()} == {"America/New_York", "Europe/Zurich", "Asia/Hong_Kong"}
    assert all(datetime.now(UTC).astimezone(window.zone) for window in defaults())
