import pickle
from itertools import pairwise

import pytest

from exporter.state.trend import DAY, WIDTH, Bucket, Trend
from tests.core.states import CLIENT_HUNG, CLIENT_OK, T0, TRADING, grown, tried

START = 1_795_226_400
assert START % WIDTH == 0


def test_a_bucket_has_the_least_the_median_and_the_most_of_its_five_minutes() -> None:
    trend = Trend()
    for offset, seconds in ((0, 0.002), (15, 0.5), (30, None), (45, 0.003), (WIDTH - 1, 0.001)):
        trend = trend.observe(START + offset, seconds)
    trend = trend.observe(START + WIDTH, 1.0)

    first, second = trend.buckets(START + WIDTH)
    assert first[:3] == (START, 4, 1)
    assert first[3:] == pytest.approx((0.001, 0.0025, 0.5), rel=1e-6)
    assert second == Bucket(START + WIDTH, 1, 0, 1.0, 1.0, 1.0)


def test_buckets_in_which_nothing_was_probed_are_left_out() -> None:
    trend = Trend().observe(START, 0.1).observe(START + 10 * WIDTH, None)

    assert [bucket.start - START for bucket in trend.buckets(START + 10 * WIDTH)] == [0, 10 * WIDTH]


def test_a_trend_goes_back_a_day_and_stays_small() -> None:
    trend = Trend()
    for second in range(0, 3 * DAY, 60):
        trend = trend.observe(START + second, 0.01)

    buckets = list(trend.buckets(START + 3 * DAY))
    assert len(buckets) == DAY // WIDTH - 1
    assert all(later.start - earlier.start == WIDTH for earlier, later in pairwise(buckets))
    assert len(pickle.dumps(trend)) < 7000
    assert list(trend.buckets(START + 5 * DAY)) == []


def test_a_bucket_with_very_many_probes_counts_all_of_them() -> None:
    trend = Trend()
    for _ in range(70_000):
        trend = trend.observe(START, 0.5)
    [bucket] = trend.buckets(START)
    [closed, _] = trend.observe(START + WIDTH, 0.5).buckets(START)

    assert (bucket.passed, bucket.median, closed.passed) == (70_000, 0.5, 65_535)


def test_a_state_keeps_the_handshakes_times_and_each_clients() -> None:
    state = tried(grown(TRADING, TRADING), CLIENT_OK, CLIENT_HUNG)

    shown = {name: [tuple(bucket[1:3]) for bucket in trend.buckets(T0 + 60)] for name, trend in state.trends.items()}
    assert shown[""] == [(4, 0)]  # with those before the two clients
    assert shown[CLIENT_OK.client or ""] == [(1, 0)]
    assert shown[CLIENT_HUNG.client or ""] == [(0, 1)]
