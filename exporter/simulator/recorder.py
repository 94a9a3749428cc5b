"""What the simulated gateway saw: every connection, what the client sent, and how it ended. Memory is bounded.

The wire audit reads this: `forbidden` marks what no probe may ever send.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from exporter.protocol.wire import Request
from exporter.simulator.messages import Message
from exporter.simulator.steps import Ending

KEPT_CONNECTIONS = 128
KEPT_MESSAGES = 64  # of one connection
KEPT_BYTES = 256  # of one message
KEPT_IDS = 256
MAX_ID = 1000  # higher message ids are counted together: a client that sends rubbish must not fill the memory


class ClientEnd(StrEnum):
    """How the client ended its side."""

    OPEN = "open"  # it has not, so far
    FIN = "fin"  # in order
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message of a client. `payload` is the frame without its length, at most KEPT_BYTES of its `size`."""

    at_ns: int  # unix nanoseconds
    payload: bytes
    size: int
    id: int | None  # None: unreadable; messages.read_message() reads the rest again
    forbidden: bool  # no probe may send this


@dataclass(slots=True)
class ConnectionRecord:
    """One TCP connection. All moments are unix nanoseconds, 0 where they did not come."""

    number: int
    address: str
    mode: str  # at the moment of acceptance
    accepted_ns: int
    hello: bytes = b""  # as received, at most KEPT_BYTES
    hello_ns: int = 0
    replied_ns: int = 0
    ended_ns: int = 0
    version: int | None = None
    client_id: int | None = None
    complaint: str = ""  # what was wrong with the client's bytes
    client_end: ClientEnd = ClientEnd.OPEN
    our_end: Ending | None = None
    received: int = 0  # messages after the hello
    overheard: int = 0  # messages that the gateway did not answer
    forbidden: int = 0
    messages: deque[ReceivedMessage] = field(default_factory=lambda: deque(maxlen=KEPT_MESSAGES))

    @property
    def ids(self) -> tuple[int | None, ...]:
        """The ids of the kept messages, in order."""
        return tuple(received.id for received in self.messages)


@dataclass(slots=True)
class Recorder:
    """All connections: counters for ever, records of the last `kept`. `permitted` are the ids that a probe may send.

    `most_as` counts for each of the first KEPT_IDS client ids the most connections that were open with it at a time.
    """

    kept: int = KEPT_CONNECTIONS
    permitted: Collection[int] = frozenset(Request)
    opened: int = 0
    open_now: int = 0
    open_most: int = 0
    forbidden: int = 0
    most_as: Counter[int] = field(default_factory=Counter)
    messages: Counter[int] = field(default_factory=Counter)  # by message id; 0 for unreadable, MAX_ID for higher
    _records: deque[ConnectionRecord] = field(default_factory=deque)
    _open_as: Counter[int] = field(default_factory=Counter)

    def open(self, address: str, mode: str, at_ns: int) -> ConnectionRecord:
        """A connection was accepted."""
        self.opened += 1
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        record = ConnectionRecord(self.opened, address, mode, at_ns)
        self._records.append(record)
        while len(self._records) > self.kept:
            self._records.popleft()
        return record

    def start(self, record: ConnectionRecord, client_id: int) -> None:
        """A connection has sent its client id; if it sends another, the last one counts."""
        self._release(record)
        record.client_id = client_id
        self._open_as[client_id] += 1
        if client_id in self.most_as or len(self.most_as) < KEPT_IDS:
            self.most_as[client_id] = max(self.most_as[client_id], self._open_as[client_id])

    def close(self, record: ConnectionRecord, at_ns: int) -> None:
        """A connection is gone."""
        self.open_now -= 1
        record.ended_ns = at_ns
        self._release(record)

    def _release(self, record: ConnectionRecord) -> None:
        if record.client_id is None:
            return
        self._open_as[record.client_id] -= 1
        if not self._open_as[record.client_id]:
            del self._open_as[record.client_id]

    def receive(self, record: ConnectionRecord, payload: bytes, message: Message | None, at_ns: int) -> None:
        """A message came; `message` is None if it could not be read."""
        identity = message.id if message else None
        forbidden = self._forbidden(message)
        record.messages.append(ReceivedMessage(at_ns, payload[:KEPT_BYTES], len(payload), identity, forbidden))
        record.received += 1
        record.forbidden += forbidden
        self.forbidden += forbidden
        self.messages[min(identity or 0, MAX_ID)] += 1

    def record_unanswered(self, record: ConnectionRecord, message: Message | None) -> None:
        """Count a message that is not answered: it is not kept, but the audit sees it."""
        forbidden = self._forbidden(message)
        record.overheard += 1
        record.forbidden += forbidden
        self.forbidden += forbidden

    def __iter__(self) -> Iterator[ConnectionRecord]:
        """The kept records, oldest first."""
        return iter(tuple(self._records))

    def last(self, number: int = 1) -> list[ConnectionRecord]:
        """The newest records, newest first."""
        return list(islice(reversed(self._records), number))

    def _forbidden(self, message: Message | None) -> bool:
        """No probe may send it, or it cannot be read."""
        return message is None or message.id not in self.permitted
