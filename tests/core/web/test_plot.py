"""The plot of the last day: what it shows, to whom, and that it stays a plot whatever the times are."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Verdict
from exporter.state.target import Change, TargetState
from exporter.state.trend import DAY, WIDTH, Trend
from exporter.web import pages
from exporter.web.pages.plot import BOTTOM, TOP, plot
from tests.core.states import NOW, in_verdict, target
from tests.core.web.test_pages import Outline

CLIENTS = ("ib_async", "ibapi")


def trend(*observed: tuple[float, float | None]) -> Trend:
    """Each as seconds before NOW, and the time that the probe took."""
    made = Trend()
    for ago, seconds in observed:
        made = made.observe(NOW - ago, seconds)
    return made


def with_trends(**trends: Trend) -> TargetState:
    named = {"" if name == "handshake" else name: made for name, made in trends.items()}
    state = in_verdict(Verdict.HEALTHY)
    return replace(state, target=replace(state.target, clients=CLIENTS), trends=named)


def test_the_handshake_comes_first_then_each_client_in_the_order_of_the_configuration() -> None:
    state = with_trends(ibapi=trend((60, 0.1)), handshake=trend((60, 0.004)), ib_async=trend((60, 0.02)))

    assert [curve.name for curve in plot(state, NOW).curves()] == ["API handshake", "ib_async", "ibapi"]


def test_a_longer_time_is_drawn_higher_and_a_failure_is_marked() -> None:
    shown = plot(with_trends(handshake=trend((7 * WIDTH, 0.002), (3 * WIDTH, 0.2), (3 * WIDTH, None))), NOW)

    [curve] = shown.curves()
    early, late = curve.columns
    assert early.x < late.x
    assert TOP <= late.median < early.median <= BOTTOM
    assert (early.failed, late.failed) == (False, True)
    assert curve.text == "3 probes in 2 h, 1 failed; median 101 ms, from 2.00 ms to 200 ms"


@pytest.mark.parametrize(
    ("ago", "span", "first"), [(0, "30 min", "01:30"), (6500, "2 h", "00:00"), (DAY - WIDTH, "24 h", "02:00")]
)
def test_the_plot_goes_back_as_far_as_there_is_something_and_a_day_at_most(ago: float, span: str, first: str) -> None:
    shown = plot(with_trends(handshake=trend((ago, 0.1), (0, 0.1))), NOW)

    assert (shown.span, shown.clock[0], shown.clock[-1]) == (span, first, "02:00")


def test_a_target_that_was_never_probed_has_a_plot_without_curves() -> None:
    html = pages.render_target(TargetState(target("new")), NOW)

    assert list(plot(TargetState(target("new")), NOW).curves()) == []
    assert 'class="curve"' not in html


def test_every_curve_is_described_in_words_and_hour_by_hour_in_a_table() -> None:
    state = with_trends(handshake=trend((7200, 0.002), (7200, None), (60, 0.004)), ibapi=trend((60, None)))

    outline = Outline(pages.render_target(state, NOW))
    labels = [svg["aria-label"] or "" for svg in outline.all("svg") if svg.get("class") == "curve"]
    assert [label.split(":")[0] for label in labels] == ["API handshake", "ibapi"]
    assert labels[1] == "ibapi: 1 probe in 6 h, 1 failed"
    for text in (
        "2026-11-21 00:00",
        "median 2.00 ms, from 2.00 ms to 2.00 ms, 1 of 2 failed",
        "1 of 1 failed",
        "not probed",
    ):
        assert text in outline.text


def test_every_verdict_of_the_strip_says_when_it_was() -> None:
    changes = (Change(Verdict.API_SILENT, NOW - 7200), Change(Verdict.HEALTHY, NOW - 3600))
    state = replace(with_trends(handshake=trend((7200, 0.002))), changes=changes)

    assert "api_silent for 1 h from 2026-11-21 00:00:20 UTC" in Outline(pages.render_target(state, NOW)).text


@given(st.lists(st.tuples(st.integers(0, 2 * DAY), st.none() | st.floats(0, 1e6)), max_size=30))
def test_whatever_the_times_every_column_is_within_the_plot(observed: list[tuple[int, float | None]]) -> None:
    shown = plot(with_trends(handshake=trend(*sorted(observed, key=lambda pair: -pair[0]))), NOW)

    for curve in shown.curves():
        for column in curve.columns:
            assert 0 <= column.x <= column.x + column.width <= 100.21
            assert TOP <= column.y <= column.median <= BOTTOM
            assert column.y + column.height <= 100
