"""The simulated gateway's port: open, refusing, or with a full accept queue. The port stays ours in all three.

A second socket, bound but never listening, keeps the port while nothing listens (SO_REUSEPORT lets both bind it).
"""

import asyncio
import errno
import socket
import sys
from collections.abc import Callable

BACKLOG = 4096
ACCEPT_MOST = 128  # connections at a time, then the others' bytes have their turn
ACCEPT_PAUSE = 0.05  # seconds, when the process has no file descriptors left
FULL_BACKLOG = 1  # the kernel then queues two connections
FILLERS = 4  # connections of our own, more than the queue holds
OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Accepted = Callable[[socket.socket, str], object]


class Listener:
    """A port of this machine, and who is called with each accepted socket (non-blocking) and its peer's address."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int, accepted: Accepted) -> None:
        """Take the port, without listening; 0 takes a free one. Raises OSError if it is in use or not ours."""
        self._loop = loop
        self._accepted = accepted
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self._family = family
        self._keeper: socket.socket | None = self._kept(address)
        self._address = self._keeper.getsockname()
        if not hasattr(socket, "SO_REUSEPORT"):  # then the port is ours only while we listen
            self._keeper.close()
            self._keeper = None
        self._sock: socket.socket | None = None
        self._fillers: list[socket.socket] = []
        self._pause: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """Return the port's number, which stays the same while connects are refused."""
        return int(self._address[1])

    def open(self) -> None:
        """Accept connections from now on."""
        if self._sock is None or self._fillers:
            self.refuse()
            self._sock = self._bound(self._address, shared=True)
            self._sock.listen(BACKLOG)
            self._loop.add_reader(self._sock, self._accept)

    def refuse(self) -> None:
        """Stop listening: connects are refused."""
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    def fill(self) -> None:
        """Listen, but with an accept queue that stays full: connects get no answer. Linux only; else ValueError."""
        if sys.platform != "linux":
            msg = "backlog_full works on Linux only: other systems refuse or reset instead of staying silent"
            raise ValueError(msg)
        self.refuse()
        self._sock = self._bound(self._address, shared=True)
        self._sock.listen(FULL_BACKLOG)
        for _ in range(FILLERS):
            filler = socket.socket(self._family, socket.SOCK_STREAM)
            filler.settimeout(0)
            filler.connect_ex(self._address)
            self._fillers.append(filler)

    def close(self) -> None:
        """Give the port back."""
        self.refuse()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def _kept(self, address: tuple[object, ...]) -> socket.socket:
        """Return the socket that keeps the port. Raises OSError if another program or another keeper has it."""
        self._bound(address, shared=False).close()  # sharing programs would not notice each other
        try:
            return self._bound(address, shared=True, reuse=False)  # without reuse, that check sees this keeper
        except OSError:  # connections of an earlier server still wait for their end
            return self._bound(address, shared=True)

    def _bound(self, address: tuple[object, ...], *, shared: bool, reuse: bool = True) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            sock.settimeout(0)
            if reuse and sys.platform != "win32":  # there it would let two programs share the port
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared and hasattr(socket, "SO_REUSEPORT"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
        return sock

    def _accept(self) -> None:
        for _ in range(ACCEPT_MOST):
            if self._sock is None:  # a connection changed the mode
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in OUT_OF_DESCRIPTORS:
                    raise
                self._loop.remove_reader(self._sock)
                self._pause = self._loop.call_later(ACCEPT_PAUSE, self._unpause)
                return
            sock.settimeout(0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted(sock, f"{address[0]}:{address[1]}")

    def _unpause(self) -> None:
        self._pause = None
        if self._sock is not None:
            self._loop.add_reader(self._sock, self._accept)
