"""One TCP connection, one deadline, and always a clean end: shutdown, drain, close. Never a reset, never half open.

The deadline is one timer for the connection's whole life; every wait below ends by it. What the peer does is returned
as a value; only what our own side does wrong (no free port, too many open files) is raised, as OSError.
"""

import asyncio
import errno
import os
import socket
from typing import NamedTuple

from exporter.model import Cause
from exporter.probes import timestamps
from exporter.probes.resolver import Address

READ_SIZE = 4096
DRAIN_MOST = 65536  # bytes; a peer that floods us is not read to its end
DRAIN_SECONDS = 0.1  # a gateway ends its side within a millisecond of ours

REFUSED = frozenset({errno.ECONNREFUSED})
ENDED = frozenset(
    {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE}
)  # on a connect: it was through, then it was ended
NO_ROUTE = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, getattr(errno, "EHOSTDOWN", errno.EHOSTUNREACH)}
)
NO_IPV6 = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
BROKEN = REFUSED | ENDED | NO_ROUTE | {errno.ETIMEDOUT}  # of an established connection
FULL = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})  # the peer has not read for a long time
PENDING = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK)})


class Received(NamedTuple):
    """What one wait for bytes brought: data with its kernel stamp (ns since the epoch), or the cause of none."""

    data: bytes
    stamp: int | None = None
    cause: Cause | None = None


class Connection:
    """A connection of ours to a gateway. `opened` counts the TCP connects that were started."""

    def __init__(self, deadline: float) -> None:
        """Make one that ends by `deadline`, in the running loop's time."""
        self.deadline = deadline
        self.opened = 0
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._reading = False
        self._ended = False
        self._expired = False
        self._kept: Received | None = None
        self._limit = self._loop.call_at(deadline, self._expire)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; zero or less when it has passed."""
        return self.deadline - self._loop.time()

    @property
    def expired(self) -> bool:
        """The time of the present wait is over."""
        return self._expired

    @property
    def own_address(self) -> str | None:
        """Our end's IP address, while the connection is open."""
        try:
            return None if self._sock is None else str(self._sock.getsockname()[0])
        except OSError:
            return None

    async def connect(self, address: Address, give_up: float) -> Cause | float | None:
        """Connect by `give_up` (loop time). A cause, or the round trip in seconds, None if the kernel measured none."""
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:
            if error.errno in NO_IPV6 and address.family == socket.AF_INET6:
                return Cause.NO_ROUTE
            raise
        self._sock = sock
        sock.settimeout(0)
        timestamps.enable(sock)
        self.opened += 1
        code = sock.connect_ex(address.sockaddr)
        info = None
        if code in PENDING:
            info = timestamps.connect_info(sock)
            code = 0
            if info is None or not info.established:  # on loopback it is through by now
                if not await self._writable(give_up):
                    return Cause.CONNECT_TIMEOUT
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                info = timestamps.connect_info(sock)
        if code and code not in ENDED:  # the handshake reports what ended it: the hello cannot be sent
            return _cause_of_connect(code, address)
        if joined_to_itself(sock, address.sockaddr[1]):
            return Cause.CONNECT_REFUSED  # no other program is there
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return info.round_trip if info else None

    def send(self, data: bytes) -> Cause | None:
        """Send a few bytes at once. A new connection's buffer always takes them; only a dead one refuses."""
        try:
            self._open.send(data)
        except OSError as error:
            if error.errno not in BROKEN | FULL:
                raise
            return Cause.RESET
        return None

    def keep(self, received: Received) -> None:
        """Give back bytes for the next `receive`: a stream's segments are no messages."""
        self._kept = received

    async def receive(self) -> Received:
        """The next bytes, or why there are none: the peer's end, a reset, or SILENCE when the deadline has passed."""
        sock = self._open
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return kept
        while True:
            if not self._expired:  # then nothing is waited for, only taken
                await self._readable()
            try:
                data, stamp = timestamps.receive(sock, READ_SIZE)
            except BlockingIOError:
                if self._expired:
                    return Received(b"", cause=Cause.SILENCE)
                continue
            except OSError as error:
                if error.errno not in BROKEN:
                    raise
                self._ended = True
                return Received(b"", cause=Cause.RESET)
            if not data:
                self._ended = True
            return Received(data, stamp, None if data else Cause.EOF)

    def wait_until(self, when: float) -> None:
        """Let the following waits end by `when` (loop time), or by the deadline where that is earlier."""
        self._arm(min(self.deadline, when))

    def prolong(self, deadline: float) -> None:
        """Move the deadline (loop time): for a connection that is to stay."""
        self.deadline = deadline
        self._arm(deadline)

    def discard(self) -> None:
        """Let go of the socket, whatever its state; another connect may follow."""
        if self._sock is None:
            return
        if self._reading:
            self._loop.remove_reader(self._sock.fileno())
            self._reading = False
        self._sock.close()
        self._sock = None
        self._kept = None

    async def close(self) -> None:
        """End the connection in order: our end of the stream, then what is still under way, then close."""
        try:
            if self._sock is not None and not self._ended:
                await self._drain(self._sock)
        finally:
            self._limit.cancel()
            self.discard()

    @property
    def _open(self) -> socket.socket:
        if self._sock is None:
            msg = "the connection is not open"
            raise RuntimeError(msg)
        return self._sock

    async def _drain(self, sock: socket.socket) -> None:
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # never connected, or already dead
        if not self._expired:
            self._arm(min(self.deadline, self._loop.time() + DRAIN_SECONDS))
        left = DRAIN_MOST
        while left > 0:
            received = await self.receive()
            if received.cause is not None:
                return
            left -= len(received.data)

    def _arm(self, when: float) -> None:
        """Move the one timer: every wait ends by `when`."""
        self._limit.cancel()
        self._expired = False
        self._limit = self._loop.call_at(when, self._expire)

    async def _writable(self, give_up: float) -> bool:
        """Wait for the connect to end, for good or ill; False when the time is over.

        A loop that comes late may find both at once: then the connect has ended.
        """
        ended = False

        def end() -> None:
            nonlocal ended
            ended = True
            self._wake()

        if give_up < self.deadline:
            self._arm(give_up)
        descriptor = self._open.fileno()
        self._loop.add_writer(descriptor, end)
        try:
            await self._wait()
        finally:
            self._loop.remove_writer(descriptor)
        if give_up < self.deadline:
            self._arm(self.deadline)
        return ended

    async def _readable(self) -> None:
        if not self._reading:
            self._loop.add_reader(self._open.fileno(), self._wake)
            self._reading = True
        await self._wait()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expire(self) -> None:
        self._expired = True
        self._wake()


def joined_to_itself(sock: socket.socket, port: int) -> bool:
    """TCP has joined a connect to its own end: the local port happened to be the `port` asked for, unused.

    Both ends are asked for: the address connected to may be another name of this machine, such as 0.0.0.0. That is left
    out where the ports differ, as they nearly always do.
    """
    try:
        own = sock.getsockname()
        return bool(own[1] == port and own == sock.getpeername())
    except OSError:  # it was ended already
        return False


def _cause_of_connect(code: int, address: Address) -> Cause:
    """What a failed connect says of the target. Raises OSError for what is our own machine's fault."""
    if code in REFUSED:
        return Cause.CONNECT_REFUSED
    if code == errno.ETIMEDOUT:
        return Cause.CONNECT_TIMEOUT
    if code in NO_ROUTE or (code in NO_IPV6 and address.family == socket.AF_INET6):
        return Cause.NO_ROUTE
    raise OSError(code, f"{os.strerror(code)}, on connecting to {address.sockaddr[0]} port {address.sockaddr[1]}")
