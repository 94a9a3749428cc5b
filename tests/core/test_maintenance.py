from datetime import UTC, datetime, time, timedelta
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
    latest,
    names,
    open_spans,
    open_windows,
    overdue,
    window_text,
)

NEW_YORK, ZURICH, HONG_KONG = ZoneInfo("America/New_York"), ZoneInfo("Europe/Zurich"), ZoneInfo("Asia/Hong_Kong")
CHANGES = [
    (NEW_YORK, "2026-03-08T07:00Z"),
    (NEW_YORK, "2026-11-01T06:00Z"),
    (ZURICH, "2026-03-29T01:00Z"),
    (ZURICH, "2026-10-25T01:00Z"),
    (HONG_KONG, "2026-06-01T00:00Z"),
]
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


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from((NEW_YORK, ZURICH, HONG_KONG)),
    st.integers(0, 6 * 24 * 60),
    st.times(),
    st.times() | st.integers(1, 24 * 60).map(lambda minutes: timedelta(minutes=minutes)),
    st.frozensets(st.sampled_from(WEEK), min_size=1),
)
@example(NEW_YORK, 0, time(23, 59), timedelta(days=1), frozenset({Day.SATURDAY}))
def test_in_a_week_without_a_clock_change_a_window_is_open_when_the_clock_on_the_wall_says_so(
    zone: ZoneInfo, minutes: int, start: time, end: time | timedelta, days: frozenset[Day]
) -> None:
    moment = datetime.fromtimestamp(at("2026-06-08T00:00Z") + minutes * 60, zone)
    shown = moment.replace(tzinfo=None)
    expected = False
    for day in (shown.date() - timedelta(before) for before in range(3)):
        begin = datetime.combine(day, start.replace(tzinfo=None))
        until = begin + end if isinstance(end, timedelta) else datetime.combine(day + timedelta(end <= start), end)
        expected |= WEEK[day.weekday()] in days and begin <= shown < until
    assert (open_windows(moment.timestamp(), [Window("w", days, start, end, zone)]) == ("w",)) is expected


@given(
    st.sampled_from(CHANGES),
    st.integers(-36 * 60, 36 * 60),
    st.times(),
    st.frozensets(st.sampled_from(WEEK), min_size=1),
)
def test_the_latest_span_has_begun_and_none_began_after_it(
    change: tuple[ZoneInfo, str], minutes: int, start: time, days: frozenset[Day]
) -> None:
    zone, change_at = change
    now = at(change_at) + minutes * 60
    some = Window("w", days, start, timedelta(hours=1), zone)
    span = latest(now, some)
    assert span is not None
    assert now - 8 * 24 * 3600 < span.begin <= now
    assert {open_windows(moment, [some]) for moment in (span.begin, span.begin + 3599)} == {("w",)}
    assert not [each for each in open_spans(now, [some]) if each.begin > span.begin]


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


@pytest.mark.parametrize("end", ["02:50", timedelta(minutes=40)])
def test_a_window_within_a_skipped_hour_is_open_an_hour_later(end: str | timedelta) -> None:
    begin = at("2026-03-08T07:10Z")  # 03:10 in summer time, which has begun ten minutes ago
    assert open_spans(begin, [window("02:10", end)]) == (Span("w", begin, begin + 40 * 60),)
    assert open_spans(begin - 1, [window("02:10", end)]) == ()


def test_a_restart_in_a_doubled_hour_is_expected_at_both_times() -> None:
    first = at("2026-11-01T05:30Z")
    assert open_spans(first, [window("01:30", timedelta(minutes=5))]) == (Span("w", first, first + 3600 + 300),)


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
    assert latest(1e9, some) is None


def test_a_window_is_written_for_people() -> None:
    assert window_text(window("23:45", timedelta(minutes=5))) == "23:45 for 5 min America/New_York, every day"
    friday = window("23:00", "03:00", days=frozenset({Day.FRIDAY}))
    assert window_text(friday) == "23:00 to 03:00 America/New_York, Friday"


def test_the_default_windows_name_zones_that_exist() -> None:
    assert {str(window.zone) for window in defaults()} == {"America/New_York", "Europe/Zurich", "Asia/Hong_Kong"}
    assert all(datetime.now(UTC).astimezone(window.zone) for window in defaults())
