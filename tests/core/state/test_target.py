from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.exposition import exposition
from exporter.model import Cause, Layer, Outcome, Report, ServerHello, Verdict
from exporter.state.claims import claims, current_verdict, expired
from exporter.state.histogram import HANDSHAKE_BUCKETS, Histogram
from exporter.state.kept_reports import KEPT_ACCOUNTS, kept
from exporter.state.target import (
    KEPT_CHANGES,
    KEPT_FAILURES,
    KEPT_REPORTS,
    LEAST_DEADLINE,
    PAUSE,
    TargetState,
    fold,
    follow_up,
    missing_silence,
    reconfigured,
    revise,
)
from exporter.verdict.rules import judge
from tests.core.states import (
    CLIENT_HUNG,
    CLIENT_OK,
    HEALTHY,
    SESSION_OK,
    T0,
    TARGET,
    TRADING,
    grown,
    handshake_failed,
    port_failed,
    report,
    tried,
)

SILENT = handshake_failed(Cause.SILENCE)
CLOSED = port_failed(Cause.CONNECT_REFUSED)


def test_a_state_begins_knowing_nothing() -> None:
    state = TargetState(TARGET)
    assert current_verdict(state, T0) is Verdict.UNKNOWN
    assert claims(state, T0) is None


def test_a_verdict_keeps_its_beginning_until_it_changes() -> None:
    state = grown(HEALTHY, SILENT, SILENT, SILENT)
    assert (state.verdict, state.since) == (Verdict.API_SILENT, T0 + TARGET.interval)
    assert [change.verdict for change in state.changes] == [Verdict.HEALTHY, Verdict.API_SILENT]


def test_counters_count_what_was_probed_and_not_what_was_skipped() -> None:
    state = grown(HEALTHY, CLOSED, SILENT)
    assert state.probes == {(Layer.PORT, ""): 3, (Layer.HANDSHAKE, ""): 2}
    assert state.failed == {(Layer.PORT, "", Outcome.REFUSED): 1, (Layer.HANDSHAKE, "", Outcome.TIMEOUT): 1}
    assert state.connections == 3
    assert state.probed_at == {
        (Layer.PORT, ""): T0 + 2 * TARGET.interval,
        (Layer.HANDSHAKE, ""): T0 + 2 * TARGET.interval,
    }


def test_only_successes_are_observed_as_durations() -> None:
    state = grown(HEALTHY, SILENT, CLOSED)
    assert sum(state.connect.counts) == 2
    assert sum(state.handshake.counts) == 1
    assert state.handshake.total == 0.0042


def test_failures_are_kept_longer_than_successes() -> None:
    state = grown(*[SILENT] * 3, *[HEALTHY] * (KEPT_REPORTS + 5))
    assert all(judged.verdict is Verdict.HEALTHY for judged in state.recent)
    assert [judged.verdict for judged in state.failures] == [Verdict.API_SILENT] * 3


def test_nothing_grows_without_bound() -> None:
    state = grown(*[HEALTHY, SILENT, CLOSED] * 100)
    assert (len(state.recent), len(state.failures), len(state.changes)) == (KEPT_REPORTS, KEPT_FAILURES, KEPT_CHANGES)


def test_a_state_older_than_three_intervals_claims_nothing() -> None:
    state = grown(HEALTHY)
    still, over = T0 + 3 * TARGET.interval, T0 + 3 * TARGET.interval + 0.001
    assert not expired(state, still)
    assert claims(state, still) is state.last
    assert expired(state, over)
    assert claims(state, over) is None
    assert current_verdict(state, over) is Verdict.UNKNOWN


def test_a_fault_of_ours_claims_nothing_about_the_target() -> None:
    state = fold(grown(HEALTHY), report((), T0 + 15, fault="MemoryError: "), Verdict.PROBE_BROKEN)
    assert claims(state, T0 + 15) is None
    assert state.verdict is Verdict.PROBE_BROKEN


def test_folding_leaves_the_state_before_as_it_was() -> None:
    before = grown(HEALTHY)
    copy = replace(before, probes=dict(before.probes))
    fold(before, report(SILENT, T0 + 15), Verdict.API_SILENT)
    assert before == copy


@given(st.lists(st.floats(0.0, 20.0), max_size=50))
def test_a_histogram_counts_every_observation_in_the_first_bucket_that_holds_it(values: list[float]) -> None:
    histogram = Histogram.empty(HANDSHAKE_BUCKETS)
    for value in values:
        histogram = histogram.observe(value)
    bounds = (*HANDSHAKE_BUCKETS, float("inf"))
    expected = [0] * len(bounds)
    for value in values:
        expected[next(place for place, bound in enumerate(bounds) if value <= bound)] += 1
    assert list(histogram.counts) == expected


def test_of_a_client_that_is_no_longer_configured_no_label_is_left() -> None:
    target = replace(TARGET, clients=("ibapi", "gone"))
    state = grown(HEALTHY, target=target)
    state = tried(state, *(replace(CLIENT_HUNG, client=name) for name in target.clients))
    after = reconfigured(state, replace(target, clients=("ibapi",)), {"gone"})
    assert {client for _, client in after.probes} == {"", "ibapi"}
    assert {client for _, client, _ in after.failed} == {"ibapi"}
    assert {client for _, client in after.probed_at} == {"", "ibapi"}
    assert set(after.client_probes) == {"ibapi"}
    assert after.last is not None
    assert {result.client for result in after.last.results} == {None, "ibapi"}
    assert "gone" not in "".join(exposition([after], T0 + 1))


def test_after_a_reload_the_verdict_is_that_of_the_new_configuration() -> None:
    """Not that of the old one in the words of the new one, for as long as the next probe takes."""
    state = grown(TRADING, target=replace(TARGET, account="DU1111111", client_ids=(9001,)))
    assert state.verdict is Verdict.ACCOUNT_MISSING
    after = reconfigured(state, replace(state.target, account="DU1234567"), ())
    assert after.verdict is Verdict.HEALTHY
    assert [change.verdict for change in after.changes] == [Verdict.ACCOUNT_MISSING, Verdict.HEALTHY]
    assert reconfigured(after, after.target, ()) == after


def test_a_probe_that_the_watch_overtook_begins_no_verdict_before_the_one_it_ends() -> None:
    state = grown(HEALTHY)
    seen = revise(state, replace(report(HEALTHY, T0 + 16), seconds=0.0), Verdict.UPSTREAM_DOWN)
    after = fold(seen, replace(report(SILENT, T0 + 15), seconds=2.0), Verdict.API_SILENT)
    assert [change.at for change in after.changes] == [T0, T0 + 16, T0 + 16]
    set_back = fold(seen, replace(report(SILENT, T0 - 3600), seconds=2.0), Verdict.API_SILENT)
    assert set_back.since == T0 - 3600  # another matter: the machine's clock was set


def test_only_the_last_report_names_the_accounts_of_an_adviser_with_thousands() -> None:
    """A gateway could fill the memory with them, twenty reports for each target."""
    assert SESSION_OK.session is not None
    accounts = tuple(f"DU{number:07}" for number in range(KEPT_ACCOUNTS + 1))
    many = (*HEALTHY, replace(SESSION_OK, session=replace(SESSION_OK.session, accounts=accounts)))
    state = grown(many, many, TRADING, many, target=replace(TARGET, account=accounts[0], client_ids=(9001,)))
    state = tried(state, CLIENT_HUNG)

    def named(report: Report | None) -> tuple[str, ...] | None:
        return next(result.session.accounts for result in report.results if result.session) if report else None

    assert named(state.last) == accounts
    few = SESSION_OK.session.accounts
    assert [named(judged.report) for judged in state.recent] == [None, None, few, None]
    assert [named(judged.report) for judged in state.failures] == [few]  # the one that lacks the account


def test_a_kept_report_is_the_report_in_a_fraction_of_its_memory() -> None:
    for results in (HEALTHY, TRADING, SILENT):
        whole = replace(report(results), fault="a bug", remarks=("a remark",), lower_hello=ServerHello(100, "now"))
        judged = kept(whole, Verdict.HEALTHY)

        assert judged.report == whole
        assert len(judged.packed) < 800
        assert "DU" not in repr(judged)


def silent(at: float, seconds: float) -> Report:
    return replace(report(SILENT), at=at, seconds=seconds)


def folded(*reports: Report) -> TargetState:
    state = TargetState(TARGET)
    for each in reports:
        state = fold(state, each, judge(each, TARGET))
    return state


def test_a_silence_lasts_from_the_first_unanswered_handshake_to_the_end_of_the_last() -> None:
    state = folded(silent(T0, 5.0), silent(T0 + 5.0, 3.5))
    assert state.silence is not None
    assert state.silence.seconds == 8.5


def test_an_answer_or_another_failure_ends_a_silence_and_a_fault_of_ours_does_not() -> None:
    answered, closed = (replace(report(each), at=T0 + 20.0) for each in (HEALTHY, CLOSED))
    assert folded(silent(T0, 5.0), answered).silence is None
    assert folded(silent(T0, 5.0), closed).silence is None
    broken = Report(target=TARGET.name, at=T0 + 20.0, seconds=0.1, results=(), fault="too many open files")
    assert folded(silent(T0, 5.0), broken).silence == folded(silent(T0, 5.0)).silence


def test_a_handshake_with_a_lower_hello_is_no_answer_to_ours_and_only_its_connections_count() -> None:
    lowered = replace(folded(silent(T0, 5.0)), lower_hello=ServerHello(176, ""))
    state = tried(lowered, CLIENT_OK)
    assert state.silence == lowered.silence
    assert state.handshake_at is None
    assert state.connections == lowered.connections + 2
    assert state.probes[Layer.HANDSHAKE, ""] == lowered.probes[Layer.HANDSHAKE, ""]


def test_the_last_handshake_that_worked_is_remembered_through_the_failures_after_it() -> None:
    answered = replace(report(HEALTHY), at=T0)
    assert folded(answered, silent(T0 + 15.0, 5.0)).handshake_at == T0


def test_a_target_that_falls_silent_is_to_be_probed_at_once_until_it_is_no_pause() -> None:
    assert missing_silence(folded(silent(T0, 5.0))) == (0.0, PAUSE - 5.0)
    assert missing_silence(folded(silent(T0, 1.0))) == (0.0, PAUSE - 1.0)
    assert missing_silence(folded(silent(T0, PAUSE - 0.1))) == (0.0, LEAST_DEADLINE)
    assert missing_silence(folded(silent(T0, 5.0), silent(T0 + 5.0, PAUSE - 5.0))) is None


def broken_off(at: float, seconds: float) -> Report:
    return replace(report(handshake_failed(Cause.BROKEN_OFF, Outcome.CLOSED)), at=at, seconds=seconds)


def test_after_half_an_answer_a_whole_probe_follows_once_the_rest_of_a_pause_is_over() -> None:
    once = folded(broken_off(T0, 0.5))
    assert missing_silence(once) == (PAUSE - 0.5, None)
    again = folded(broken_off(T0, 0.5), broken_off(T0 + PAUSE, 0.1))
    assert again.silence is not None
    assert again.silence.seconds >= PAUSE
    assert missing_silence(again) is None
    assert missing_silence(folded(silent(T0, 5.0), broken_off(T0 + 5.0, 0.5))) == (PAUSE - 5.5, None)


def test_the_first_failure_of_a_target_that_worked_is_probed_again_at_once_and_once_alone() -> None:
    refused = port_failed(Cause.CONNECT_REFUSED)
    failed = grown(HEALTHY, refused)
    assert follow_up(failed) == (0.0, None)
    assert follow_up(grown(HEALTHY, refused, refused)) is None
    assert follow_up(grown(refused)) is None, "it has not worked before"
    assert follow_up(grown(HEALTHY)) is None
    often = replace(failed, target=replace(TARGET, interval=PAUSE / 2, deadline=1.0))
    assert follow_up(often) is None, "its next tick comes soon anyway"
    assert follow_up(folded(silent(T0, 5.0))) == missing_silence(folded(silent(T0, 5.0)))


def test_a_target_that_answers_or_is_probed_often_anyway_is_not_probed_at_once() -> None:
    assert missing_silence(grown(HEALTHY)) is None
    assert missing_silence(grown(CLOSED)) is None
    often = replace(folded(silent(T0, 1.0)), target=replace(TARGET, interval=4.0))
    assert missing_silence(often) is None
