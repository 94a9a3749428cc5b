"""Accepting connections on the sockets to serve on, with TLS or without.

asyncio's own server hands a TLS connection to its protocol only after the handshake, so the connection limit would not
see those that never finish one. Here they are limited too: the handshake that has taken longest makes room.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Self

from exporter.web.listen import BACKLOG

TLS_HANDSHAKE = 10.0  # seconds; as long as a first request may take
RETRY = 1.0  # seconds to the next try where no file is left for a connection

Factory = Callable[[], asyncio.Protocol]


@asynccontextmanager
async def accepting(
    sockets: Iterable[socket.socket],
    factory: Factory,
    most: int,
    tls: ssl.SSLContext | None,
    handshake: float = TLS_HANDSHAKE,
) -> AsyncIterator[None]:
    """Accept connections while the context lasts. `factory` limits them to `most`.

    A quarter of that may be in TLS handshakes, each for at most `handshake` seconds.
    """
    async with AsyncExitStack() as open_sockets:
        for listening in sockets:
            if tls is None:
                # The loop accepts as many at once as its backlog says, before the first of them can be sent away.
                server = await asyncio.get_running_loop().create_server(
                    factory, sock=listening, backlog=max(1, most // 4)
                )
                open_sockets.callback(server.close)
            else:
                await open_sockets.enter_async_context(
                    TlsListener(listening, factory, tls, max(1, most // 4), handshake)
                )
            listening.listen(BACKLOG)
        yield


class TlsListener:
    """Accepts TLS connections while it is entered; at most `most` are in their handshake at a time."""

    def __init__(
        self, listening: socket.socket, factory: Factory, tls: ssl.SSLContext, most: int, handshake: float
    ) -> None:
        self._listening = listening
        self._factory = factory
        self._tls = tls
        self._most = most
        self._handshake_timeout = handshake
        self._handshakes: dict[asyncio.Task[None], None] = {}  # the longest first
        self._accepting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listening.setblocking(False)  # noqa: FBT003 - positional only
        self._accepting = asyncio.create_task(self._accept(), name="accept TLS")
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self._accepting, *self._handshakes) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except OSError:  # no file is left, or the peer has gone already
                await asyncio.sleep(RETRY)
                continue
            if len(self._handshakes) >= self._most:
                longest = next(iter(self._handshakes))
                del self._handshakes[longest]
                longest.cancel()
            task = asyncio.create_task(self._handshake(connection), name="TLS handshake")
            self._handshakes[task] = None
            task.add_done_callback(partial(self._ended, connection))
            await asyncio.sleep(0)  # a full backlog must not hold the event loop

    async def _handshake(self, connection: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            self._factory, connection, ssl=self._tls, ssl_handshake_timeout=self._handshake_timeout
        )

    def _ended(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        """Forget the handshake, and close a connection on which it failed. Its failure is the peer's."""
        self._handshakes.pop(task, None)
        if task.cancelled() or task.exception() is not None:
            connection.close()
