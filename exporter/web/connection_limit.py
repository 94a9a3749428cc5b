"""A limit on the connections to the HTTP server, and on how long one may stay without asking anything.

aiohttp waits for ever for a request. Connections that never send one could fill the server; then no scraper gets in,
and no open file is left for a probe. Here the connection that has been idle longest makes room for the next
(docs/adr/0008).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

FIRST_REQUEST = 10.0  # seconds from the connect to the end of the first request's headers
KEEP_ALIVE = 90.0  # seconds between two requests: a scraper with an interval of a minute keeps its connection
STALLED_WRITE = 30.0  # seconds in which the peer reads nothing of an answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ConnectionLimiter:
    """Accepts at most `most` connections to `server` at a time. Its call is an asyncio protocol factory."""

    def __init__(
        self,
        server: Callable[[], asyncio.Protocol],
        most: int,
        first_request: float = FIRST_REQUEST,
        stalled_write: float = STALLED_WRITE,
    ) -> None:
        """`first_request` are the seconds that a connection has for its first request.

        `stalled_write` are those in which it may read nothing of an answer.
        """
        self.first_request = first_request
        self.stalled_write = stalled_write
        self._server = server
        self._most = most
        self._open: set[LimitedConnection] = set()
        self._idle: dict[LimitedConnection, None] = {}  # in the order in which they fell idle

    def __call__(self) -> "LimitedConnection":
        """Make the protocol of a new connection."""
        return LimitedConnection(self, self._server())

    def admit(self, connection: "LimitedConnection") -> bool:
        """Admit a connection; where all places are taken, close the longest idle one. False: none is idle."""
        if len(self._open) >= self._most:
            if not self._idle:
                return False
            next(iter(self._idle)).abort()
        self._open.add(connection)
        self._idle[connection] = None
        return True

    def release(self, connection: "LimitedConnection") -> None:
        """Free the connection's place."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def mark(self, connection: "LimitedConnection", *, busy: bool) -> None:
        """Record that a request of the connection is being answered, or has been."""
        self._idle.pop(connection, None)
        if not busy and connection in self._open:
            self._idle[connection] = None


class LimitedConnection(asyncio.Protocol):
    """One connection: passes everything on to aiohttp's protocol, and closes the connection after a timeout."""

    def __init__(self, limiter: ConnectionLimiter, inner: asyncio.Protocol) -> None:
        self._limiter = limiter
        self._inner = inner
        self._admitted = False
        self._busy = False
        self._transport: asyncio.Transport | None = None
        self._timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or abort it."""
        if not isinstance(transport, asyncio.Transport):
            msg = "HTTP needs a stream"
            raise TypeError(msg)
        self._transport = transport
        self._admitted = self._limiter.admit(self)
        if not self._admitted:
            transport.abort()
            return
        self._inner.connection_made(transport)
        self._arm(self._limiter.first_request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the connection's place; asyncio calls this when the connection has ended."""
        self._arm(None)
        self._limiter.release(self)
        if self._admitted:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass part of a request on. It extends no timeout: a byte now and then would keep a connection for ever."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass the end of the stream on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """The peer reads the answer more slowly than it is made."""
        self._inner.pause_writing()
        self._watch_progress()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._arm(None if self._busy else KEEP_ALIVE)
        self._inner.resume_writing()

    def abort(self) -> None:
        """Close the connection whatever is unsent, and free its place at once."""
        self._limiter.release(self)
        if self._transport is not None:
            self._transport.abort()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Suspend the timeout while a request is being answered."""
        self._mark(busy=True)
        try:
            yield
        finally:
            self._mark(busy=False)

    def _mark(self, *, busy: bool) -> None:
        self._busy = busy
        self._limiter.mark(self, busy=busy)
        self._arm(None if busy else KEEP_ALIVE)

    def _watch_progress(self) -> None:
        """Close the connection if the peer reads nothing for `stalled_write` seconds."""
        before = self._unsent()

        def check() -> None:
            if self._unsent() < before:
                self._watch_progress()
            else:
                self.abort()

        self._arm(self._limiter.stalled_write, check)

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _arm(self, seconds: float | None, action: Callable[[], None] | None = None) -> None:
        """Close the connection after `seconds` unless armed again; None disarms. `action` replaces closing."""
        if self._timeout is not None:
            self._timeout.cancel()
        loop = asyncio.get_running_loop()
        self._timeout = None if seconds is None else loop.call_later(seconds, action or self.abort)


@web.middleware
async def limit_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection that its request is being answered."""
    connection = None if request.transport is None else request.transport.get_protocol()
    if not isinstance(connection, LimitedConnection):
        return await handler(request)
    with connection.answering():
        return await handler(request)
