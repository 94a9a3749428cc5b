from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.service import schedule

intervals = st.floats(1.0, 300.0)
counts = st.integers(1, 2000)


@given(st.data(), counts, intervals)
def test_the_first_probe_comes_within_the_warm_up(data: st.DataObject, count: int, interval: float) -> None:
    index = data.draw(st.integers(0, count - 1))
    due = schedule.first_tick(100.0, index, count, interval)
    assert 100.0 <= due < 100.0 + min(schedule.WARM_UP, interval)


def test_a_single_target_is_probed_at_once() -> None:
    assert schedule.first_tick(100.0, 0, 1, 15.0) == 100.0


def test_the_grids_of_the_targets_are_spread_evenly_over_the_interval() -> None:
    origins = [schedule.grid_origin(0.0, index, 10, 15.0) for index in range(10)]
    assert origins == pytest.approx([index * 1.5 for index in range(10)], abs=schedule.SLOT + 1e-9)


def test_many_targets_share_slots_so_that_the_process_wakes_seldom() -> None:
    origins = Counter(schedule.grid_origin(1000.3, index, 1000, 15.0) for index in range(1000))
    assert len(origins) == pytest.approx(15.0 / schedule.SLOT, abs=2)
    assert max(origins.values()) <= 2 * 1000 * schedule.SLOT / 15.0


def test_a_quick_probe_is_followed_by_the_next_point_of_the_grid() -> None:
    assert schedule.next_tick(3.0, 15.0, now=18.05, last=18.0) == (33.0, 0)


def test_ticks_missed_by_a_slow_probe_are_skipped_and_counted_never_queued() -> None:
    assert schedule.next_tick(3.0, 15.0, now=18.0 + 31.0, last=18.0) == (63.0, 2)


def test_a_probe_that_ends_on_a_point_of_the_grid_waits_for_the_one_after() -> None:
    assert schedule.next_tick(0.0, 15.0, now=30.0, last=15.0).due == 45.0


@given(st.data(), counts, intervals)
def test_the_second_probe_keeps_half_an_interval_away_and_expires_nothing(
    data: st.DataObject, count: int, interval: float
) -> None:
    index = data.draw(st.integers(0, count - 1))
    first = schedule.first_tick(1000.0, index, count, interval)
    origin = schedule.grid_origin(1000.0, index, count, interval)
    due = schedule.next_tick(origin, interval, now=first + 0.001, last=first).due
    assert interval * 0.499 <= due - first <= interval * 1.501


@given(intervals, st.floats(0.0, 1e6), st.floats(0.0, 1000.0))
def test_the_next_tick_lies_ahead_on_the_grid(interval: float, origin: float, overrun: float) -> None:
    last = origin + 7 * interval
    now = last + overrun
    due, skipped = schedule.next_tick(origin, interval, now, last)
    steps = (due - origin) / interval
    assert due >= now - 1e-6
    assert abs(steps - round(steps)) < 1e-6
    assert skipped == round((due - last) / interval) - 1


@given(intervals, st.floats(0.0, 1e6), st.floats(0.0, 1.0))
def test_a_probe_off_the_grid_is_followed_within_the_interval(interval: float, origin: float, share: float) -> None:
    """Else a freeze right after it would be seen half an interval later than after any other."""
    last = origin + (7 + share) * interval
    tick = schedule.soon_enough(schedule.next_tick(origin, interval, last + 0.001, last), interval, last)
    assert tick.skipped == 0
    assert interval * 0.49 <= tick.due - last <= interval * 1.02


def test_a_tick_that_is_late_because_the_probe_before_overran_stays_where_it_is() -> None:
    tick = schedule.next_tick(3.0, 15.0, now=18.0 + 31.0, last=18.0)
    assert schedule.soon_enough(tick, 15.0, 18.0) == tick


@pytest.mark.parametrize(
    ("interval", "deadline", "grace"),
    [(15.0, 5.0, 0.0), (60.0, 5.0, 0.0), (14.0, 5.0, 1.0), (6.0, 5.0, 2.5), (6.0, 1.0, 0.5)],
)
def test_a_tick_waits_for_a_client_only_where_the_handshakes_stay_close(
    interval: float, deadline: float, grace: float
) -> None:
    assert schedule.grace_seconds(interval, deadline) == grace
