import json
from dataclasses import replace

from exporter.model import Cause, Layer, LayerResult, Mode, Outcome, Stage, Target, Verdict
from exporter.state.target import TargetState
from exporter.verdict.rules import judge
from exporter.web import pages
from tests.core.states import CASES, NOW, after, every_verdict, in_verdict, no_reply, report_of, target

# The object that `diagnose --json` prints, in the order of the public interface.
FIELDS = [
    "target",
    "host",
    "port",
    "at",
    "verdict",
    "headline",
    "evidence",
    "actions",
    "runbook",
    "server_version",
    "server_release",
    "layers",
]
LAYER_FIELDS = ["layer", "client", "outcome", "seconds", "stage", "detail"]


def test_a_report_has_exactly_the_promised_fields_in_their_order() -> None:
    made = report_of("paper", CASES[Verdict.API_SILENT])
    answer = pages.report_json(target("paper"), made, judge(made, target("paper")))
    assert list(answer) == FIELDS
    assert [list(layer)[:6] for layer in answer["layers"]] == [LAYER_FIELDS] * 2
    assert answer["at"] == "2026-11-21T02:00:15Z"
    assert answer["verdict"] == answer["runbook"] == "api_silent"
    assert answer["server_version"] is None
    assert answer["layers"][0] | {"detail": "", "stages": {}} == {
        "layer": "port", "client": None, "outcome": "ok", "seconds": 0.00031, "stage": None, "detail": "",
        "cause": None, "stages": {}, "clock": "kernel",
    }  # fmt: skip
    assert answer["layers"][1]["stage"] == "reply"
    assert answer["layers"][1]["cause"] == "silence"


def test_the_server_version_is_a_number_and_the_clock_of_a_time_is_named() -> None:
    answer = pages.report_json(target("paper"), report_of("paper", CASES[Verdict.HEALTHY]), Verdict.HEALTHY)
    assert answer["server_version"] == 226
    assert answer["server_release"] == "10.50 or newer"
    assert answer["layers"][1]["clock"] == "kernel"
    assert answer["actions"] == []


def test_a_client_is_named_beside_its_layer() -> None:
    bad = LayerResult(
        layer=Layer.CLIENT, outcome=Outcome.TIMEOUT, seconds=15.0, stage=Stage.CONNECT, client="ib_insync"
    )
    answer = pages.report_json(
        target("paper"), report_of("paper", (*CASES[Verdict.HEALTHY], bad)), Verdict.CLIENT_FAULT
    )
    assert answer["layers"][2] | {"detail": ""} == {
        "layer": "client", "client": "ib_insync", "outcome": "timeout", "seconds": 15.0, "stage": "connect", "detail": "",
        "cause": None, "stages": {}, "clock": None,
    }  # fmt: skip


def test_the_status_has_every_target_with_the_fields_of_a_report_first_and_counts_them() -> None:
    states = every_verdict()
    answer = json.loads(json.dumps(pages.status(states, NOW), allow_nan=False))
    assert [entry["target"] for entry in answer["targets"]] == [state.target.name for state in states]
    assert all(list(entry)[: len(FIELDS)] == FIELDS for entry in answer["targets"])
    assert [entry["verdict"] for entry in answer["targets"]] == [state.target.name for state in states]
    assert answer["summary"] == {"critical": 9, "warning": 2, "ok": 1, "unknown": 1}
    assert sum(answer["verdicts"].values()) == len(states)
    assert answer["at"] == "2026-11-21T02:00:20Z"


def test_a_target_tells_since_when_how_often_and_what_was_before() -> None:
    entry = pages.status([in_verdict(Verdict.API_SILENT)], NOW)["targets"][0]
    assert entry["since"] == "2026-11-21T01:48:15Z"
    assert entry["age"] == 5.0
    assert entry["up"] is False
    assert [change["verdict"] for change in entry["changes"]] == ["healthy", "api_silent"]
    assert entry["connections"] == 6
    assert entry["probes"][1] == {
        "layer": "handshake", "client": None, "done": 6, "failed": {"timeout": 3}, "last": "2026-11-21T02:00:15Z",
    }  # fmt: skip


def test_what_is_unknown_is_null_and_not_false() -> None:
    never = pages.status([TargetState(target("paper"))], NOW)["targets"][0]
    assert (never["verdict"], never["at"], never["since"], never["up"], never["age"]) == (
        "unknown",
        None,
        None,
        None,
        None,
    )
    broken = pages.status([in_verdict(Verdict.PROBE_BROKEN)], NOW)["targets"][0]
    assert (broken["up"], broken["layers"]) == (None, [])
    assert "Too many open files" in broken["evidence"][0]


def test_an_expired_state_is_unknown_since_it_expired_and_keeps_its_layers_to_itself() -> None:
    state = after(TargetState(target("paper")), (500, CASES[Verdict.HEALTHY]))
    entry = pages.status([state], NOW)["targets"][0]
    assert (entry["verdict"], entry["expired"], entry["up"], entry["layers"]) == ("unknown", True, None, [])
    assert entry["since"] == "2026-11-21T01:52:45Z"
    assert entry["server_version"] is None
    fresh = pages.status([after(state, (20, CASES[Verdict.HEALTHY]))], NOW)["targets"][0]
    assert (fresh["verdict"], fresh["expired"], fresh["up"]) == ("healthy", False, True)


def test_an_answer_of_a_peer_goes_into_json_whatever_it_holds() -> None:
    detail = 'it said "\\x00\\ud800" </script>'
    made = report_of("paper", no_reply(Outcome.GARBLED, Cause.MALFORMED, 0.1, detail))
    answer = pages.report_json(replace(Target("x", "::1", 1, Mode.LIVE), labels={"a": "b"}), made, Verdict.NOT_TWS_API)
    assert json.loads(json.dumps(answer))["layers"][1]["detail"] == detail


def test_the_pieces_of_the_text_are_the_status() -> None:
    for states in ([], every_verdict()[:1], every_verdict()):
        pieces = list(pages.status_text(states, NOW))
        assert len(pieces) == len(states) + 2
        assert json.loads("".join(pieces)) == pages.status(states, NOW)
