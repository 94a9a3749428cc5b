"""When a client's failure is believed, and what it makes of a verdict."""

from dataclasses import replace

import pytest

from exporter.model import Cause, Doubt, Hello, LayerResult, Outcome, SessionFacts, Stage, Verdict
from exporter.verdict.client_blame import (
    ClientProbe,
    blamed,
    confirm,
    failures,
    is_conclusive,
    require_repeat,
)
from exporter.verdict.client_round import with_clients
from exporter.verdict.evidence import sentence
from exporter.verdict.explanation import explain
from exporter.verdict.rules import judge
from exporter.web.pages.status_json import report_json
from tests.core.states import (
    CLIENT_HUNG,
    CLIENT_OK,
    HEALTHY,
    PORT_OK,
    T0,
    TARGET,
    TRADING,
    grown,
    handshake_failed,
    report,
    trial,
    tried,
)

CLIENTS = replace(TARGET, client_ids=(9001,), clients=("ib_insync", "nautilus"))
SILENT = handshake_failed(Cause.SILENCE)
UNKNOWN_SESSION = replace(TRADING[2], outcome=Outcome.SKIPPED, cause=Cause.VERSION_UNKNOWN)


def verdict(wire: tuple[LayerResult, ...], *clients: LayerResult) -> Verdict:
    return judge(report((*wire, *clients), target=CLIENTS), CLIENTS)


def hung(name: str, **changes: object) -> LayerResult:
    return replace(CLIENT_HUNG, client=name, **changes)  # type: ignore[arg-type]


def test_one_of_several_that_fails_is_at_fault() -> None:
    assert verdict(TRADING, CLIENT_OK, CLIENT_HUNG) is Verdict.CLIENT_FAULT


def test_several_that_all_fail_point_at_what_they_have_in_common() -> None:
    assert verdict(TRADING, hung("one"), hung("two")) is Verdict.CLIENTS_FAILING


def test_a_single_one_is_at_fault_where_the_wire_itself_got_further() -> None:
    assert verdict(TRADING, CLIENT_HUNG) is Verdict.CLIENT_FAULT
    assert verdict(TRADING, hung("one", stage=Stage.TIME)) is Verdict.CLIENT_FAULT


def test_a_single_one_is_not_accused_beyond_what_the_wire_has_shown() -> None:
    unproven = (*HEALTHY, UNKNOWN_SESSION)
    assert verdict(unproven, hung("one", stage=Stage.TIME)) is Verdict.CLIENTS_FAILING
    assert verdict(unproven, CLIENT_HUNG) is Verdict.CLIENT_FAULT  # it did not even take the answer to its hello


@pytest.mark.parametrize(
    "result",
    [
        hung("one", outcome=Outcome.UNAVAILABLE),
        hung("one", outcome=Outcome.SKIPPED),
        hung("one", outcome=Outcome.REJECTED, cause=Cause.CLIENT_ID_IN_USE, code=326),
    ],
)
def test_what_says_nothing_of_a_client_changes_no_verdict(result: LayerResult) -> None:
    assert not is_conclusive(result)
    assert verdict(TRADING, result) is Verdict.HEALTHY
    assert verdict(SILENT, result) is Verdict.API_SILENT


def test_a_fault_of_the_gateway_comes_before_any_clients() -> None:
    assert verdict(SILENT, CLIENT_HUNG, hung("two")) is Verdict.API_SILENT
    stalled = replace(TRADING[2], outcome=Outcome.TIMEOUT, stage=Stage.CURRENT_TIME, cause=Cause.SILENCE)
    assert verdict((*HEALTHY, stalled), CLIENT_OK, CLIENT_HUNG) is Verdict.SESSION_STALLED


def test_libraries_that_fail_with_the_wire_are_said_not_to_be_to_blame() -> None:
    said = explain(report((*SILENT, CLIENT_HUNG)), CLIENTS, Verdict.API_SILENT)
    assert "We ourselves get no further on the wire, without any library: none of them is to blame." in said.evidence


def test_a_failure_within_which_the_gateway_stopped_answering_is_shown_and_neither_counts_nor_is_excused() -> None:
    result = confirm(trial(CLIENT_HUNG), report(SILENT)).result
    assert (result.outcome, result.stage, result.doubt) == (Outcome.TIMEOUT, Stage.CONNECT, Doubt.FALL)
    assert sentence(result, CLIENTS).endswith(
        "the gateway stopped answering meanwhile: the library met that, or caused it)"
    )
    assert confirm(trial(CLIENT_HUNG), report(TRADING)).result is CLIENT_HUNG
    assert confirm(trial(CLIENT_OK), report(SILENT)).result is CLIENT_OK


STALLED = (*HEALTHY, replace(TRADING[2], outcome=Outcome.TIMEOUT, stage=Stage.CURRENT_TIME, cause=Cause.SILENCE))
CUT_OFF = (*HEALTHY, replace(TRADING[2], session=SessionFacts(upstream=False)))


@pytest.mark.parametrize("wire", [STALLED, CUT_OFF])
def test_a_failure_beside_a_gateway_that_cannot_serve_accuses_no_library_even_after_it_recovers(
    wire: tuple[LayerResult, ...],
) -> None:
    spent = replace(report(wire), seconds=5.0)  # on a request that was not answered: that is no slow gateway
    first = require_repeat(confirm(trial(CLIENT_HUNG, limit=15.0), spent), None)
    assert (first.result.outcome, first.result.doubt) == (Outcome.TIMEOUT, Doubt.WIRE)
    assert "our own probe found something wrong too, so it does not count" in sentence(first.result, CLIENTS)
    assert verdict(TRADING, first.result, hung("two", doubt=Doubt.WIRE)) is Verdict.HEALTHY
    again = require_repeat(confirm(trial(CLIENT_HUNG, at=T0 + 20.0), report(TRADING)), first)
    assert again.result.doubt is Doubt.ONCE


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.OK, Outcome.SKIPPED, Outcome.UNAVAILABLE}))
def test_what_the_gateway_may_have_had_a_part_in_counts_when_it_comes_twice_in_a_row(outcome: Outcome) -> None:
    failure = hung("one", outcome=outcome)
    first = require_repeat(trial(failure), None)
    assert (first.result.doubt is None) == (outcome is Outcome.CRASHED)
    assert failures(report((*TRADING, first.result))) == (first.result,)
    assert require_repeat(trial(failure, at=T0 + 20.0), first).result.doubt is None


@pytest.mark.parametrize(
    "earlier",
    [
        trial(CLIENT_OK),
        trial(hung("one", outcome=Outcome.SKIPPED)),
        trial(hung("one", outcome=Outcome.UNAVAILABLE)),
        trial(hung("one", outcome=Outcome.REJECTED, cause=Cause.CLIENT_ID_IN_USE)),
        trial(hung("one", doubt=Doubt.WIRE)),
        trial(hung("one"), at=T0 - 400.0),
    ],
)
def test_only_a_failure_that_speaks_and_is_not_forgotten_confirms_another(earlier: ClientProbe) -> None:
    assert require_repeat(trial(hung("one")), earlier).result.doubt is Doubt.ONCE


def test_a_failure_is_not_forgotten_while_the_next_try_goes_on() -> None:
    earlier = trial(hung("one"), at=T0, interval=1.0)
    assert require_repeat(trial(hung("one"), at=T0 + 3.5), earlier).result.doubt is None  # it began at T0 + 2.5
    assert require_repeat(trial(hung("one"), at=T0 + 4.5), earlier).result.doubt is Doubt.ONCE


def test_a_client_that_was_accused_stays_accused_while_it_fails() -> None:
    assert require_repeat(trial(hung("one")), trial(hung("one", outcome=Outcome.CRASHED))).result.doubt is None


def test_clients_that_all_failed_once_are_shown_and_point_at_nothing() -> None:
    one, two = (hung(name, outcome=Outcome.CLOSED, doubt=Doubt.ONCE) for name in ("one", "two"))
    assert verdict(TRADING, one, two) is Verdict.HEALTHY
    assert verdict(TRADING, replace(one, doubt=None), two) is Verdict.CLIENT_FAULT
    assert verdict(TRADING, replace(one, doubt=None), replace(two, doubt=None)) is Verdict.CLIENTS_FAILING
    said = explain(report((*TRADING, replace(one, doubt=None), two)), CLIENTS, Verdict.CLIENT_FAULT)
    assert said.headline.startswith("one ")
    assert "two" not in said.headline
    assert "it counts if the next try fails too" in said.evidence[-1]


def test_a_gateway_so_slow_that_a_library_had_too_little_time_for_it_leaves_that_unaccused() -> None:
    slow = replace(report(TRADING), seconds=2.0)
    assert not is_conclusive(confirm(trial(CLIENT_HUNG, limit=7.0), slow).result)
    assert confirm(trial(CLIENT_HUNG, limit=15.0), slow).result is CLIENT_HUNG
    crashed = hung("one", outcome=Outcome.CRASHED)
    assert confirm(trial(crashed, limit=7.0), slow).result is crashed


def test_a_contract_that_no_other_library_got_proves_nothing_against_a_single_one() -> None:
    """We never ask for one ourselves: the gateway may answer the time and nothing that it has to ask IBKR for."""
    assert verdict(TRADING, hung("one", stage=Stage.CONTRACT)) is Verdict.CONTRACT_DETAILS_STALLED
    assert verdict(TRADING, hung("one", stage=Stage.CONTRACT), CLIENT_OK) is Verdict.CLIENT_FAULT
    assert verdict(TRADING, hung("one", stage=Stage.CONTRACT, outcome=Outcome.CRASHED)) is Verdict.CLIENT_FAULT


def test_our_own_fault_after_a_try_accuses_no_library() -> None:
    assert not is_conclusive(confirm(trial(CLIENT_HUNG), report((), fault="OSError: too many open files")).result)


def test_results_are_forgotten_after_three_intervals_of_the_client() -> None:
    client_probes = {"ib_insync": trial(CLIENT_OK, at=T0)}
    assert with_clients(report(TRADING), CLIENTS.clients, client_probes, T0 + 180.0).results[-1] is CLIENT_OK
    assert with_clients(report(TRADING), CLIENTS.clients, client_probes, T0 + 180.1).results == TRADING


def test_an_earlier_success_claims_nothing_once_the_wire_fails_and_a_failure_stays() -> None:
    client_probes = {"ib_insync": trial(CLIENT_OK), "nautilus": trial(CLIENT_HUNG)}
    beside = with_clients(report(SILENT), CLIENTS.clients, client_probes, T0 + 6.0).results[2:]
    assert [result.outcome for result in beside] == [Outcome.SKIPPED, Outcome.TIMEOUT]


def test_a_client_that_is_no_more_configured_is_forgotten() -> None:
    client_probes = {"gone": trial(hung("gone"))}
    assert with_clients(report(TRADING), CLIENTS.clients, client_probes, T0 + 6.0).results == TRADING


def test_a_trial_is_counted_once_however_often_its_result_is_shown() -> None:
    state = tried(grown(TRADING, target=CLIENTS), CLIENT_OK, CLIENT_HUNG)
    counted = dict(state.probes)
    assert state.last is not None
    assert [result.client for result in blamed(state.last)] == ["nautilus"]
    assert counted["client", "nautilus"] == 1  # type: ignore[index]
    assert len(state.recent) == 2  # the wire's report, and the one that changed the verdict


def test_the_json_of_a_client_says_what_it_is() -> None:
    layers = report_json(CLIENTS, report((PORT_OK, CLIENT_HUNG)), Verdict.CLIENT_FAULT)["layers"]
    assert layers[1]["client"] == "nautilus"
    assert layers[1]["library"] == {"name": "nautilus_trader", "version": "1.220.0", "python": "3.12.4"}
    assert layers[1]["stage"] == "connect"
    assert "library" not in layers[0]


def waits_for_contract(name: str) -> LayerResult:
    return hung(name, stage=Stage.CONTRACT, cause=Cause.SILENCE)


def test_contract_details_that_no_library_gets_have_their_own_verdict() -> None:
    assert verdict(TRADING, waits_for_contract("one"), waits_for_contract("two")) is Verdict.CONTRACT_DETAILS_STALLED
    assert verdict(TRADING, waits_for_contract("one")) is Verdict.CONTRACT_DETAILS_STALLED


def test_a_library_whose_contract_request_is_answered_contradicts_that() -> None:
    assert verdict(TRADING, waits_for_contract("one"), CLIENT_OK) is Verdict.CLIENT_FAULT


def test_a_library_that_stops_elsewhere_contradicts_that_too() -> None:
    assert verdict(TRADING, waits_for_contract("one"), hung("two")) is Verdict.CLIENTS_FAILING


def test_a_gateway_too_old_for_a_library_is_the_gateways_fault() -> None:
    refused = hung("ib_insync", outcome=Outcome.REJECTED, stage=Stage.CONNECT, cause=Cause.TOO_OLD)
    assert verdict(TRADING, refused) is Verdict.SERVER_TOO_OLD
    assert verdict(TRADING, refused, CLIENT_OK) is Verdict.SERVER_TOO_OLD
    assert verdict(TRADING, replace(refused, doubt=Doubt.ONCE)) is Verdict.HEALTHY


def test_a_gateway_that_closes_on_a_hello_above_its_version_is_too_old_too() -> None:
    closed = hung("ib_insync", outcome=Outcome.CLOSED, stage=Stage.CONNECT, cause=Cause.EOF, hello=Hello(227, 230))
    assert verdict(TRADING, closed) is Verdict.SERVER_TOO_OLD
    assert verdict(TRADING, replace(closed, hello=Hello(157, 176))) is Verdict.CLIENT_FAULT


def test_a_library_too_old_for_the_gateway_is_to_be_upgraded() -> None:
    refused = hung(
        "ibapi", outcome=Outcome.REJECTED, stage=Stage.CONNECT, cause=Cause.TOO_OLD, code=503, installed=None
    )
    assert verdict(TRADING, refused, CLIENT_OK) is Verdict.CLIENT_FAULT
    explanation = explain(report((*TRADING, refused, CLIENT_OK), target=CLIENTS), CLIENTS, Verdict.CLIENT_FAULT)
    assert explanation.actions[0] == "Upgrade ibapi: the gateway no longer accepts the API version that it announces."


def test_a_failure_beside_a_malformed_message_is_not_the_librarys() -> None:
    facts = replace(TRADING[2].session or SessionFacts(), malformed=("an error of an unknown layout",))
    after = report((*HEALTHY, replace(TRADING[2], session=facts)), target=CLIENTS)
    crashed = confirm(trial(hung("ibapi", outcome=Outcome.CRASHED)), after)
    assert crashed.result.doubt is Doubt.WIRE
    lines = explain(after, CLIENTS, Verdict.HEALTHY).evidence
    assert any("it sent a malformed message (an error of an unknown layout)" in line for line in lines)
