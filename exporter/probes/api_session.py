"""A session on an open connection, from startApi on: the requests with their times, the answers, and the facts in them.

The session probe goes through it once; the watch stays in it. Nothing but startApi and reqCurrentTime is sent here; the
account download sends its own requests (download.py).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from exporter.model import OUTCOME, Cause, Layer, LayerResult, Outcome, SessionFacts, Stage, Stamp
from exporter.model.copies import replace
from exporter.probes.connection import READ_SIZE, Connection, Received
from exporter.protocol import error_codes, messages, notices
from exporter.protocol.messages import ApiError, ConfigMessage, CurrentTime, Inbox, Message, Other, Unreadable

ENDS = frozenset({Cause.EOF, Cause.RESET})
FLOOD = READ_SIZE  # bytes in one read: more may be waiting


class SentAt(NamedTuple):
    """When something was sent: by the clock that never jumps (seconds) and by that of the kernel's stamps (unix ns)."""

    at: float
    wall: int


class ApiSession:
    """One session of ours. `facts` is what the gateway has reported, `stages` how long each part took, in seconds."""

    def __init__(self, connection: Connection, version: int, client_id: int, clock: Callable[[], float]) -> None:
        """Nothing is sent yet. `version` is the negotiated one, `clock` monotonic."""
        self.facts = SessionFacts(client_id=client_id)
        self.stages: dict[Stage, float] = {}
        self.others: Counter[int] = Counter()  # messages of which only the id is read
        self.config: ConfigMessage | None = None
        self.refusal: ApiError | None = None  # the last error that is no notice
        self.seconds = 0.0  # from startApi to the last thing that was waited for
        self._connection = connection
        self._client_id = client_id
        self._version = version
        self._clock = clock
        self._inbox = Inbox(version)
        self._began = SentAt(clock(), time.time_ns())
        self._asked: list[SentAt] = []  # requests for the time that are not answered
        self._stamp: Stamp | None = None
        self._unreadable = ""

    @property
    def waiting(self) -> bool:
        """A request for the time is not answered yet."""
        return bool(self._asked)

    @property
    def asked_at(self) -> float | None:
        """When the first unanswered request for the time was sent, in unix seconds; None: all are answered."""
        return self._asked[0].wall / 1e9 if self._asked else None

    async def begin(self) -> LayerResult | None:
        """Send startApi and wait for nextValidId and the accounts. None, or how the session failed to begin."""
        self._began = self._now()
        cause = self._connection.send(messages.start_api(self._version, self._client_id))
        while cause is None and self._missing() is not None:
            cause = await self.hear()
        missing = self._missing()
        return None if cause is None or missing is None else self.failure(cause, missing)

    async def ask_time(self) -> LayerResult | None:
        """One reqCurrentTime and its answer. None, or how that failed."""
        cause = self.send_time_request()
        while cause is None and self._asked:
            cause = await self.hear()
        return None if cause is None or not self._asked else self.failure(cause, Stage.CURRENT_TIME)

    def send(self, data: bytes) -> Cause | None:
        """Send a request of another kind."""
        return self._connection.send(data)

    def send_time_request(self) -> Cause | None:
        """Ask for the gateway's clock without waiting for the answer."""
        self._asked.append(self._now())
        return self._connection.send(messages.request_current_time(self._version))

    async def hear(self) -> Cause | None:
        """Wait for the next bytes and apply the messages in them. None, or why no more will come."""
        received = await self._connection.receive()
        ending: Cause | None = None
        for message in self._inbox.feed(received.data):
            if isinstance(message, Other):
                self.others[message.id] += 1
            else:
                ending = self._take(message, received) or ending
        if ending is None and received.cause in ENDS and self._refused():
            return Cause.API_ERROR  # an error gave the reason before the end
        if len(received.data) >= FLOOD:
            await asyncio.sleep(0)  # a gateway that never stops talking stops neither the others nor the deadline
            ending = ending or (Cause.SILENCE if self._connection.expired else None)
        return ending or received.cause

    def result(self) -> LayerResult:
        """The session as one that answered."""
        return LayerResult(
            layer=Layer.SESSION,
            outcome=Outcome.OK,
            seconds=self.seconds,
            stages=tuple(self.stages.items()),
            stamp=self._stamp,
            session=self.facts,
        )

    def failure(self, cause: Cause, stage: Stage) -> LayerResult:
        """The session as one that ended at this stage for this cause."""
        if cause is Cause.SILENCE and stage is not Stage.CURRENT_TIME and (self.stages or self._inbox.unfinished):
            cause = Cause.UNFINISHED
        since = self._asked[0] if stage is Stage.CURRENT_TIME and self._asked else self._began
        waited = self._clock() - since.at
        reasons = [reason for reason in (error_codes.error_texts(self.facts.errors), self._unreadable) if reason]
        stages = tuple((self.stages | {stage: waited}).items())
        detail = "; ".join(reasons)
        return LayerResult(
            layer=Layer.SESSION,
            outcome=OUTCOME[cause],
            seconds=waited,
            stage=stage,
            cause=cause,
            detail=detail,
            stages=stages,
            session=self.facts,
            code=next((code for code in self.facts.errors if code in error_codes.FATAL), None),
        )

    def _missing(self) -> Stage | None:
        """What startApi has not been answered with so far; libraries wait for at least one account."""
        if self.facts.next_valid_id is None:
            return Stage.START_API if self.facts.accounts is None else Stage.NEXT_VALID_ID
        return None if self.facts.accounts else Stage.MANAGED_ACCOUNTS

    def _refused(self) -> bool:
        """An error came before the session had begun; the state of the link to IBKR is no reason to end one."""
        return self._missing() is not None and not (error_codes.LOST | error_codes.RESTORED).issuperset(
            self.facts.errors
        )

    def _take(self, message: Message, received: Received) -> Cause | None:
        """One message; a cause if it ends the session."""
        before = self.facts
        self.facts = notices.apply_message(before, message)
        match message:
            case ApiError(_, code) if code in error_codes.FATAL:
                return _cause_of_error(code)
            case ApiError(_, code) if code not in error_codes.NOTICES:
                self.refusal = message
            case ConfigMessage():
                self.config = message
            case CurrentTime(seconds) if self._asked:
                self._note_clock_offset(seconds, received)
            case Unreadable(reason, final):
                self._unreadable = f"a message could not be read: {reason}"
                return Cause.OVERSIZED if final else None
            case _:
                pass
        if received.stamp is not None and received.stamp <= self._began.wall:
            return None  # it came before startApi was sent: it is no answer, so it has no time
        self._lap(Stage.START_API, self._began, received)
        if before.next_valid_id is None and self.facts.next_valid_id is not None:
            self._lap(Stage.NEXT_VALID_ID, self._began, received)
        if before.accounts is None and self.facts.accounts is not None:
            self._lap(Stage.MANAGED_ACCOUNTS, self._began, received)
        return None

    def _note_clock_offset(self, seconds: int, received: Received) -> None:
        """Note the gateway's clock offset. It sends whole seconds, so on average half a second is added.

        The comparison is with the middle between request and answer, so it may be off by half of that time more. With
        two requests under way it is unknown which one was answered: then the offset stays as it was.
        """
        request, alone = self._asked[0], len(self._asked) == 1
        self._asked.clear()
        self.stages.pop(Stage.CURRENT_TIME, None)
        self._lap(Stage.CURRENT_TIME, request, received)
        self.seconds = self._since(self._began, received)[0]
        if alone:
            middle = request.wall / 1e9 + self.stages[Stage.CURRENT_TIME] / 2
            self.facts = replace(self.facts, clock_offset=seconds + 0.5 - middle)

    def _lap(self, stage: Stage, since: SentAt, received: Received) -> None:
        """Note how long a stage took, the first time it is passed."""
        if stage not in self.stages:
            self.stages[stage], self._stamp = self._since(since, received)

    def _since(self, sent: SentAt, received: Received) -> tuple[float, Stamp]:
        """Seconds from the request to these bytes: by the kernel's stamp unless the wall clock was set meanwhile."""
        elapsed = self._clock() - sent.at
        stamped = None if received.stamp is None else (received.stamp - sent.wall) / 1e9
        if stamped is not None and 0 < stamped <= elapsed:
            return stamped, Stamp.KERNEL
        return elapsed, Stamp.USER

    def _now(self) -> SentAt:
        return SentAt(self._clock(), time.time_ns())


def _cause_of_error(code: int) -> Cause:
    if code == error_codes.ID_IN_USE:
        return Cause.CLIENT_ID_IN_USE
    return Cause.TOO_OLD if code == error_codes.OUT_OF_DATE else Cause.API_ERROR
