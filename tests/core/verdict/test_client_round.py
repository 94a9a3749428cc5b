from collections.abc import Mapping
from dataclasses import replace

import pytest

from exporter.model import Doubt, LayerResult, Outcome, Verdict
from exporter.verdict.client_blame import ClientProbe, discard, require_repeat, skipped
from exporter.verdict.client_round import awaited, with_clients
from exporter.verdict.rules import judge
from tests.core.states import CLIENT_HUNG, CLIENT_OK, T0, TARGET, TRADING, report, trial

NAMES = ("one", "two", "three")
INTERVAL = 60.0


def ok(name: str) -> LayerResult:
    return replace(CLIENT_OK, client=name)


def hung(name: str, outcome: Outcome = Outcome.TIMEOUT) -> LayerResult:
    return replace(CLIENT_HUNG, client=name, outcome=outcome)


def after(*tries: tuple[float, LayerResult]) -> Mapping[str, ClientProbe]:
    """The latest probe of each client after these tries, so many seconds after T0."""
    latest: dict[str, ClientProbe] = {}
    for seconds, result in tries:
        client = result.client or ""
        latest[client] = require_repeat(trial(result, T0 + seconds, INTERVAL), latest.get(client))
    return latest


def verdict(tries: Mapping[str, ClientProbe], seconds: float, names: tuple[str, ...] = NAMES) -> Verdict:
    target = replace(TARGET, clients=names)
    return judge(with_clients(report(TRADING), names, tries, T0 + seconds), target)


def test_a_library_is_not_accused_before_the_others_were_tried_since_it_began_to_fail() -> None:
    tries = after((0, ok("one")), (1, ok("two")), (2, ok("three")), (10, hung("one")), (25, hung("one")))
    assert verdict(tries, 25) is Verdict.HEALTHY
    assert awaited(NAMES, tries, T0 + 25) == {"two", "three"}
    shown = with_clients(report(TRADING), NAMES, tries, T0 + 25).results
    assert [result.doubt for result in shown if result.client == "one"] == [Doubt.OTHERS]


def test_the_others_are_awaited_from_the_first_failure_on_so_that_the_second_counts_at_once() -> None:
    tries = after((0, ok("two")), (1, ok("three")), (10, hung("one")))
    assert awaited(NAMES, tries, T0 + 10) == {"two", "three"}
    tries = after((10, hung("one")), (12, ok("two")), (14, ok("three")), (25, hung("one")))
    assert awaited(NAMES, tries, T0 + 25) == frozenset()
    assert verdict(tries, 25) is Verdict.CLIENT_FAULT


def test_libraries_that_fail_alike_are_never_accused_one_by_one() -> None:
    names = NAMES[:2]
    steps = [(10, hung("one")), (15, hung("two")), (25, hung("one")), (30, hung("two"))]
    verdicts = [verdict(after(*steps[:count]), steps[count - 1][0], names) for count in range(1, 5)]
    assert verdicts == [Verdict.HEALTHY] * 3 + [Verdict.CLIENTS_FAILING]


def test_libraries_that_crash_alike_are_never_accused_one_by_one_either() -> None:
    crashed = [(10, hung("one", Outcome.CRASHED)), (15, hung("two", Outcome.CRASHED))]
    assert verdict(after(crashed[0]), 10, NAMES[:2]) is Verdict.HEALTHY
    assert verdict(after(*crashed), 15, NAMES[:2]) is Verdict.CLIENTS_FAILING


@pytest.mark.parametrize("result", [skipped("two"), discard(skipped("two"), "no such interpreter")])
def test_a_library_that_cannot_be_tried_is_not_waited_for(result: LayerResult) -> None:
    tries = after((10, hung("one")), (12, result), (25, hung("one")))
    assert verdict(tries, 25, NAMES[:2]) is Verdict.CLIENT_FAULT


def test_a_library_that_never_gets_its_try_is_waited_for_two_intervals_at_most() -> None:
    tries = after((10, hung("one")), (25, hung("one")), (85, hung("one")))
    assert verdict(tries, 9 + 2 * INTERVAL, NAMES[:2]) is Verdict.HEALTHY
    assert verdict(tries, 9 + 2 * INTERVAL + 1, NAMES[:2]) is Verdict.CLIENT_FAULT
    assert awaited(NAMES[:2], tries, T0 + 9 + 2 * INTERVAL + 1) == frozenset()


def test_an_accusation_stands_while_another_library_fails_for_the_first_time() -> None:
    tries = [(10, hung("one")), (12, ok("two")), (25, hung("one")), (40, hung("two"))]
    assert verdict(after(*tries[:3]), 25, NAMES[:2]) is Verdict.CLIENT_FAULT
    assert verdict(after(*tries), 40, NAMES[:2]) is Verdict.CLIENT_FAULT
    assert verdict(after(*tries, (55, hung("two"))), 55, NAMES[:2]) is Verdict.CLIENTS_FAILING


def test_a_library_that_is_alone_waits_for_nobody() -> None:
    assert verdict(after((10, hung("one")), (25, hung("one"))), 25, ("one",)) is Verdict.CLIENT_FAULT


def test_a_library_that_recovers_begins_a_new_failure_with_the_next() -> None:
    tries = after((10, hung("one")), (12, ok("two")), (25, ok("one")), (40, hung("one")))
    assert tries["one"].failing_since is not None
    assert tries["one"].failing_since > T0 + 30
    assert awaited(NAMES[:2], tries, T0 + 40) == {"two"}
