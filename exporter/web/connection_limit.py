"""The door to the HTTP server: how many connections may be open, and how long one may stay without asking anything.

A server that waits for ever for a request, as aiohttp's does, can be filled with connections that never send one; then
no scraper gets in, and no file is left for a probe. Here the one that has been idle longest makes room for the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

ASKING = 10.0  # seconds from the connect to the end of the first request's headers
IDLE = 90.0  # seconds between two requests: a scraper with an interval of a minute keeps its connection
TAKING = 30.0  # seconds without progress in which whoever asked takes nothing of the answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ConnectionLimiter:
    """Lets connections in to `server`, at most `most` at a time. Its call is an asyncio protocol factory."""

    def __init__(self, server: Callable[[], asyncio.Protocol], most: int, asking: float = ASKING) -> None:
        """Nobody is in yet. `asking` are the seconds that a first request may take."""
        self.asking = asking
        self._server = server
        self._most = most
        self._inside: set[LimitedConnection] = set()
        self._idle: dict[LimitedConnection, None] = {}  # in the order in which they fell idle

    def __call__(self) -> "LimitedConnection":
        """A new connection, before it is known from whom."""
        return LimitedConnection(self, self._server())

    def enter(self, connection: "LimitedConnection") -> bool:
        """Let one in, where need be by sending away who is idle longest; False: all others are busy."""
        if len(self._inside) >= self._most:
            if not self._idle:
                return False
            next(iter(self._idle)).send_away()
        self._inside.add(connection)
        self._idle[connection] = None
        return True

    def leave(self, connection: "LimitedConnection") -> None:
        """One has gone, or is as good as gone."""
        self._inside.discard(connection)
        self._idle.pop(connection, None)

    def note(self, connection: "LimitedConnection", *, busy: bool) -> None:
        """One asks, or has been answered."""
        self._idle.pop(connection, None)
        if not busy and connection in self._inside:
            self._idle[connection] = None


class LimitedConnection(asyncio.Protocol):
    """One connection: hands all on to aiohttp's own protocol, and watches the time."""

    def __init__(self, door: ConnectionLimiter, inner: asyncio.Protocol) -> None:
        """Not connected yet."""
        self._door = door
        self._inner = inner
        self._admitted = False
        self._busy = False
        self._transport: asyncio.Transport | None = None
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in, or be sent away."""
        if not isinstance(transport, asyncio.Transport):
            msg = "HTTP needs a stream"
            raise TypeError(msg)
        self._transport = transport
        self._admitted = self._door.enter(self)
        if not self._admitted:
            transport.abort()
            return
        self._inner.connection_made(transport)
        self._allow(self._door.asking)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self._allow(None)
        self._door.leave(self)
        if self._admitted:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Part of a request. That alone buys no time: one byte now and then is how such a server is starved."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """No more requests will come."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """The answer is taken more slowly than we make it."""
        self._inner.pause_writing()
        self._expect_taking()

    def resume_writing(self) -> None:
        """It is being taken."""
        self._allow(None if self._busy else IDLE)
        self._inner.resume_writing()

    def send_away(self) -> None:
        """End the connection without regard to what is unsent. Its place is free at once."""
        self._door.leave(self)
        if self._transport is not None:
            self._transport.abort()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A request is complete and being answered: for that there is no limit here."""
        self._note(busy=True)
        try:
            yield
        finally:
            self._note(busy=False)

    def _note(self, *, busy: bool) -> None:
        self._busy = busy
        self._door.note(self, busy=busy)
        self._allow(None if busy else IDLE)

    def _expect_taking(self) -> None:
        """Look from time to time whether the answer is being taken."""
        left = self._unsent()

        def look() -> None:
            if self._unsent() < left:
                self._expect_taking()
            else:
                self.send_away()

        self._allow(TAKING, look)

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _allow(self, seconds: float | None, then: Callable[[], None] | None = None) -> None:
        """So long until it is sent away, or until `then` is done; None: as long as it likes."""
        if self._limit is not None:
            self._limit.cancel()
        loop = asyncio.get_running_loop()
        self._limit = None if seconds is None else loop.call_later(seconds, then or self.send_away)


@web.middleware
async def limit_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection that its request is being answered."""
    connection = None if request.transport is None else request.transport.get_protocol()
    if not isinstance(connection, LimitedConnection):
        return await handler(request)
    with connection.answering():
        return await handler(request)
