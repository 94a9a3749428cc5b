"""A part of the stack itself is killed, in a stack of its own each: who is told, after how long, and nothing that is not known."""

import pytest

from tests.stack import figures
from tests.stack.watchers import Told, Watchers

LONG = 1200.0  # seconds for a scenario, on a machine with other work
# Prometheus: Alertmanager repeats for four minutes what it had last, and the switch waits for three.
PROMETHEUS_TOLD, ALERTMANAGER_TOLD, EXPORTER_TOLD = 540.0, 330.0, 75.0
# A page by its second outage, or because it is down; where scrapes see none of its lives, it is no more than down.
RESTARTING_TOLD, RESTARTING_NAMED = 150.0, 420.0


def test_the_end_of_prometheus_is_reported_by_the_dead_mans_switch(watchers: Watchers) -> None:
    told = watchers.prometheus.result(timeout=LONG)
    figures.keep("Prometheus killed: the dead man's switch alarms after", f"{told.seconds:.0f} s")
    assert told.seconds <= PROMETHEUS_TOLD
    claims_nothing(told)


def test_the_end_of_alertmanager_is_reported_by_the_dead_mans_switch(watchers: Watchers) -> None:
    told = watchers.alertmanager.result(timeout=LONG)
    figures.keep("Alertmanager killed: the dead man's switch alarms after", f"{told.seconds:.0f} s")
    assert told.seconds <= ALERTMANAGER_TOLD
    assert told.ends == []


def test_the_end_of_the_exporter_is_a_page_and_no_end_of_a_failure_is_reported_until_it_is_back(
    watchers: Watchers,
) -> None:
    told = watchers.exporter.result(timeout=LONG)
    figures.keep("exporter killed: a page after", f"{told.seconds:.0f} s")
    assert told.seconds <= EXPORTER_TOLD
    assert told.ends == []
    assert told.after == ["resolved"], "the gateway had recovered meanwhile: that is told once it is known"


def test_an_exporter_that_starts_again_and_again_is_a_page(watchers: Watchers) -> None:
    told = watchers.restarting.result(timeout=LONG)
    figures.keep("exporter up 6 s and down 24 s, over and over: a page after", f"{told.seconds:.0f} s")
    figures.keep("exporter up 6 s and down 24 s, over and over: a page that says so after", f"{told.named:.0f} s")
    assert told.seconds <= RESTARTING_TOLD
    assert told.named <= RESTARTING_NAMED


def claims_nothing(told: Told) -> None:
    """What ended because nobody reported it any more is not said to be well."""
    figures.keep("Prometheus killed: messages that claim a recovery", "0")
    for text in told.ends:
        assert text.startswith("ENDED frozen: api_silent, no longer reported since"), text
        assert "That is all that is known here" in text


@pytest.fixture(scope="module")
def watchers() -> Watchers:
    """The scenarios, all under way at once."""
    return Watchers()
