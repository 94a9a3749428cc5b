"""A relay before a simulated gateway, as socat would be one, that cuts the connection of a client where it is told to.

It knows a client's connection by the handshake of ours that comes right before it, which begins no session.
"""

import asyncio
import itertools
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

HELLO = 17  # bytes of our own
Carry = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends a reset


@dataclass(frozen=True, slots=True)
class Cut:
    """Once so many bytes came from the gateway, let nothing pass for `hold` seconds, then end the connection.

    `reset`: by a reset, otherwise in order. `says`: with words of its own before. `mends`: do not end it, go on.
    """

    after: int = 0
    reset: bool = True
    hold: float = 0.0
    mends: bool = False
    says: bytes = b""


@dataclass(slots=True)
class Relay:
    """`cut` is for the first client; all others pass unhindered. `met` says when it was met (the loop's clock)."""

    gateway: int
    cut: Cut | None
    port: int = 0
    met: float | None = None
    sent: int = 0  # bytes that the latest connection has sent

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        cut = self.cut if 0 < self.sent <= HELLO else None
        if cut is not None:
            self.cut = None
        self.sent = 0
        theirs, ours = await asyncio.open_connection("127.0.0.1", self.gateway)
        up = asyncio.create_task(self._up(reader, ours))
        try:
            await self._down(cut, theirs, writer)
        except OSError:
            pass
        finally:
            up.cancel()
            for each in (ours, writer):
                each.close()
            await asyncio.gather(up, ours.wait_closed(), writer.wait_closed(), return_exceptions=True)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            self.sent += len(data)
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def _down(self, cut: Cut | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while True:
            most = 4096 if cut is None else min(4096, cut.after - passed)
            if cut is not None and most <= 0:
                if not await self._act(cut, writer):
                    return
                cut = None
                continue
            data = await reader.read(most)
            if not data:
                return
            passed += len(data)
            writer.write(data)
            await writer.drain()

    async def _act(self, cut: Cut, writer: asyncio.StreamWriter) -> bool:
        """Do what is due; whether the connection goes on."""
        self.met = asyncio.get_running_loop().time()
        await asyncio.sleep(cut.hold)
        if cut.mends:
            return True
        if cut.says:
            writer.write(cut.says)
            await writer.drain()
        sock = writer.get_extra_info("socket")
        if cut.reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()
        return False


@asynccontextmanager
async def relaying(gateway: int, cut: Cut | None = None) -> AsyncIterator[Relay]:
    """A relay to this port, on a port of its own."""
    relay = Relay(gateway, cut)
    async with _listening(relay.carry) as relay.port:
        yield relay


@asynccontextmanager
async def round_robin(*ports: int) -> AsyncIterator[int]:
    """A relay that gives each connection to the next of these ports; gives its own."""
    turns = itertools.cycle(ports)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await Relay(next(turns), None).carry(reader, writer)
        except OSError:  # the backend has reset the connection already
            writer.transport.abort()

    async with _listening(carry) as port:
        yield port


@asynccontextmanager
async def _listening(carry: Carry) -> AsyncIterator[int]:
    """Hand each connection to `carry`, on a port of its own; gives the port."""
    carried: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            carried.add(task)
            task.add_done_callback(carried.discard)
        await carry(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(carried):
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)
        await server.wait_closed()
