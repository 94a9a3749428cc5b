"""The watch: one long-lived session per target, on a client id of its own, that reports a failure at once.

    when the message comes     1100, 1101, 1102, 2110 and the farms' notices
    at the end of the stream   a reset, a restart
    with a heartbeat           a freeze: reqCurrentTime every two seconds

    seconds after a request    0            1                 1.2         2.2
                               reqCurrent-  late: the target  sent once   given up: the session
                               Time         is probed at once more        is stalled

A freeze right after an answer meets the next request at most 2 s later, is confirmed by a probe of 1 s, and so has its
verdict after 4 s, or from the watch alone after 4.2 s.

A slow gateway gets more time: a request is late after twice what answers usually take, if that is more, and at most
after the target's deadline; it is given up 1.2 s after that. The freeze of such a gateway has its verdict within 3.2 s
and the deadline.

Events go to `on_event` as values, news at most ten times a second. The watch sends startApi and reqCurrentTime, nothing
else, never two requests within 1.1 s, and ends every session in order. It connects only while the probes find that a
session works, and waits an interval of the schedule or longer after an end.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from exporter.model import Cause, Layer, LayerResult, Outcome, SessionFacts, Stage, Target
from exporter.probes.api_session import ApiSession
from exporter.probes.connection import Connection
from exporter.probes.context import ProbeContext
from exporter.probes.handshake import probe_port_and_handshake
from exporter.probes.resolver import Resolver
from exporter.protocol.messages import KNOWN_VERSION
from exporter.state.watch_events import WatchEvent, WatchEventKind

OnEvent = Callable[[WatchEvent], object]

CLOSE_SECONDS = 0.5  # seconds for an orderly end
LASTING = 10  # intervals; after a session that lasted longer, the next may follow soon
MOST_DOUBLINGS = 5
WITH_FACTS = frozenset({WatchEventKind.BEGAN, WatchEventKind.NEWS})  # events that pass on the facts
TOLERANCE = 2  # times the usual: within that an answer is not late
DECAY = 0.8  # of the usual seconds is left after each quicker answer


@dataclass(frozen=True, slots=True)
class HeartbeatTimings:
    """Seconds from one request to the next, from a request to each step of its silence, and between two news events."""

    heartbeat: float = 2.0
    late: float = 1.0
    again: float = 1.2  # a second request within a second would be ignored (docs/facts.md: messages)
    given_up: float = 2.2
    news: float = 0.1

    def deadlines(self, usual: float, most: float) -> tuple[float, float, float, float]:
        """The four heartbeat timeouts, stretched for a gateway that usually answers in `usual` seconds.

        An answer is late after `most` seconds at the latest.
        """
        more = max(0.0, min(TOLERANCE * usual, most) - self.late)
        return self.heartbeat, self.late + more, self.again + more, self.given_up + more


HEARTBEAT_TIMINGS = HeartbeatTimings()


async def run(
    target: Target,
    resolver: Resolver,
    session_works: asyncio.Event,
    on_event: OnEvent,
    *,
    timings: HeartbeatTimings = HEARTBEAT_TIMINGS,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Watch the target until cancelled: a session whenever `session_works` is set, and a pause after each.

    Raises ValueError for a target without a client id for the watch.
    """
    if target.watch_id is None:
        msg = f"{target.name}: no client id is reserved for a watch"
        raise ValueError(msg)
    loop = asyncio.get_running_loop()
    short = 0  # sessions in a row that ended early
    while True:
        await session_works.wait()
        began = loop.time()
        try:
            await _watch_once(target, target.watch_id, resolver, on_event, timings)
        except Exception:  # noqa: BLE001 - our own fault: it ends this session, not the watch
            structlog.get_logger(__name__).exception("watch failed", target=target.name)
        short = 0 if loop.time() - began > LASTING * target.interval else short + 1
        await asyncio.sleep(pause(target.interval, short, jitter()))


def pause(interval: float, short: int, jitter: float) -> float:
    """Seconds to the next session: an interval, doubled for each short session in a row, and up to half on top."""
    return float(interval * 2 ** min(max(0, short - 1), MOST_DOUBLINGS) * (1 + jitter / 2))


def smoothed(usual: float, took: float) -> float:
    """How long answers usually take (seconds), after one more that `took` so long: a maximum that decays."""
    return max(took, DECAY * usual)


async def _watch_once(
    target: Target, client_id: int, resolver: Resolver, on_event: OnEvent, timings: HeartbeatTimings
) -> None:
    """One session, from the connect to its end in order."""
    connection = Connection(asyncio.get_running_loop().time() + target.deadline)
    context = ProbeContext(target, connection, resolver, time.perf_counter)
    session = WatchSession(context, client_id, on_event, timings)
    ended: LayerResult | None = None
    try:
        ended = await session.run()
    finally:
        connection.prolong(asyncio.get_running_loop().time() + CLOSE_SECONDS)
        try:
            await connection.close()
        finally:
            session.emit(WatchEventKind.ENDED, ended)


class WatchSession:
    """One session of the watch."""

    def __init__(self, context: ProbeContext, client_id: int, on_event: OnEvent, timings: HeartbeatTimings) -> None:
        self._context = context
        self._client_id = client_id
        self._on_event = on_event
        self._timings = timings
        self._api: ApiSession | None = None
        self._opened = 0  # connections that events have reported
        self._usual = 0.0  # seconds that answers take, the slow ones weigh most
        self._emitted = SessionFacts()
        self._quiet_until = 0.0  # in the loop's time

    async def run(self) -> LayerResult:
        """Connect, begin a session and keep it. Returns how it ended, or why it did not begin."""
        context = self._context
        handshake = await probe_port_and_handshake(context)
        if handshake.server is None or not handshake.ok:
            return handshake
        if handshake.server.version > KNOWN_VERSION:
            return LayerResult(layer=Layer.SESSION, outcome=Outcome.SKIPPED, cause=Cause.VERSION_UNKNOWN)
        api = ApiSession(context.connection, handshake.server.version, self._client_id, context.clock)
        self._api = api
        failure = await api.begin() or await api.ask_time()
        if failure is not None:
            return failure
        self._observe_answer(api)
        self.emit(WatchEventKind.BEGAN)
        return await self._listen(api)

    def emit(self, kind: WatchEventKind, result: LayerResult | None = None) -> None:
        """Send one event, with the facts of this moment."""
        connection, api = self._context.connection, self._api
        opened, self._opened = connection.opened - self._opened, connection.opened
        facts = SessionFacts() if api is None else api.facts
        since = None if api is None else api.asked_at
        if kind in WITH_FACTS:
            self._emitted = facts
        self._on_event(WatchEvent(kind, time.time(), facts, since, result, opened))

    async def _listen(self, api: ApiSession) -> LayerResult:
        """Read messages, send heartbeats, and return the failure that ends the session."""
        context, timings, now = self._context, self._timings, asyncio.get_running_loop().time
        deadlines = timings.deadlines(self._usual, context.target.deadline)
        since, step = now(), 0  # when the last request was answered or, from step 1 on, the unanswered one was sent
        while True:
            cause = None
            if now() >= since + deadlines[step]:
                self._emit_news(api, at_once=True)
                if step == len(deadlines) - 1:
                    return api.failure(Cause.SILENCE, Stage.CURRENT_TIME)
                cause = self._take_step(api, step)
                since, step = (now() if step == 0 else since), step + 1
            if cause is None:
                due = since + deadlines[step]
                context.connection.prolong(min(due, self._quiet_until) if self._has_news(api) else due)
                cause = await api.hear()
            if cause not in (None, Cause.SILENCE):
                return api.failure(cause, Stage.CURRENT_TIME)
            answered = step and not api.waiting
            self._emit_news(api, at_once=bool(answered))
            if answered:
                late = now() - since > timings.late  # then the next request waits a whole heartbeat
                since, step = (now() if late else since), 0  # never two requests within 1.1 s
                self._observe_answer(api)
                deadlines = timings.deadlines(self._usual, context.target.deadline)
                self.emit(WatchEventKind.ANSWERED)

    def _take_step(self, api: ApiSession, step: int) -> Cause | None:
        """Do what follows the timeout of this step: send a request, emit that it is late, or send it once more."""
        if step == 1:
            self.emit(WatchEventKind.UNANSWERED)
            return None
        return api.send_time_request()

    def _emit_news(self, api: ApiSession, *, at_once: bool) -> None:
        """Emit the news: `at_once` before another event, else no sooner than `timings.news` after the last."""
        now = asyncio.get_running_loop().time()
        if self._has_news(api) and (at_once or now >= self._quiet_until):
            self._quiet_until = now + self._timings.news
            self.emit(WatchEventKind.NEWS)

    def _has_news(self, api: ApiSession) -> bool:
        return _news_of(api.facts) != _news_of(self._emitted)

    def _observe_answer(self, api: ApiSession) -> None:
        self._usual = smoothed(self._usual, api.stages.get(Stage.CURRENT_TIME, 0.0))


def _news_of(facts: SessionFacts) -> tuple[object, ...]:
    """The facts that a gateway sends unasked."""
    return facts.upstream, facts.farms, facts.errors, facts.new_port
