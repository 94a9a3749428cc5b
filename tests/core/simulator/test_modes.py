"""The simulator's table of modes and its timelines."""

import asyncio

import pytest

from exporter.model import Verdict
from exporter.simulator.modes import MODES, find_mode
from exporter.simulator.timeline import ModeChange, play_timeline, read_timeline

ASKED_FOR = """
    ok refused backlog_full silent close_at_once reset_at_once close_after_hello slow bytewise split_reply garbage
    huge_length half_reply http vnc redirect too_old handshake_then_silence id_in_use id_in_use_open bad_message
    close_after_start_api reset_after_start_api no_accounts requests_unanswered upstream_lost upstream_broken
    farm_broken freeze_after flapping relay
"""


def test_every_mode_that_was_asked_for_is_there() -> None:
    assert set(ASKED_FOR.split()) <= set(MODES)


def test_each_mode_says_in_a_line_of_its_own_what_a_client_sees() -> None:
    assert len({mode.sees for mode in MODES.values()}) == len(MODES)


def test_every_verdict_that_wire_layers_can_give_has_a_mode() -> None:
    elsewhere = {  # about us, about names, and about client libraries
        Verdict.PROBE_BROKEN,
        Verdict.NAME_UNRESOLVED,
        Verdict.CONTRACT_DETAILS_STALLED,
        Verdict.CLIENTS_FAILING,
        Verdict.CLIENT_FAULT,
        Verdict.CLIENT_BREAKS_GATEWAY,
        Verdict.NEW_CONNECTIONS_SILENT,  # needs a session that exists: the mode sessions_only beside the watch
        Verdict.UNKNOWN,
    }
    assert {mode.verdict for mode in MODES.values()} | elsewhere == set(Verdict)


def test_what_only_the_session_sees_looks_healthy_to_the_handshake() -> None:
    assert MODES["id_in_use"].handshake_verdict is Verdict.HEALTHY
    assert MODES["id_in_use"].session_verdict is Verdict.CLIENT_ID_IN_USE
    assert MODES["silent"].handshake_verdict is MODES["silent"].session_verdict is Verdict.API_SILENT


def test_a_mode_is_found_with_hyphens_too_and_an_unknown_one_is_told_the_names() -> None:
    assert find_mode(" Close-At-Once ").name == "close_at_once"
    with pytest.raises(ValueError, match="no mode is called 'asleep'; the modes are ok, refused"):
        find_mode("asleep")


def test_a_timeline_counts_from_the_start() -> None:
    assert read_timeline("0s:ok, 30s:silent,2m:close-at-once,1h:repeat") == (
        ModeChange(0, "ok"),
        ModeChange(30, "silent"),
        ModeChange(120, "close_at_once"),
        ModeChange(3600, "repeat"),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is not of the form 30s:silent"),
        ("0s:ok,silent", "'silent' is not of the form"),
        ("0s:ok,0s:silent", "'0s:silent' does not come after 0s:ok"),
        ("0s:ok,9s:repeat,10s:ok", "'10s:ok' does not come after 9s:repeat"),
        ("0s:repeat", "a timeline cannot start with repeat"),
        ("0s:asleep", "no mode is called 'asleep'"),
    ],
)
def test_a_wrong_timeline_is_told_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_timeline(text)


class Clock:
    """A clock that moves only by sleeping, a little too long each time; after `end` it cancels the sleeper."""

    def __init__(self, end: float) -> None:
        """Start at 100."""
        self.time, self.end = 100.0, 100.0 + end

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds + 0.2
        if self.time > self.end:
            raise asyncio.CancelledError


async def test_a_timeline_that_repeats_keeps_its_beat() -> None:
    clock = Clock(72.0)
    seen: list[tuple[float, str]] = []

    async def set_mode(mode: str) -> None:
        seen.append((clock.time - 100.0, mode))
        clock.time += 1.0  # a slow change must not move the later ones

    with pytest.raises(asyncio.CancelledError):
        await play_timeline(read_timeline("0s:ok,10s:silent,30s:repeat"), set_mode, now=clock.now, sleep=clock.sleep)
    assert [(round(at, 1), mode) for at, mode in seen] == [
        (0.2, "ok"),
        (10.2, "silent"),
        (30.4, "ok"),  # it slept once more, to the moment of the repeat
        (40.2, "silent"),
        (60.4, "ok"),  # and the errors do not add up
        (70.2, "silent"),
    ]
