"""The account download beside the wire: what it makes of the verdict, and for how long."""

from dataclasses import replace

import pytest

from exporter.model import Cause, Layer, LayerResult, Outcome, Report, RequestResult, Stage, Verdict
from exporter.state.fold_download import fold_download, with_download
from exporter.state.target import TargetState, fold, reconfigured
from exporter.verdict.explanation import explain
from exporter.verdict.rules import CONNECTABLE, Severity, judge, severity
from tests.core.states import HANDSHAKE_OK, HEALTHY, PORT_OK, SESSION_OK, T0, TARGET, handshake_failed, report

OPTED_IN = replace(TARGET, download=True)
TRADING = (PORT_OK, HANDSHAKE_OK, SESSION_OK)
DONE = LayerResult(
    layer=Layer.DOWNLOAD, outcome=Outcome.OK, seconds=7.0, requests=(RequestResult(Stage.POSITIONS, 0.1, 3),)
)
STALLED = replace(
    DONE,
    outcome=Outcome.TIMEOUT,
    cause=Cause.SILENCE,
    stage=Stage.EXECUTIONS,
    requests=(RequestResult(Stage.POSITIONS, 0.1, 3), RequestResult(Stage.EXECUTIONS, None, 0)),
)
CUT = replace(STALLED, outcome=Outcome.CLOSED, cause=Cause.EOF)
NOTHING = LayerResult(layer=Layer.DOWNLOAD, outcome=Outcome.UNAVAILABLE, detail="no session was begun for it")


def downloaded(result: LayerResult, at: float = T0 + 5) -> Report:
    return Report(target=OPTED_IN.name, at=at, seconds=2.0, results=(result,), connections=1)


def grown(*results: LayerResult) -> TargetState:
    probed = report(TRADING)
    state = fold(TargetState(OPTED_IN), probed, judge(probed, OPTED_IN))
    for result in results:
        state = fold_download(state, downloaded(result))
    return state


@pytest.mark.parametrize("result", [STALLED, CUT])
def test_a_request_without_an_end_is_the_gateways_fault_at_once(result: LayerResult) -> None:
    state = grown(result)
    assert state.verdict is Verdict.DOWNLOAD_STALLED
    assert state.last is not None
    said = explain(state.last, OPTED_IN, state.verdict)
    assert said.headline == "127.0.0.1:7497 answers, but the account download stalls: executions"
    assert any("UTC format (ib_async#82)" in action for action in said.actions)
    assert any("executions without an end (0 messages)" in line for line in said.evidence)
    assert severity(state.verdict) is Severity.WARNING
    assert state.verdict in CONNECTABLE


def test_a_download_that_is_done_or_says_nothing_leaves_the_target_healthy() -> None:
    assert grown(DONE).verdict is grown(NOTHING).verdict is grown(STALLED, DONE).verdict is Verdict.HEALTHY


def test_the_next_probe_of_the_wire_keeps_the_download_until_it_expires() -> None:
    state = grown(STALLED)
    assert state.download is not None
    later = with_download(report(TRADING), state, state.download.expires)
    assert judge(later, OPTED_IN) is Verdict.DOWNLOAD_STALLED
    assert judge(with_download(report(TRADING), state, state.download.expires + 1), OPTED_IN) is Verdict.HEALTHY


def test_a_wire_that_fails_is_judged_without_the_download() -> None:
    failed = with_download(report(handshake_failed(Cause.SILENCE)), grown(STALLED), T0 + 10)
    assert failed.layer(Layer.DOWNLOAD) is None
    assert judge(failed, OPTED_IN) is Verdict.API_SILENT


def test_each_download_counts_once_however_often_the_wire_is_probed() -> None:
    state = grown(STALLED)
    again = with_download(report(TRADING), state, T0 + 20)
    state = fold(state, again, judge(again, OPTED_IN))
    assert state.probes[Layer.DOWNLOAD, ""] == 1
    assert state.failed[Layer.DOWNLOAD, "", Outcome.TIMEOUT] == 1
    assert state.connections == 2 * report(TRADING).connections + 1


def test_one_that_says_nothing_is_not_counted_as_a_failure() -> None:
    assert (Layer.DOWNLOAD, "") not in grown(NOTHING).probes


def test_a_reload_that_opts_out_forgets_it() -> None:
    state = reconfigured(grown(STALLED), TARGET, ())
    assert state.download is None
    assert state.verdict is Verdict.HEALTHY


def test_our_own_fault_is_no_result() -> None:
    state = fold_download(grown(), Report(target=TARGET.name, at=T0, seconds=0.0, results=(), fault="OSError: no"))
    assert (state.download, state.verdict) == (None, Verdict.HEALTHY)
    assert fold_download(TargetState(OPTED_IN), downloaded(STALLED)).verdict is Verdict.UNKNOWN
    assert judge(report(HEALTHY), TARGET) is Verdict.HEALTHY
