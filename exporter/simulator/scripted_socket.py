"""The socket of a simulated connection: raw, non-blocking, driven by the event loop's callbacks.

Raw sockets instead of asyncio's transports: the ends of a connection (in order, reset, dropped unread) must be exactly
those asked for, the client's own end must be seen as it was, and a thousand clients at once should cost little.
"""

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from exporter.simulator.recorder import ClientEnd, ConnectionRecord
from exporter.simulator.steps import Ending, Script, Step

READ_MOST = 8192  # bytes at a time: keeps cutting frames off the buffer cheap
DRAIN_SECONDS = 2.0  # after our end of stream, how long the client may take to end its own
OUTBOX_MOST = 4096  # steps: beyond that, nothing is read from a client that never reads its answers
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends a reset


class ScriptedSocket:
    """Plays steps, hands on the bytes that come in, and puts both ends of the connection into the record.

    `received` gets the bytes. `ended` is called when our side has ended, and again when the socket is closed; `gone`
    says which of both it is.
    """

    __slots__ = (
        "_ended",
        "_loop",
        "_reading",
        "_received",
        "_record",
        "_sock",
        "_timer",
        "_writing",
        "gone",
        "outbox",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        record: ConnectionRecord,
        received: Callable[[bytes], None],
        ended: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._record = record
        self._received = received
        self._ended = ended
        self._reading = self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self.gone = False
        self.outbox: deque[Step] = deque()

    def play(self, steps: Script, *, at_once: bool = False) -> None:
        """Send these after what is still to be sent, or instead of it."""
        if self.gone:
            return
        if at_once:
            self.outbox.clear()
            self._stop_timer()
            self._set_writing(on=False)
        self.outbox.extend(steps)
        if self._timer is None and not self._writing:
            self._pump()

    def limit_outbox(self) -> None:
        """Stop reading from a client that does not read its answers; `_pump` reads again once all are sent."""
        if len(self.outbox) > OUTBOX_MOST:
            self.set_reading(on=False)

    def end(self, ending: Ending) -> None:
        """End the connection from our side."""
        if ending is not Ending.DROP or self._record.our_end is None:  # stopping the gateway does not rewrite history
            self._record.our_end = ending
        if ending is Ending.CLOSE:
            self.outbox.clear()
            self._ended()
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:  # the client was faster
                self._leave(ClientEnd.RESET)
                return
            self._stop_timer()
            self._timer = self._loop.call_later(DRAIN_SECONDS, self._leave)
            self.set_reading(on=True)
            return
        if ending is Ending.RESET:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._leave()

    def set_reading(self, *, on: bool) -> None:
        """Begin to read, or stop."""
        if on != self._reading:
            self._reading = on
            if on:
                self._loop.add_reader(self._sock, self._readable)
            else:
                self._loop.remove_reader(self._sock)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_MOST)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._leave(ClientEnd.RESET)
            return
        if not data:
            self._leave(ClientEnd.FIN)
            return
        self._received(data)

    def _pump(self) -> None:
        """Play the steps until one has to wait: for its time, or for the client to read."""
        while self.outbox:
            step = self.outbox.popleft()
            if step.delay:
                self.outbox.appendleft(replace(step, delay=0.0))
                self._timer = self._loop.call_later(step.delay, self._resume)
                return
            if step.times > 1:
                self.outbox.appendleft(replace(step, times=step.times - 1))
                step = Step(step.data)
            sent = self._send(step.data)
            if sent < 0:
                return
            if sent < len(step.data):
                self.outbox.appendleft(replace(step, data=step.data[sent:]))
                self._set_writing(on=True)
                return
            if step.ending is not None:
                self.end(step.ending)
                return
        self._set_writing(on=False)
        self.set_reading(on=True)

    def _resume(self) -> None:
        self._timer = None
        self._pump()

    def _send(self, data: bytes) -> int:
        """How many bytes the kernel took; -1 if the client is gone."""
        if not data:
            return 0
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._leave(ClientEnd.RESET)
            return -1
        if self._record.hello_ns and not self._record.replied_ns:
            self._record.replied_ns = time.time_ns()
        return sent

    def _set_writing(self, *, on: bool) -> None:
        if on != self._writing:
            self._writing = on
            if on:
                self._loop.add_writer(self._sock, self._pump)
            else:
                self._loop.remove_writer(self._sock)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave(self, client_end: ClientEnd | None = None) -> None:
        if self.gone:
            return
        self.gone = True
        self._stop_timer()
        self.set_reading(on=False)
        self._set_writing(on=False)
        self._sock.close()
        self.outbox.clear()
        if client_end is not None:
            self._record.client_end = client_end
        self._ended()
