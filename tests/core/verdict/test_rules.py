import re
from dataclasses import replace

import pytest

from exporter.model import Cause, Layer, LayerResult, Outcome, Stage, Verdict
from exporter.text import duration
from exporter.verdict.actions import REMEDIES
from exporter.verdict.explanation import explain, headline
from exporter.verdict.rules import CLAIMLESS, CONNECTABLE, RULES, RULES_WITHOUT_FAILURE, Severity, judge, severity
from tests.core.states import (
    HANDSHAKE_OK,
    HEALTHY,
    PORT_OK,
    SESSION_OK,
    TARGET,
    TRADING,
    handshake_failed,
    port_failed,
    report,
)

CASES = [
    (port_failed(Cause.NAME_UNKNOWN, Outcome.UNAVAILABLE), Verdict.NAME_UNRESOLVED),
    (port_failed(Cause.NAME_TIMEOUT, Outcome.TIMEOUT), Verdict.NAME_UNRESOLVED),
    (port_failed(Cause.CONNECT_TIMEOUT, Outcome.TIMEOUT), Verdict.UNREACHABLE),
    (port_failed(Cause.NO_ROUTE, Outcome.UNAVAILABLE), Verdict.UNREACHABLE),
    (port_failed(Cause.CONNECT_REFUSED), Verdict.PORT_CLOSED),
    (handshake_failed(Cause.EOF, Outcome.CLOSED), Verdict.CLOSED_BEFORE_HANDSHAKE),
    (handshake_failed(Cause.RESET, Outcome.CLOSED), Verdict.CLOSED_BEFORE_HANDSHAKE),
    (handshake_failed(Cause.SILENCE), Verdict.API_SILENT),
    (handshake_failed(Cause.UNFINISHED), Verdict.API_SILENT),
    (handshake_failed(Cause.BROKEN_OFF, Outcome.CLOSED), Verdict.API_SILENT),
    (handshake_failed(Cause.HTTP, Outcome.GARBLED), Verdict.NOT_TWS_API),
    (handshake_failed(Cause.TLS, Outcome.GARBLED), Verdict.NOT_TWS_API),
    (handshake_failed(Cause.VNC, Outcome.GARBLED), Verdict.NOT_TWS_API),
    (handshake_failed(Cause.SSH, Outcome.GARBLED), Verdict.NOT_TWS_API),
    (handshake_failed(Cause.OVERSIZED, Outcome.GARBLED), Verdict.NOT_TWS_API),
    (handshake_failed(Cause.MALFORMED, Outcome.GARBLED), Verdict.NOT_TWS_API),
    (handshake_failed(Cause.REDIRECT, Outcome.REJECTED), Verdict.SERVER_REDIRECT),
    (handshake_failed(Cause.TOO_OLD, Outcome.REJECTED), Verdict.SERVER_TOO_OLD),
    (handshake_failed(Cause.API_ERROR, Outcome.REJECTED), Verdict.SESSION_REFUSED),
    ((PORT_OK, replace(HANDSHAKE_OK, seconds=1.5)), Verdict.SLOW),
    ((PORT_OK, HANDSHAKE_OK, replace(SESSION_OK, stages=((Stage.CURRENT_TIME, 1.5),))), Verdict.SLOW),
    (HEALTHY, Verdict.HEALTHY),
]


@pytest.mark.parametrize(("results", "verdict"), CASES, ids=lambda value: value if isinstance(value, Verdict) else "")
def test_each_way_to_end_has_its_verdict(results: tuple[LayerResult, ...], verdict: Verdict) -> None:
    assert judge(report(results), TARGET) is verdict


@pytest.mark.parametrize(("results", "verdict"), CASES, ids=lambda value: value if isinstance(value, Verdict) else "")
def test_each_verdict_is_explained_by_the_layer_that_decided(
    results: tuple[LayerResult, ...], verdict: Verdict
) -> None:
    explanation = explain(report(results), TARGET, verdict)
    assert "127.0.0.1" in explanation.headline
    assert explanation.evidence
    assert not re.search(r"\{\w+\}", " ".join((explanation.headline, *explanation.evidence, *explanation.actions)))
    assert bool(explanation.actions) is (verdict is not Verdict.HEALTHY)


def test_a_fault_of_ours_is_never_the_targets() -> None:
    broken = report(handshake_failed(Cause.SILENCE), fault="OSError: too many open files")
    assert judge(broken, TARGET) is Verdict.PROBE_BROKEN
    assert explain(broken, TARGET, Verdict.PROBE_BROKEN).evidence[0] == "We failed: OSError: too many open files"


def test_a_case_without_a_rule_is_our_fault_and_not_health() -> None:
    odd = (
        PORT_OK,
        LayerResult(layer=Layer.HANDSHAKE, outcome=Outcome.CRASHED, seconds=0.1, stage=Stage.REPLY, cause=None),
    )
    assert judge(report(odd), TARGET) is Verdict.PROBE_BROKEN
    assert judge(report(()), TARGET) is Verdict.PROBE_BROKEN


def test_the_rules_stand_in_the_order_of_the_contract() -> None:
    order = list(Verdict)
    places = [order.index(verdict) for verdict, _ in RULES]
    assert places == sorted(places)


BEHIND = {layer: (PORT_OK, HANDSHAKE_OK, SESSION_OK)[:place] for place, layer in enumerate(Layer)}
ENDS = [
    LayerResult(layer=layer, outcome=outcome, cause=cause, stage=stage, seconds=0.1)
    for layer in Layer
    for outcome in Outcome
    for cause in (None, *Cause)
    for stage in (None, Stage.START_API, Stage.NEXT_VALID_ID, Stage.CURRENT_TIME)
]


def test_the_rules_that_are_left_out_for_a_clean_report_could_not_apply() -> None:
    assert len(RULES_WITHOUT_FAILURE) < len(RULES) / 2
    for result in ENDS:
        each = report((*BEHIND[result.layer], result))
        first = next((verdict for verdict, rule in RULES if rule(each, TARGET)), Verdict.PROBE_BROKEN)
        assert judge(each, TARGET) is first, result


def test_a_handshake_at_the_limit_is_not_slow() -> None:
    at_limit = (PORT_OK, replace(HANDSHAKE_OK, seconds=TARGET.slow_after))
    assert judge(report(at_limit), TARGET) is Verdict.HEALTHY


def test_every_verdict_has_words_and_a_severity() -> None:
    assert set(REMEDIES) == set(Verdict)
    assert severity(Verdict.HEALTHY) is Severity.OK
    assert severity(Verdict.UNKNOWN) is Severity.UNKNOWN
    assert severity(Verdict.SLOW) is Severity.WARNING
    assert severity(Verdict.API_SILENT) is Severity.CRITICAL


def test_no_verdict_that_claims_nothing_is_up() -> None:
    assert not CONNECTABLE & CLAIMLESS


def test_hostile_bytes_of_a_peer_cannot_break_the_evidence() -> None:
    detail = "{endpoint} {0} %s <b>\n"
    odd = (
        PORT_OK,
        LayerResult(
            layer=Layer.HANDSHAKE,
            outcome=Outcome.GARBLED,
            seconds=0.1,
            stage=Stage.REPLY,
            cause=Cause.MALFORMED,
            detail=detail,
        ),
    )
    assert detail in explain(report(odd), TARGET, Verdict.NOT_TWS_API).evidence[1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00031, "0.31 ms"), (0.0121, "12 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (5.0, "5.0 s"), (61.26, "61.3 s")],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("outcome", "stage", "cause", "words"),
    [
        (Outcome.TIMEOUT, Stage.CURRENT_TIME, Cause.SILENCE, "begins the session, but answers no request"),
        (Outcome.TIMEOUT, Stage.MANAGED_ACCOUNTS, Cause.UNFINISHED, "only in part: managedAccounts never came"),
        (Outcome.GARBLED, Stage.NEXT_VALID_ID, Cause.MALFORMED, "then sends what is no message of this API"),
        (Outcome.CLOSED, Stage.CURRENT_TIME, Cause.EOF, "begins the session, then ends the connection"),
    ],
)
def test_a_stalled_session_says_how_it_stalled(outcome: Outcome, stage: Stage, cause: Cause, words: str) -> None:
    session = LayerResult(layer=Layer.SESSION, outcome=outcome, seconds=5.0, stage=stage, cause=cause)
    stalled = report((PORT_OK, HANDSHAKE_OK, session))
    assert judge(stalled, TARGET) is Verdict.SESSION_STALLED
    assert words in headline(stalled, TARGET, Verdict.SESSION_STALLED)


def test_a_healthy_gateway_that_moves_its_port_says_so_in_the_headline_and_what_to_do() -> None:
    moved = replace(report(TRADING), new_port=4005)
    assert headline(moved, TARGET, Verdict.HEALTHY).endswith("is healthy, and moves its API to port 4005")
    assert judge(moved, TARGET) is Verdict.HEALTHY
    assert "point the target paper and your programs at port 4005" in explain(moved, TARGET, Verdict.HEALTHY).actions[0]
    assert headline(report(TRADING), TARGET, Verdict.HEALTHY).endswith("is healthy")


def test_a_dead_api_is_first_revived_without_a_restart_and_last_with_the_second_factor() -> None:
    actions = explain(report(handshake_failed(Cause.SILENCE)), TARGET, Verdict.API_SILENT).actions
    steps = [
        next(i for i, line in enumerate(actions) if word in line)
        for word in ("and back", "File > Restart", "File > Exit")
    ]
    assert steps == sorted(steps)


def test_at_a_closed_port_of_this_machine_wsl_and_containers_are_named() -> None:
    said = explain(report(port_failed(Cause.CONNECT_REFUSED)), TARGET, Verdict.PORT_CLOSED)
    assert any("WSL" in line for line in said.evidence)
    assert any("host.docker.internal" in line for line in said.actions)
