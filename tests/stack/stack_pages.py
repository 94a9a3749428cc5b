"""No page for a pause, one for a freeze, one for a fleet: with the shipped files, on gateways whose processes are stopped.

The three scenarios run side by side, and beside the tests of stack_loop.py: the fixture `stack` starts them.
"""

import pytest

from tests.stack import figures
from tests.stack.scenarios import Freeze, Scenarios

WITHIN = 30.0  # seconds from freeze to page
PAUSES = 30
FREEZES = 10
LONG = 900.0  # seconds for a scenario, on a machine with other work


@pytest.fixture(scope="module")
def scenarios(stack: Scenarios) -> Scenarios:
    """The scenarios that the stack's fixture has started."""
    return stack


def test_thirty_pauses_of_three_to_eight_seconds_are_no_page(scenarios: Scenarios) -> None:
    done = scenarios.pauses.result(timeout=LONG)
    assert done.pauses == PAUSES
    figures.keep("pages in 30 pauses of 3 to 8 s, watched and not", str(len(done.messages)))
    assert done.messages == []


def test_each_of_ten_freezes_is_one_page_within_thirty_seconds(scenarios: Scenarios) -> None:
    freezes: list[Freeze] = scenarios.freezes.result(timeout=LONG)
    assert len(freezes) == FREEZES
    for kind in ("watched", "unwatched"):
        took = [each.took for each in freezes if f"-{kind}-" in each.target]
        figures.keep(f"from freeze to page, {kind}: least / median / most", figures.spread(took))
    assert max(each.took for each in freezes) <= WITHIN
    assert [each for each in freezes if each.told != ["firing", "resolved"]] == []


def test_a_fleet_that_freezes_together_is_one_page_and_nothing_new_while_it_recovers_one_by_one(
    scenarios: Scenarios,
) -> None:
    done = scenarios.fleet.result(timeout=LONG)
    paged = [message for message in done.messages if message["receiver"] == "pager"]
    named = [
        (message["status"], *sorted({each["labels"]["alertname"] for each in message["alerts"]})) for message in paged
    ]
    assert named == [("firing", "IbkrApiSilentEverywhere"), ("resolved", "IbkrApiSilentEverywhere")], named
    took = paged[0]["at"] - done.began
    figures.keep("sixteen gateways frozen together, one in its restart window, one well: pages", "1")
    figures.keep("from the freeze of the fleet to its page", f"{took:.1f} s")
    assert took <= WITHIN
