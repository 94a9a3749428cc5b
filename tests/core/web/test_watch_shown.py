"""The session and the watch as people and programs see them: JSON, page, no account number but the configured one."""

import json
from dataclasses import replace

from exporter.model import Cause, Layer, LayerResult, Outcome, SessionFacts, Stage
from exporter.protocol.error_codes import error_texts
from exporter.state.fold_watch import fold_watch_event
from exporter.state.suspension import WatchRelease
from exporter.state.target import TargetState
from exporter.state.watch_events import WatchEvent, WatchEventKind
from exporter.web.pages.status_json import state_json
from exporter.web.pages.target import describe
from tests.core.states import HEALTHY, T0, TARGET, TRADING, grown

WATCHED = replace(TARGET, client_ids=(9001, 9002), account="DU1234567", watch=True)
UP = SessionFacts(client_id=9002, upstream=True)
RESET = LayerResult(
    layer=Layer.SESSION, outcome=Outcome.CLOSED, seconds=9.0, stage=Stage.CURRENT_TIME, cause=Cause.RESET
)


def connected() -> TargetState:
    return fold_watch_event(grown(TRADING, target=WATCHED), WatchEvent(WatchEventKind.BEGAN, T0 + 1, UP))


def fact(state: TargetState, name: str) -> str:
    return dict(describe(state, T0 + 10).facts)[name]


def test_the_json_of_a_session_tells_everything_but_the_numbers_of_other_accounts() -> None:
    shown = state_json(grown(TRADING, target=WATCHED), T0 + 1)
    [port, handshake, session] = shown["layers"]
    assert "session" not in port
    assert "session" not in handshake
    assert session["session"]["accounts"] == ["DU1234567", "DU…321"]
    assert session["session"]["upstream"] is True
    assert session["session"]["farms"][0] == {"kind": "definitions", "name": "secdefil", "connected": True}
    assert "DU7654321" not in json.dumps(shown)


def test_a_target_without_a_watch_shows_none() -> None:
    state = grown(HEALTHY)
    assert state_json(state, T0)["watch"] is None
    assert fact(state, "Watch") == "none"


def test_a_connected_watch_is_shown_with_its_client_id_and_since_when() -> None:
    watch = state_json(connected(), T0 + 10)["watch"]
    assert watch == {
        "connected": True,
        "since": "2026-11-21T02:00:01Z",
        "client_id": 9002,
        "ended": None,
        "suspended": False,
    }
    assert fact(connected(), "Watch") == "connected for 9 s"


def test_a_watch_that_is_suspended_says_so() -> None:
    state = replace(connected(), release=WatchRelease(times=1, limit=True))
    watch = state_json(state, T0 + 10)["watch"]
    assert watch["suspended"] is True
    assert fact(state, "Watch").startswith("suspended until the configuration is reloaded")


def test_a_watch_that_is_gone_says_why() -> None:
    state = fold_watch_event(connected(), WatchEvent(WatchEventKind.ENDED, T0 + 5, UP, result=RESET))
    assert state_json(state, T0 + 10)["watch"]["ended"] == "reset"
    assert fact(state, "Watch") == "not connected for 5 s (reset)"


def test_a_watch_that_was_refused_shows_the_reason() -> None:
    told = replace(RESET, detail=error_texts((1300, 4711)))
    state = fold_watch_event(connected(), WatchEvent(WatchEventKind.ENDED, T0 + 5, UP, result=told))
    shown = "reset; error 1300: its API port was changed, and sessions on the old one are dropped; error 4711"
    assert fact(state, "Watch") == f"not connected for 5 s ({shown})"
    assert state_json(state, T0 + 10)["layers"][2]["session"]["new_port"] is None


def test_the_age_of_a_watched_target_is_that_of_its_last_heartbeat() -> None:
    state = fold_watch_event(connected(), WatchEvent(WatchEventKind.ANSWERED, T0 + 58, UP))
    shown = state_json(state, T0 + 60)
    assert (shown["age"], shown["expired"], shown["verdict"]) == (2.0, False, "healthy")
    later = state_json(state, T0 + 58 + 46)
    assert (later["expired"], later["verdict"], later["since"]) == (True, "unknown", "2026-11-21T02:01:43Z")
