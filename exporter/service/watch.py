"""The watch: one session per target that stays, on a client id of its own, and hears at once what goes wrong.

    as soon as it is told      1100, 1101, 1102, 2110 and the farms' notices
    at the end of the stream   a reset, a restart
    with a heartbeat           a freeze: reqCurrentTime every two seconds

    seconds after a request    0            1                 1.2         2.2
                               reqCurrent-  late: the target  asked once  given up: the session
                               Time         is probed at once more        is stalled

A freeze right after an answer is met by the next request at most 2 s later, is confirmed by a probe of 1 s, and so has
its verdict after 4 s, or from the watch alone after 4.2 s.

A gateway that takes its time is given it: a request is late after twice what answers took of late, if that is more, and
at most after the target's deadline; it is given up 1.2 s after that. So the freeze of such a gateway has its verdict
within 3.2 s and the deadline.

What it sees goes to `tell` as values, news at most ten times a second. It sends startApi and reqCurrentTime, nothing
else, never two requests within 1.1 s, and ends every session in order. It connects only while the probes find that a
session works, and after an end waits an interval of the schedule or longer.
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
from exporter.probes.handshake import probe_handshake
from exporter.probes.port import probe_port
from exporter.probes.resolver import Resolver
from exporter.protocol.messages import KNOWN_VERSION
from exporter.state.watch_events import WatchEvent, WatchEventKind

Tell = Callable[[WatchEvent], object]

CLOSING = 0.5  # seconds for an orderly end
SETTLED = 10  # intervals after which a session that ends was a good one, and the next may follow soon
MOST_DOUBLINGS = 5
NEWS = frozenset({WatchEventKind.BEGAN, WatchEventKind.TOLD})  # what passes on the facts
TOLERANCE = 2  # times the usual: within that an answer is not late
FADING = 0.8  # of the usual is left after each quicker answer


@dataclass(frozen=True, slots=True)
class HeartbeatTimings:
    """Seconds from one request to the next, from a request to what its silence leads to, and from news to news."""

    heartbeat: float = 2.0
    late: float = 1.0
    again: float = 1.2  # a second request within a second would be ignored (docs/facts.md: messages)
    given_up: float = 2.2
    news: float = 0.1

    def waits(self, usual: float, most: float) -> tuple[float, float, float, float]:
        """Those that follow one another, for a gateway whose answers usually take so long; none is late before that.

        `most` is how long at most an answer may take before it is late.
        """
        more = max(0.0, min(TOLERANCE * usual, most) - self.late)
        return self.heartbeat, self.late + more, self.again + more, self.given_up + more


HEARTBEAT_TIMINGS = HeartbeatTimings()


async def run(
    target: Target,
    resolver: Resolver,
    working: asyncio.Event,
    tell: Tell,
    *,
    pace: HeartbeatTimings = HEARTBEAT_TIMINGS,
    share: Callable[[], float] = random.random,
) -> None:
    """Watch the target for ever: a session whenever `working` is set, and a pause after each.

    Raises ValueError for a target that has no client id for it.
    """
    if target.watch_id is None:
        msg = f"{target.name}: no client id is reserved for a watch"
        raise ValueError(msg)
    loop = asyncio.get_running_loop()
    short = 0  # sessions in a row that did not last
    while True:
        await working.wait()
        began = loop.time()
        try:
            await _watch_once(target, target.watch_id, resolver, tell, pace)
        except Exception:  # noqa: BLE001 - our own fault: it ends this session, not the watch
            structlog.get_logger(__name__).exception("watch failed", target=target.name)
        short = 0 if loop.time() - began > SETTLED * target.interval else short + 1
        await asyncio.sleep(pause(target.interval, short, share()))


def pause(interval: float, short: int, share: float) -> float:
    """Seconds to the next session: at least an interval, doubled for each that did not last, and up to half on top."""
    return float(interval * 2 ** min(max(0, short - 1), MOST_DOUBLINGS) * (1 + share / 2))


def smoothed(usual: float, took: float) -> float:
    """How long answers usually take (seconds), after one more: the slowest of late, for a slow one is soon followed."""
    return max(took, FADING * usual)


async def _watch_once(target: Target, client_id: int, resolver: Resolver, tell: Tell, pace: HeartbeatTimings) -> None:
    """One session, from the connect to its end in order."""
    connection = Connection(asyncio.get_running_loop().time() + target.deadline)
    attempt = ProbeContext(target, connection, resolver, time.perf_counter)
    vigil = WatchSession(attempt, client_id, tell, pace)
    ended: LayerResult | None = None
    try:
        ended = await vigil.stay()
    finally:
        connection.prolong(asyncio.get_running_loop().time() + CLOSING)
        try:
            await connection.close()
        finally:
            vigil.say(WatchEventKind.ENDED, ended)


class WatchSession:
    """One session of the watch."""

    def __init__(self, attempt: ProbeContext, client_id: int, tell: Tell, pace: HeartbeatTimings) -> None:
        """Nothing is opened yet."""
        self._attempt = attempt
        self._client_id = client_id
        self._tell = tell
        self._pace = pace
        self._dialogue: ApiSession | None = None
        self._counted = 0  # connections that were told of
        self._usual = 0.0  # seconds that answers took of late, the slowest counting most
        self._told = SessionFacts()
        self._quiet_until = 0.0  # in the loop's time

    async def stay(self) -> LayerResult:
        """Connect, begin a session and stay in it. How it ended, or why it did not begin."""
        attempt = self._attempt
        port = await probe_port(attempt)
        if not port.ok:
            return port
        handshake = await probe_handshake(attempt)
        if handshake.server is None or not handshake.ok:
            return handshake
        if handshake.server.version > KNOWN_VERSION:
            return LayerResult(layer=Layer.SESSION, outcome=Outcome.SKIPPED, cause=Cause.VERSION_UNKNOWN)
        dialogue = ApiSession(attempt.connection, handshake.server.version, self._client_id, attempt.clock)
        self._dialogue = dialogue
        failure = await dialogue.begin() or await dialogue.ask_time()
        if failure is not None:
            return failure
        self._get_used(dialogue)
        self.say(WatchEventKind.BEGAN)
        return await self._listen(dialogue)

    def say(self, kind: WatchEventKind, result: LayerResult | None = None) -> None:
        """Tell of one thing, with what is known at this moment."""
        connection, dialogue = self._attempt.connection, self._dialogue
        opened, self._counted = connection.opened - self._counted, connection.opened
        facts = SessionFacts() if dialogue is None else dialogue.facts
        since = None if dialogue is None else dialogue.asked_at
        if kind in NEWS:
            self._told = facts
        self._tell(WatchEvent(kind, time.time(), facts, since, result, opened))

    async def _listen(self, dialogue: ApiSession) -> LayerResult:
        """Hear what comes, and see to it that requests are answered."""
        attempt, pace, now = self._attempt, self._pace, asyncio.get_running_loop().time
        waits = pace.waits(self._usual, attempt.target.deadline)
        asked, step = now(), 0  # when the last request was answered or, from step 1 on, the unanswered one was sent
        while True:
            cause = None
            if now() >= asked + waits[step]:
                self._pass_on(dialogue, at_once=True)
                if step == len(waits) - 1:
                    return dialogue.failure(Cause.SILENCE, Stage.CURRENT_TIME)
                cause = self._step(dialogue, step)
                asked, step = (now() if step == 0 else asked), step + 1
            if cause is None:
                due = asked + waits[step]
                attempt.connection.prolong(min(due, self._quiet_until) if self._news(dialogue) else due)
                cause = await dialogue.hear()
            if cause not in (None, Cause.SILENCE):
                return dialogue.failure(cause, Stage.CURRENT_TIME)
            answered = step and not dialogue.waiting
            self._pass_on(dialogue, at_once=bool(answered))
            if answered:
                late = now() - asked > pace.late  # then it is left alone for a while: it has enough to do
                asked, step = (now() if late else asked), 0  # never two requests within 1.1 s
                self._get_used(dialogue)
                waits = pace.waits(self._usual, attempt.target.deadline)
                self.say(WatchEventKind.ANSWERED)

    def _step(self, dialogue: ApiSession, step: int) -> Cause | None:
        """What is due after the wait of this step: a request, suspicion, or the same request once more."""
        if step == 1:
            self.say(WatchEventKind.UNANSWERED)
            return None
        return dialogue.send_time_request()

    def _pass_on(self, dialogue: ApiSession, *, at_once: bool) -> None:
        """Tell the news: before another sighting takes it for known, else no sooner than a moment after the last."""
        now = asyncio.get_running_loop().time()
        if self._news(dialogue) and (at_once or now >= self._quiet_until):
            self._quiet_until = now + self._pace.news
            self.say(WatchEventKind.TOLD)

    def _news(self, dialogue: ApiSession) -> bool:
        """The gateway has told more than was passed on."""
        return _word(dialogue.facts) != _word(self._told)

    def _get_used(self, dialogue: ApiSession) -> None:
        """Take in how long the last answer took."""
        self._usual = smoothed(self._usual, dialogue.stages.get(Stage.CURRENT_TIME, 0.0))


def _word(facts: SessionFacts) -> tuple[object, ...]:
    """What a gateway tells unasked, and we pass on at once."""
    return facts.upstream, facts.farms, facts.errors, facts.new_port
