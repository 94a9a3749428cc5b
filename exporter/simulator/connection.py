"""One connection to the simulated gateway: a raw non-blocking socket, its bytes in and its script out.

Raw sockets instead of asyncio's transports: the ends of a connection (in order, reset, dropped unread) must be exactly
those asked for, the client's own end must be seen as it was, and a thousand clients at once should cost little.
"""

import asyncio
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from exporter.protocol.wire import Request, split_frame
from exporter.simulator import messages, responses
from exporter.simulator.messages import ClientHello, Message
from exporter.simulator.modes import MODES
from exporter.simulator.modes.behaviour import (
    AcceptBehaviour,
    GatewayMode,
    HelloBehaviour,
    PortBehaviour,
    StartBehaviour,
)
from exporter.simulator.passive_reader import PassiveReader
from exporter.simulator.recorder import KEPT_BYTES, ClientEnd, ConnectionRecord, Recorder
from exporter.simulator.responses import Ending, Script, Step
from exporter.simulator.settings import GatewaySettings

READ_MOST = 8192  # bytes at a time: keeps cutting frames off the buffer cheap
DRAIN_SECONDS = 2.0  # after our end of stream, how long the client may take to end its own
OUTBOX_MOST = 4096  # steps: a client that asks and never reads is not read any more
SESSION_BYTE_PAUSE = 0.001  # after the handshake, in the mode `bytewise`
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends a reset


class Phase(Enum):
    """How far a connection has come."""

    HELLO = auto()
    START = auto()
    SESSION = auto()
    DEAF = auto()  # what still comes is not answered, only put into the record
    GONE = auto()


@dataclass(slots=True)
class SharedState:
    """What all connections of one gateway share."""

    setup: GatewaySettings
    mode: GatewayMode
    loop: asyncio.AbstractEventLoop
    recorder: Recorder = field(default_factory=Recorder)
    connections: "set[ClientConnection]" = field(default_factory=set)
    client_ids: "dict[int, ClientConnection]" = field(default_factory=dict)

    def now(self) -> float:
        """The gateway's own clock, unix seconds."""
        return self.setup.clock() + (self.setup.clock_offset if self.mode.clock_off else 0.0)

    def change(self, mode: GatewayMode) -> None:
        """Another mode from now on; live sessions are told what such a change means to them."""
        self.mode = mode
        for connection in tuple(self.connections):
            if mode.port is PortBehaviour.REFUSED:
                connection.play(responses.RESET, at_once=True)
            elif mode.answering:
                connection.announce_change()
            else:
                connection.freeze()


class ClientConnection:
    """One accepted connection; it lives on the event loop's callbacks, without a task of its own."""

    __slots__ = (
        "_announced",
        "_buffer",
        "_outbox",
        "_passive_reader",
        "_phase",
        "_reading",
        "_shared",
        "_sock",
        "_timer",
        "_writing",
        "record",
    )

    def __init__(self, shared: SharedState, sock: socket.socket, address: str) -> None:
        """Take over an accepted, non-blocking socket, and do what the mode does at once."""
        self._shared = shared
        self._sock = sock
        self._buffer = b""
        self._passive_reader: PassiveReader | None = None
        self._outbox: deque[Step] = deque()
        self._phase = Phase.HELLO
        self._reading = self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._announced: GatewayMode = shared.mode  # what the client knows about our links
        self.record: ConnectionRecord = shared.recorder.open(address, shared.mode.name, time.time_ns())
        shared.connections.add(self)
        if shared.mode.limited and sum(not each.deaf for each in shared.connections) > shared.setup.connections:
            self._phase = Phase.DEAF
        if shared.mode.accept in (AcceptBehaviour.CLOSE, AcceptBehaviour.BANNER):
            self._phase = Phase.DEAF
        if shared.mode.accept is not AcceptBehaviour.RELAY:  # a relay closes with the hello unread
            self._read(on=True)
        self.play(responses.at_accept(shared.mode))

    @property
    def deaf(self) -> bool:
        """What still comes is not answered."""
        return self._phase in (Phase.DEAF, Phase.GONE)

    def play(self, steps: Script, *, at_once: bool = False) -> None:
        """Say these after what is still to be said, or instead of it."""
        if self._phase is Phase.GONE:
            return
        if at_once:
            self._outbox.clear()
            self._stop_timer()
            self._write(on=False)
        self._outbox.extend(steps)
        if self._timer is None and not self._writing:
            self._pump()

    def announce_change(self) -> None:
        """Tell a live session of links lost and restored since it was last told."""
        mode = self._shared.mode
        if self._phase is Phase.SESSION:
            version = self.record.version or 0
            self.play(responses.at_change(self._announced, mode, self._shared.setup, version, self._shared.now()))
            self._announced = mode

    def freeze(self) -> None:
        """Leave a live session without what was still to be said."""
        if self._phase is Phase.SESSION:
            self.play(responses.SILENCE, at_once=True)

    def end(self, ending: Ending) -> None:
        """End the connection from our side."""
        if ending is not Ending.DROP or self.record.our_end is None:  # stopping the gateway does not rewrite history
            self.record.our_end = ending
        if ending is Ending.CLOSE:
            self._outbox.clear()
            self._phase = Phase.DEAF
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:  # the client was faster
                self._leave(ClientEnd.RESET)
                return
            self._stop_timer()
            self._timer = self._shared.loop.call_later(DRAIN_SECONDS, self._leave)
            self._read(on=True)
            return
        if ending is Ending.RESET:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._leave()

    # --- what comes in

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
        if not self.record.hello_ns and len(self.record.hello) < KEPT_BYTES:
            self.record.hello = (self.record.hello + data)[:KEPT_BYTES]
        self._buffer += data
        try:
            self._read_frames()
        except ValueError as error:
            self._reject(str(error))
        self._record_unanswered()

    def _record_unanswered(self) -> None:
        """Record what is not answered any more. After rubbish the beginning of a message is unknown."""
        if self._phase is not Phase.DEAF:
            return
        data, self._buffer = self._buffer, b""
        if self.record.complaint:
            return
        if self._passive_reader is None:
            self._passive_reader = PassiveReader(greeted=bool(self.record.hello_ns))
        for message in self._passive_reader.read(data):
            self._shared.recorder.record_unanswered(self.record, message)

    def _read_frames(self) -> None:
        """Act on all that is complete in the buffer."""
        if self._phase is Phase.HELLO:
            if self._shared.mode.hello is HelloBehaviour.FOREIGN:  # such a service answers whatever it is sent
                self._phase = Phase.DEAF
                self.play((Step(self._shared.mode.banner, ending=Ending.CLOSE),))
                return
            read = messages.read_hello(self._buffer)
            if read is None:
                return
            hello, rest = read
            self.record.hello = self._buffer[: len(self._buffer) - len(rest)][:KEPT_BYTES]
            self._buffer = rest
            self._on_hello(hello)
        while self._phase in (Phase.START, Phase.SESSION):
            split = split_frame(self._buffer, messages.MAX_REQUEST)
            if split is None:
                return
            payload, self._buffer = split
            self._receive(payload)

    def _on_hello(self, hello: ClientHello) -> None:
        shared, mode = self._shared, self._shared.mode
        self.record.hello_ns = time.time_ns()
        version = (
            responses.OLD_VERSION
            if mode.hello is HelloBehaviour.TOO_OLD
            else min(shared.setup.server_version, hello.maximum)
        )
        if hello.minimum > shared.setup.server_version:
            self.record.complaint = f"it wants at least version {hello.minimum}"
            self.play(responses.CLOSE)
            return
        if 0 < mode.newest_hello < hello.maximum:
            self._phase = Phase.DEAF
            self.play(responses.CLOSE if mode.closes_newest else responses.SILENCE)
            return
        self.record.version = version
        self._phase = Phase.START if mode.hello in responses.GREETINGS else Phase.DEAF
        self.play(responses.at_hello(mode, shared.setup, version, shared.now()))

    def _receive(self, payload: bytes) -> None:
        """One frame of the client after the hello. Raises ValueError if it cannot be read."""
        version = self.record.version or 0
        message: Message | None = None
        try:
            message = messages.read_message(payload, version)
        finally:
            self._shared.recorder.receive(self.record, payload, message, time.time_ns())
        if message.id == Request.START_API:
            if self._phase is Phase.START:
                self._start(messages.client_id(message), version)
        elif self._phase is Phase.SESSION:
            shared = self._shared
            if shared.mode.wedges and message.id == Request.REQ_CONTRACT_DETAILS:
                shared.change(MODES["silent"])
            self._answer(responses.at_request(shared.mode, shared.setup, version, message, shared.now()))

    def _start(self, client_id: int, version: int) -> None:
        shared, mode = self._shared, self._shared.mode
        shared.recorder.start(self.record, client_id)
        taken = client_id in shared.setup.taken_client_ids or client_id in shared.client_ids
        if taken and mode.start is not StartBehaviour.NOTHING:
            self.play(responses.refusal(version, shared.now()))
            return
        if mode.start in responses.SESSIONS:
            self._phase = Phase.SESSION
            self._announced = mode
            shared.client_ids.setdefault(client_id, self)
        self._answer(responses.at_start(mode, shared.setup, version, shared.now()))

    def _reject(self, complaint: str) -> None:
        """The client sent rubbish. A real gateway resets a connection that starts with it."""
        self.record.complaint = complaint
        self._buffer = b""
        if self._shared.mode.hello is HelloBehaviour.NOTHING:
            self._phase = Phase.DEAF
        else:
            self.play(responses.RESET if self._phase is Phase.HELLO else responses.CLOSE)

    # --- what goes out

    def _answer(self, steps: Script) -> None:
        if self._shared.mode.hello is HelloBehaviour.BYTEWISE:
            steps = responses.bytewise(steps, SESSION_BYTE_PAUSE)
        self.play(steps)
        if len(self._outbox) > OUTBOX_MOST:
            self._read(on=False)

    def _pump(self) -> None:
        """Play the steps until one has to wait: for its time, or for the client to read."""
        while self._outbox:
            step = self._outbox.popleft()
            if step.delay:
                self._outbox.appendleft(replace(step, delay=0.0))
                self._timer = self._shared.loop.call_later(step.delay, self._resume)
                return
            if step.times > 1:
                self._outbox.appendleft(replace(step, times=step.times - 1))
                step = Step(step.data)
            sent = self._send(step.data)
            if sent < 0:
                return
            if sent < len(step.data):
                self._outbox.appendleft(replace(step, data=step.data[sent:]))
                self._write(on=True)
                return
            if step.ending is not None:
                self.end(step.ending)
                return
        self._write(on=False)
        self._read(on=True)

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
        if self.record.hello_ns and not self.record.replied_ns:
            self.record.replied_ns = time.time_ns()
        return sent

    # --- the socket

    def _read(self, *, on: bool) -> None:
        if on != self._reading:
            self._reading = on
            if on:
                self._shared.loop.add_reader(self._sock, self._readable)
            else:
                self._shared.loop.remove_reader(self._sock)

    def _write(self, *, on: bool) -> None:
        if on != self._writing:
            self._writing = on
            if on:
                self._shared.loop.add_writer(self._sock, self._pump)
            else:
                self._shared.loop.remove_writer(self._sock)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave(self, client_end: ClientEnd | None = None) -> None:
        """Close the socket and forget the connection; the record stays."""
        if self._phase is Phase.GONE:
            return
        self._phase = Phase.GONE
        self._stop_timer()
        self._read(on=False)
        self._write(on=False)
        self._sock.close()
        self._buffer = b""
        self._outbox.clear()
        shared, record = self._shared, self.record
        shared.connections.discard(self)
        if record.client_id is not None and shared.client_ids.get(record.client_id) is self:
            del shared.client_ids[record.client_id]
        if client_end is not None:
            record.client_end = client_end
        shared.recorder.close(record, time.time_ns())
