"""The events of a watch, and the state that they leave: frozen values, folded into the target's state."""

from dataclasses import dataclass, field
from enum import StrEnum

from exporter.model import LayerResult, SessionFacts


class WatchEventKind(StrEnum):
    """What happened to the session of a watch."""

    BEGAN = "began"  # its session has begun, and a request was answered
    NEWS = "news"  # a notice: a link or a farm lost or restored
    ANSWERED = "answered"  # a heartbeat was answered
    UNANSWERED = "unanswered"  # a heartbeat is late: something may be wrong
    ENDED = "ended"  # its session or its connection has ended, or could not begin


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event at unix time `at`.

    `since` is when the request was sent that is still unanswered, in unix seconds. `result` says how a session ended;
    None where we ended it. `opened` counts the TCP connections opened since the previous event.
    """

    kind: WatchEventKind
    at: float
    facts: SessionFacts = field(default_factory=SessionFacts)
    since: float | None = None
    result: LayerResult | None = None
    opened: int = 0


@dataclass(frozen=True, slots=True)
class WatchState:
    """The state of one target's watch.

    `at` is its last sign of life, `since` when it connected or ended, `news_at` when its facts last changed.
    """

    connected: bool = False
    at: float | None = None
    since: float | None = None
    news_at: float | None = None
    late: bool = False  # a heartbeat is unanswered
    facts: SessionFacts = field(default_factory=SessionFacts)
    ended: LayerResult | None = None


def apply_event(watched: WatchState, event: WatchEvent) -> WatchState:
    """The state after one more event."""
    match event.kind:
        case WatchEventKind.BEGAN:
            at = event.at
            return WatchState(connected=True, at=at, since=at, news_at=at, facts=event.facts)
        case WatchEventKind.ENDED:
            return WatchState(at=watched.at, since=event.at, facts=event.facts, ended=event.result)
        case _:
            late = event.kind is WatchEventKind.UNANSWERED
            return WatchState(
                connected=True,
                at=watched.at if late else event.at,
                since=watched.since,
                news_at=event.at if event.kind is WatchEventKind.NEWS else watched.news_at,
                late=late,
                facts=event.facts,
            )
