"""The watch and the probes together: what a sighting changes, and what it may not."""

from dataclasses import replace

import pytest

from exporter.model import Cause, Farm, FarmKind, Layer, LayerResult, Outcome, SessionFacts, Stage, Target, Verdict
from exporter.state.claims import current_verdict, expired
from exporter.state.fold_watch import SEEN, discount_if_disconnected, fold_watch_event, merge_watch, probe_at_once
from exporter.state.target import TargetState, fold
from exporter.state.watch_events import WatchEvent, WatchEventKind, WatchState
from exporter.verdict.client_blame import ClientProbe, blamed
from exporter.verdict.evidence import masked
from exporter.verdict.explanation import explain
from exporter.verdict.rules import judge
from tests.core.states import (
    HANDSHAKE_OK,
    PORT_OK,
    SESSION_OK,
    T0,
    TARGET,
    TRADING,
    grown,
    handshake_failed,
    port_failed,
    report,
)

WATCHED = replace(TARGET, client_ids=(9001, 9002), account="DU1234567", watch=True)
UP = SessionFacts(client_id=9002, upstream=True)
DOWN = SessionFacts(client_id=9002, upstream=False, errors=(1100,))
SILENT = LayerResult(
    layer=Layer.SESSION, outcome=Outcome.TIMEOUT, seconds=2.2, stage=Stage.CURRENT_TIME, cause=Cause.SILENCE, session=UP
)
RESET = LayerResult(
    layer=Layer.SESSION, outcome=Outcome.CLOSED, seconds=9.0, stage=Stage.CURRENT_TIME, cause=Cause.RESET, session=UP
)


def working() -> TargetState:
    """A target whose session works and whose watch is connected."""
    return fold_watch_event(grown(TRADING, target=WATCHED), WatchEvent(WatchEventKind.BEGAN, T0 + 1, UP, opened=1))


def known(watched: WatchState) -> TargetState:
    """A target of which only the watch has told something."""
    return TargetState(WATCHED, watched=watched)


def failed(cause: Cause, outcome: Outcome, stage: Stage, **changes: object) -> tuple[LayerResult, ...]:
    session = LayerResult(
        layer=Layer.SESSION,
        outcome=outcome,
        seconds=1.0,
        stage=stage,
        cause=cause,
        session=SessionFacts(client_id=9001),
    )
    return PORT_OK, HANDSHAKE_OK, replace(session, **changes)  # type: ignore[arg-type]


def told(**changes: object) -> tuple[LayerResult, ...]:
    facts = replace(SESSION_OK.session or SessionFacts(), **changes)  # type: ignore[arg-type]
    return PORT_OK, HANDSHAKE_OK, replace(SESSION_OK, session=facts)


BROKEN_FARM = (Farm(FarmKind.MARKET, "usfarm", connected=False),)
BEGINNING = (Stage.START_API, Stage.NEXT_VALID_ID, Stage.MANAGED_ACCOUNTS)


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        (failed(Cause.CLIENT_ID_IN_USE, Outcome.REJECTED, Stage.START_API), Verdict.CLIENT_ID_IN_USE),
        (failed(Cause.TOO_OLD, Outcome.REJECTED, Stage.START_API), Verdict.SERVER_TOO_OLD),
        *((failed(Cause.EOF, Outcome.CLOSED, stage), Verdict.SESSION_REFUSED) for stage in BEGINNING),
        *((failed(Cause.RESET, Outcome.CLOSED, stage), Verdict.SESSION_REFUSED) for stage in BEGINNING),
        (failed(Cause.API_ERROR, Outcome.REJECTED, Stage.START_API), Verdict.SESSION_REFUSED),
        (failed(Cause.SILENCE, Outcome.TIMEOUT, Stage.START_API), Verdict.SESSION_SILENT),
        (failed(Cause.UNFINISHED, Outcome.TIMEOUT, Stage.START_API), Verdict.SESSION_SILENT),
        (failed(Cause.OVERSIZED, Outcome.GARBLED, Stage.START_API), Verdict.SESSION_SILENT),
        (failed(Cause.UNFINISHED, Outcome.TIMEOUT, Stage.NEXT_VALID_ID), Verdict.SESSION_STALLED),
        (failed(Cause.UNFINISHED, Outcome.TIMEOUT, Stage.MANAGED_ACCOUNTS), Verdict.SESSION_STALLED),
        (failed(Cause.SILENCE, Outcome.TIMEOUT, Stage.CURRENT_TIME), Verdict.SESSION_STALLED),
        (failed(Cause.RESET, Outcome.CLOSED, Stage.CURRENT_TIME), Verdict.SESSION_STALLED),
        (failed(Cause.OVERSIZED, Outcome.GARBLED, Stage.CURRENT_TIME), Verdict.SESSION_STALLED),
        (told(accounts=("DU7654321",)), Verdict.ACCOUNT_MISSING),
        (told(accounts=("DU7654321",), upstream=False, farms=BROKEN_FARM), Verdict.ACCOUNT_MISSING),
        (told(upstream=False, farms=BROKEN_FARM), Verdict.UPSTREAM_DOWN),
        (told(farms=BROKEN_FARM), Verdict.FARM_DOWN),
        (told(upstream=None, farms=()), Verdict.HEALTHY),
        (TRADING, Verdict.HEALTHY),
    ],
)
def test_each_end_of_a_session_has_its_verdict(results: tuple[LayerResult, ...], verdict: Verdict) -> None:
    made = report(results, target=WATCHED)
    assert judge(made, WATCHED) is verdict
    evidence = explain(made, WATCHED, verdict).evidence
    assert len(evidence) == 3
    assert "{" not in "".join(evidence)


def test_a_farm_that_is_down_outranks_a_slow_handshake() -> None:
    slow = (PORT_OK, replace(HANDSHAKE_OK, seconds=3.0), told(farms=BROKEN_FARM)[2])
    assert judge(report(slow, target=WATCHED), WATCHED) is Verdict.FARM_DOWN


def test_a_session_left_out_because_the_version_is_too_new_leaves_the_target_healthy_and_is_reported() -> None:
    left_out = LayerResult(
        layer=Layer.SESSION, outcome=Outcome.SKIPPED, cause=Cause.VERSION_UNKNOWN, detail="server version 230"
    )
    made = report((PORT_OK, HANDSHAKE_OK, left_out), target=WATCHED)
    assert judge(made, WATCHED) is Verdict.HEALTHY
    assert explain(made, WATCHED, Verdict.HEALTHY).evidence[-1] == "No session was begun (server version 230)"


def test_other_accounts_are_in_the_evidence_in_part_and_the_configured_one_whole() -> None:
    made = report(told(accounts=("DU7654321", "DU1234567", "U12")), target=WATCHED)
    text = " ".join(explain(made, WATCHED, Verdict.HEALTHY).evidence)
    assert "managed accounts: DU…321, DU1234567, …" in text
    assert "DU7654321" not in text
    assert masked("DU1234567") == "DU…567"


def test_the_loss_of_the_servers_is_a_verdict_as_soon_as_it_is_reported_and_so_is_their_return() -> None:
    lost = fold_watch_event(working(), WatchEvent(WatchEventKind.NEWS, T0 + 3, DOWN))
    assert (lost.verdict, lost.since) == (Verdict.UPSTREAM_DOWN, T0 + 3)
    assert lost.last is not None
    assert "1100" in explain(lost.last, WATCHED, lost.verdict).evidence[-1]
    assert SEEN in explain(lost.last, WATCHED, lost.verdict).evidence[-1]
    back = fold_watch_event(lost, WatchEvent(WatchEventKind.NEWS, T0 + 9, UP))
    assert (back.verdict, back.since) == (Verdict.HEALTHY, T0 + 9)


def test_a_farm_of_the_watch_is_put_beside_those_of_the_probe() -> None:
    facts = replace(UP, farms=BROKEN_FARM)
    state = fold_watch_event(working(), WatchEvent(WatchEventKind.NEWS, T0 + 3, facts))
    assert state.verdict is Verdict.FARM_DOWN
    session = state.last.layer(Layer.SESSION) if state.last else None
    assert session is not None
    assert session.session is not None
    assert [farm.name for farm in session.session.farms] == ["secdefil", "ushmds", "usfarm"]


def test_what_changes_nothing_makes_no_report() -> None:
    before = working()
    after = fold_watch_event(before, WatchEvent(WatchEventKind.NEWS, T0 + 3, UP))
    assert (after.last, after.recent) == (before.last, before.recent)


def test_a_sighting_counts_no_probe() -> None:
    before, after = working(), fold_watch_event(working(), WatchEvent(WatchEventKind.NEWS, T0 + 3, DOWN))
    assert (after.probes, after.probed_at, after.connections) == (before.probes, before.probed_at, before.connections)


@pytest.mark.parametrize("results", [port_failed(Cause.CONNECT_REFUSED), handshake_failed(Cause.SILENCE)])
def test_a_target_that_failed_a_probe_is_not_made_well_by_the_watch(results: tuple[LayerResult, ...]) -> None:
    state = working()
    made = report(results, T0 + 5, WATCHED)
    state = fold(state, made, judge(made, WATCHED))
    after = fold_watch_event(state, WatchEvent(WatchEventKind.NEWS, T0 + 6, UP))
    assert (after.verdict, after.last) == (state.verdict, state.last)


def test_heartbeats_unanswered_make_the_session_stalled_when_no_probe_has_looked_since() -> None:
    frozen = fold_watch_event(working(), WatchEvent(WatchEventKind.ENDED, T0 + 6, UP, since=T0 + 3.8, result=SILENT))
    assert frozen.verdict is Verdict.SESSION_STALLED
    assert not frozen.watched.connected
    assert frozen.last is not None
    assert "given up after 2.2 s (seen by the watch)" in explain(frozen.last, WATCHED, frozen.verdict).evidence[-1]


def test_heartbeats_unanswered_change_nothing_when_a_probe_has_looked_since() -> None:
    state = working()
    looked = report(TRADING, T0 + 4, WATCHED)
    state = fold(state, looked, judge(looked, WATCHED))
    after = fold_watch_event(state, WatchEvent(WatchEventKind.ENDED, T0 + 6, UP, since=T0 + 3.8, result=SILENT))
    assert after.verdict is Verdict.HEALTHY


def test_heartbeats_unanswered_count_although_the_clock_was_set_back_since_the_last_probe() -> None:
    back = T0 - 3600
    frozen = fold_watch_event(
        working(), WatchEvent(WatchEventKind.ENDED, back + 6, UP, since=back + 3.8, result=SILENT)
    )
    assert (frozen.verdict, frozen.since) == (Verdict.SESSION_STALLED, back + 6)


def test_a_reset_is_no_verdict_by_itself() -> None:
    assert (
        fold_watch_event(working(), WatchEvent(WatchEventKind.ENDED, T0 + 6, UP, result=RESET)).verdict
        is Verdict.HEALTHY
    )


@pytest.mark.parametrize("result", [RESET, SILENT])
def test_an_end_calls_for_a_probe_with_the_full_deadline(result: LayerResult) -> None:
    assert probe_at_once(working(), WatchEvent(WatchEventKind.ENDED, T0 + 6, UP, result=result)) == WATCHED.deadline


def test_a_late_heartbeat_calls_for_a_probe_of_one_second_unless_the_gateway_is_known_to_be_slow() -> None:
    late = WatchEvent(WatchEventKind.UNANSWERED, T0 + 4, UP, since=T0 + 3)
    assert probe_at_once(working(), late) == 1.0
    slow = grown((PORT_OK, replace(HANDSHAKE_OK, seconds=0.3), SESSION_OK), target=WATCHED)
    assert probe_at_once(slow, late) == 3.0
    slowest = grown((PORT_OK, replace(HANDSHAKE_OK, seconds=0.9), SESSION_OK), target=WATCHED)
    assert probe_at_once(slowest, late) == WATCHED.deadline


def test_a_late_heartbeat_calls_for_no_probe_where_requests_are_slow_by_habit() -> None:
    late = WatchEvent(WatchEventKind.UNANSWERED, T0 + 4, UP, since=T0 + 3)
    lazy = replace(SESSION_OK, stages=((Stage.CURRENT_TIME, 1.3),))
    assert probe_at_once(grown((PORT_OK, HANDSHAKE_OK, lazy), target=WATCHED), late) is None


def trial(outcome: Outcome, cause: Cause | None) -> ClientProbe:
    result = LayerResult(
        layer=Layer.CLIENT, outcome=outcome, seconds=0.1, stage=Stage.TIME, cause=cause, client="ib_insync"
    )
    return ClientProbe.of(result, T0 + 8, 60.0, before=report(TRADING, T0 + 5, WATCHED))


def lost(at: float, cause: Cause = Cause.RESET) -> WatchState:
    return WatchState(at=T0, since=at, ended=replace(RESET, cause=cause))


def test_a_library_is_not_accused_of_an_end_that_the_watch_met_as_well() -> None:
    closed = trial(Outcome.CLOSED, Cause.RESET)
    counted = discount_if_disconnected(closed, lost(T0 + 6)).result
    assert counted.outcome is Outcome.UNAVAILABLE
    assert "watch" in counted.detail
    assert blamed(report((*TRADING, counted))) == ()


@pytest.mark.parametrize(
    "watched",
    [lost(T0 + 4), lost(T0 + 6, Cause.CLIENT_ID_IN_USE), WatchState(connected=True, at=T0, since=T0 + 6)],
)
def test_an_end_of_the_watch_at_another_time_or_of_its_own_acquits_no_library(watched: WatchState) -> None:
    closed = trial(Outcome.CLOSED, Cause.RESET)
    assert discount_if_disconnected(closed, watched) is closed


def test_a_library_that_got_through_is_not_doubted_for_an_end_of_the_watch() -> None:
    passed = trial(Outcome.OK, None)
    assert discount_if_disconnected(passed, lost(T0 + 6)) is passed


def test_a_heartbeat_answered_late_calls_for_a_probe_where_the_verdict_was_bad_meanwhile() -> None:
    late = fold_watch_event(working(), WatchEvent(WatchEventKind.UNANSWERED, T0 + 4, UP, since=T0 + 3))
    answered = WatchEvent(WatchEventKind.ANSWERED, T0 + 5, UP)
    assert probe_at_once(late, answered) is None
    made = report(handshake_failed(Cause.SILENCE), T0 + 4, WATCHED)
    assert probe_at_once(fold(late, made, judge(made, WATCHED)), answered) == WATCHED.deadline


@pytest.mark.parametrize("result", [None, replace(RESET, cause=Cause.CLIENT_ID_IN_USE, outcome=Outcome.REJECTED)])
def test_an_end_that_says_nothing_new_calls_for_no_probe(result: LayerResult | None) -> None:
    assert probe_at_once(working(), WatchEvent(WatchEventKind.ENDED, T0 + 6, UP, result=result)) is None


def test_the_connections_and_conflicts_of_the_watch_are_counted() -> None:
    refused = replace(RESET, cause=Cause.CLIENT_ID_IN_USE, outcome=Outcome.REJECTED)
    state = grown(TRADING, target=WATCHED)
    after = fold_watch_event(state, WatchEvent(WatchEventKind.ENDED, T0 + 1, result=refused, opened=1))
    assert (after.connections, after.conflicts) == (state.connections + 1, state.conflicts + 1)


def test_a_probe_without_a_message_about_the_link_takes_the_word_of_the_watch() -> None:
    watched = WatchState(connected=True, at=T0, facts=DOWN)
    silent_on_it = report(told(upstream=None, farms=()), target=WATCHED)
    assert judge(merge_watch(silent_on_it, known(watched)), WATCHED) is Verdict.UPSTREAM_DOWN
    assert judge(merge_watch(silent_on_it, known(replace(watched, connected=False))), WATCHED) is Verdict.HEALTHY


def test_a_probe_that_fails_while_a_heartbeat_is_late_has_that_in_its_evidence() -> None:
    made = report(handshake_failed(Cause.SILENCE), target=WATCHED)
    late = merge_watch(made, known(WatchState(connected=True, at=T0, late=True, facts=UP)))
    verdict = judge(late, WATCHED)
    assert verdict is Verdict.API_SILENT
    assert (
        "the watch's request for the time, in its own session, is unanswered too"
        in explain(late, WATCHED, verdict).evidence[-1]
    )
    assert merge_watch(made, known(WatchState(connected=True, at=T0, facts=UP))) == made


def test_what_the_watch_received_while_the_probe_went_on_is_the_newer_word() -> None:
    """The probe's own session may have been over by then, and the watch will not be told again."""
    lost = replace(DOWN, farms=BROKEN_FARM)
    for news_at, verdict in ((T0 + 4, Verdict.HEALTHY), (T0 + 5.1, Verdict.UPSTREAM_DOWN)):
        state = fold_watch_event(working(), WatchEvent(WatchEventKind.NEWS, news_at, lost))
        state = fold_watch_event(state, WatchEvent(WatchEventKind.ANSWERED, T0 + 5.2, lost))
        made = merge_watch(report(told(farms=OTHER_FARM), T0 + 5, WATCHED), state)
        assert judge(made, WATCHED) is verdict


def test_a_probe_with_a_message_about_the_link_has_the_newer_word() -> None:
    watched = WatchState(connected=True, at=T0, facts=DOWN)
    assert judge(merge_watch(report(TRADING, target=WATCHED), known(watched)), WATCHED) is Verdict.HEALTHY


def test_a_state_does_not_expire_while_the_watch_is_answered() -> None:
    state = working()
    later = T0 + 60
    assert expired(state, later)
    state = fold_watch_event(state, WatchEvent(WatchEventKind.ANSWERED, later - 2, UP))
    assert current_verdict(state, later) is Verdict.HEALTHY
    late = fold_watch_event(state, WatchEvent(WatchEventKind.UNANSWERED, later - 1, UP))
    assert expired(late, later - 2 + 3 * WATCHED.interval + 0.1)
    ended = fold_watch_event(state, WatchEvent(WatchEventKind.ENDED, later - 1, UP))
    assert expired(ended, later)


@pytest.mark.parametrize(
    ("ids", "watch", "watch_id", "probe_ids"),
    [
        ((), True, None, ()),
        ((9001,), True, None, (9001,)),
        ((9001, 9002), True, 9002, (9001,)),
        ((9001, 9002), False, None, (9001, 9002)),
        ((9001, 9002, 9003), True, 9003, (9001, 9002)),
    ],
)
def test_the_watch_has_the_last_client_id_and_leaves_the_probes_one(
    ids: tuple[int, ...],
    watch: bool,  # noqa: FBT001
    watch_id: int | None,
    probe_ids: tuple[int, ...],
) -> None:
    target: Target = replace(TARGET, client_ids=ids, watch=watch)
    assert (target.watch_id, target.probe_ids) == (watch_id, probe_ids)


def session_facts(state: TargetState) -> SessionFacts:
    result = state.last.layer(Layer.SESSION) if state.last else None
    assert result is not None
    assert result.session is not None
    return result.session


def probed(state: TargetState, at: float, **changes: object) -> TargetState:
    made = merge_watch(report(told(**changes), at, WATCHED), state)
    return fold(state, made, judge(made, WATCHED))


OTHER_FARM = (Farm(FarmKind.MARKET, "usfarm.nj", connected=True),)


def test_a_farm_that_a_probe_does_not_get_is_forgotten_whatever_the_watch_once_received() -> None:
    broken = replace(UP, farms=BROKEN_FARM)
    state = fold_watch_event(working(), WatchEvent(WatchEventKind.NEWS, T0 + 3, broken))
    assert state.verdict is Verdict.FARM_DOWN
    state = probed(state, T0 + 60, farms=OTHER_FARM)
    assert state.verdict is Verdict.HEALTHY
    other = replace(broken, farms=(*BROKEN_FARM, Farm(FarmKind.HISTORICAL, "euhmds", connected=True)))
    state = fold_watch_event(state, WatchEvent(WatchEventKind.NEWS, T0 + 61, other))
    assert state.verdict is Verdict.HEALTHY
    assert probed(state, T0 + 120, farms=()).verdict is Verdict.HEALTHY
    again = fold_watch_event(
        fold_watch_event(state, WatchEvent(WatchEventKind.NEWS, T0 + 62, UP)),
        WatchEvent(WatchEventKind.NEWS, T0 + 63, broken),
    )
    assert again.verdict is Verdict.FARM_DOWN


def test_a_farm_that_is_disconnected_stays_so_where_a_probe_gets_other_kinds_only() -> None:
    state = fold_watch_event(working(), WatchEvent(WatchEventKind.NEWS, T0 + 3, replace(UP, farms=BROKEN_FARM)))
    state = probed(state, T0 + 60, farms=(Farm(FarmKind.HISTORICAL, "euhmds", connected=True),))
    assert state.verdict is Verdict.FARM_DOWN
    assert probed(state, T0 + 120, farms=()).verdict is Verdict.FARM_DOWN


def test_the_first_word_of_a_new_session_counts_whole() -> None:
    state = fold_watch_event(working(), WatchEvent(WatchEventKind.NEWS, T0 + 3, replace(UP, farms=BROKEN_FARM)))
    state = probed(state, T0 + 9, farms=OTHER_FARM)
    state = fold_watch_event(
        state, WatchEvent(WatchEventKind.ENDED, T0 + 10, replace(UP, farms=BROKEN_FARM), result=RESET)
    )
    state = fold_watch_event(state, WatchEvent(WatchEventKind.BEGAN, T0 + 30, replace(UP, farms=BROKEN_FARM)))
    assert state.verdict is Verdict.FARM_DOWN


def test_errors_that_the_watch_receives_are_shown_with_what_they_mean_until_the_next_probe() -> None:
    state = fold_watch_event(working(), WatchEvent(WatchEventKind.NEWS, T0 + 3, replace(UP, errors=(10197, 4711))))
    assert state.verdict is Verdict.HEALTHY
    assert state.last is not None
    said = explain(state.last, WATCHED, state.verdict).evidence[-1]
    assert "error 10197: no market data while another session of the same user has it; error 4711" in said
    assert "10197" not in " ".join(explain(report(TRADING), WATCHED, Verdict.HEALTHY).evidence)
    assert session_facts(probed(state, T0 + 60)).errors == ()


def test_the_loss_of_the_servers_is_explained_by_its_own_error_alone() -> None:
    state = fold_watch_event(working(), WatchEvent(WatchEventKind.NEWS, T0 + 3, replace(DOWN, errors=(321, 1100))))
    assert state.last is not None
    said = explain(state.last, WATCHED, state.verdict).evidence[-1]
    assert "lost IBKR's servers (error 1100)" in said
    assert "it sent error 321: a request was refused" in said


def test_the_new_port_is_reported_with_every_failure_of_the_old_one_until_a_session_begins_there_again() -> None:
    moved = replace(UP, errors=(1300,), new_port=4005)
    state = fold_watch_event(working(), WatchEvent(WatchEventKind.NEWS, T0 + 3, moved))
    state = fold_watch_event(state, WatchEvent(WatchEventKind.ENDED, T0 + 3, moved, result=RESET))
    for at in (T0 + 4, T0 + 19):
        closed = merge_watch(report(port_failed(Cause.CONNECT_REFUSED), at, WATCHED), state)
        state = fold(state, closed, judge(closed, WATCHED))
        said = explain(closed, WATCHED, state.verdict)
        assert state.verdict is Verdict.PORT_CLOSED
        assert "The gateway said that its API port is 4005 from now on (error 1300)." in said.evidence
        assert said.actions[0].endswith(
            "point the target paper and your programs at port 4005, else set it back to 7497."
        )
    state = fold_watch_event(probed(state, T0 + 40), WatchEvent(WatchEventKind.BEGAN, T0 + 41, UP))
    closed = merge_watch(report(port_failed(Cause.CONNECT_REFUSED), T0 + 60, WATCHED), state)
    assert "4005" not in " ".join(explain(closed, WATCHED, Verdict.PORT_CLOSED).evidence)


def test_a_probe_that_receives_a_new_port_reports_it_itself() -> None:
    results = failed(Cause.API_ERROR, Outcome.REJECTED, Stage.START_API, session=SessionFacts(new_port=4005))
    said = explain(report(results, target=WATCHED), WATCHED, Verdict.SESSION_REFUSED)
    assert "at port 4005" in said.actions[0]
    same = replace(WATCHED, port=4005)
    assert "4005" not in explain(report(results, target=same), same, Verdict.SESSION_REFUSED).actions[0]


def test_no_more_than_a_few_farms_are_named() -> None:
    farms = tuple(Farm(FarmKind.MARKET, f"farm{number}", connected=False) for number in range(20))
    said = explain(report(told(farms=farms), target=WATCHED), WATCHED, Verdict.FARM_DOWN).evidence[-1]
    assert said.count("is disconnected") == 8
    assert said.endswith("and 12 farms more")
