"""What the watch sees of a target, and what that leaves known: frozen values, folded into the target's state."""

from dataclasses import dataclass, field
from enum import StrEnum

from exporter.model import LayerResult, SessionFacts


class WatchEventKind(StrEnum):
    """One kind of thing that the watch can see."""

    BEGAN = "began"  # its session has begun, and a request was answered
    TOLD = "told"  # the gateway said something new: a link or a farm lost or restored
    ANSWERED = "answered"  # a heartbeat was answered
    UNANSWERED = "unanswered"  # a heartbeat is late: something may be wrong
    ENDED = "ended"  # its session or its connection is over, or never came about


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One thing that the watch saw, at unix time `at`.

    `since` is when the request was sent that is still unanswered, in unix seconds. `result` says how a session ended;
    None where we ended it. `opened` counts the TCP connections opened since the sighting before.
    """

    kind: WatchEventKind
    at: float
    facts: SessionFacts = field(default_factory=SessionFacts)
    since: float | None = None
    result: LayerResult | None = None
    opened: int = 0


@dataclass(frozen=True, slots=True)
class WatchState:
    """What the watch of one target knows.

    `at` is its last sign of life, `since` when it was connected or lost, `told_at` when it last heard something new.
    """

    connected: bool = False
    at: float | None = None
    since: float | None = None
    told_at: float | None = None
    late: bool = False  # a heartbeat is unanswered
    facts: SessionFacts = field(default_factory=SessionFacts)
    ended: LayerResult | None = None


def apply_event(watched: WatchState, sighting: WatchEvent) -> WatchState:
    """What is known after one more sighting."""
    match sighting.kind:
        case WatchEventKind.BEGAN:
            at = sighting.at
            return WatchState(connected=True, at=at, since=at, told_at=at, facts=sighting.facts)
        case WatchEventKind.ENDED:
            return WatchState(at=watched.at, since=sighting.at, facts=sighting.facts, ended=sighting.result)
        case _:
            late = sighting.kind is WatchEventKind.UNANSWERED
            return WatchState(
                connected=True,
                at=watched.at if late else sighting.at,
                since=watched.since,
                told_at=sighting.at if sighting.kind is WatchEventKind.TOLD else watched.told_at,
                late=late,
                facts=sighting.facts,
            )
