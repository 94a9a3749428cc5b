"""One connection to the simulated gateway: what the client sends, and what the mode answers to it."""

import asyncio
import socket
import time
from dataclasses import dataclass, field
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
from exporter.simulator.recorder import KEPT_BYTES, ConnectionRecord, Recorder
from exporter.simulator.scripted_socket import ScriptedSocket
from exporter.simulator.settings import GatewaySettings
from exporter.simulator.steps import CLOSE, RESET, SILENCE, Ending, Script, Step, bytewise

SESSION_BYTE_PAUSE = 0.001  # after the handshake, in the mode `bytewise`


class Phase(Enum):
    """How far a connection has come."""

    HELLO = auto()
    START = auto()
    SESSION = auto()
    DEAF = auto()  # what still comes is not answered, only recorded
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
        """Play another mode from now on; live sessions get the notices of the change."""
        self.mode = mode
        for connection in tuple(self.connections):
            if mode.port is PortBehaviour.REFUSED:
                connection.socket.play(RESET, at_once=True)
            elif mode.answering:
                connection.announce_change()
            else:
                connection.freeze()


class ClientConnection:
    """One accepted connection; it lives on the event loop's callbacks, without a task of its own."""

    __slots__ = ("_announced", "_buffer", "_passive_reader", "_phase", "_shared", "record", "socket")

    def __init__(self, shared: SharedState, sock: socket.socket, address: str) -> None:
        """Take over an accepted, non-blocking socket, and do what the mode does at once."""
        self._shared = shared
        self._buffer = b""
        self._passive_reader: PassiveReader | None = None
        self._phase = Phase.HELLO
        self._announced: GatewayMode = shared.mode  # what the client knows about our links
        self.record: ConnectionRecord = shared.recorder.open(address, shared.mode.name, time.time_ns())
        self.socket = ScriptedSocket(shared.loop, sock, self.record, self._on_data, self._on_end)
        shared.connections.add(self)
        if shared.mode.limited and sum(not each.deaf for each in shared.connections) > shared.setup.connections:
            self._phase = Phase.DEAF
        if shared.mode.accept in (AcceptBehaviour.CLOSE, AcceptBehaviour.BANNER):
            self._phase = Phase.DEAF
        if shared.mode.accept is not AcceptBehaviour.RELAY:  # a relay closes with the hello unread
            self.socket.set_reading(on=True)
        self.socket.play(responses.at_accept(shared.mode))

    @property
    def deaf(self) -> bool:
        """What still comes is not answered."""
        return self._phase in (Phase.DEAF, Phase.GONE)

    def announce_change(self) -> None:
        """Send a live session the notices of links lost and restored since the last ones."""
        mode = self._shared.mode
        if self._phase is Phase.SESSION:
            version = self.record.version or 0
            self.socket.play(
                responses.at_change(self._announced, mode, self._shared.setup, version, self._shared.now())
            )
            self._announced = mode

    def freeze(self) -> None:
        """Send a live session nothing more, not even the steps that are due."""
        if self._phase is Phase.SESSION:
            self.socket.play(SILENCE, at_once=True)

    def _on_data(self, data: bytes) -> None:
        if not self.record.hello_ns and len(self.record.hello) < KEPT_BYTES:
            self.record.hello = (self.record.hello + data)[:KEPT_BYTES]
        self._buffer += data
        try:
            self._read_frames()
        except ValueError as error:
            self._reject(str(error))
        self._record_unanswered()

    def _record_unanswered(self) -> None:
        """Record what is not answered. After bytes that cannot be read the beginning of a message is unknown."""
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
                self.socket.play((Step(self._shared.mode.banner, ending=Ending.CLOSE),))
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
            self.socket.play(CLOSE)
            return
        if 0 < mode.newest_hello < hello.maximum:
            self._phase = Phase.DEAF
            self.socket.play(CLOSE if mode.closes_newest else SILENCE)
            return
        self.record.version = version
        self._phase = Phase.START if mode.hello in responses.GREETINGS else Phase.DEAF
        self.socket.play(responses.at_hello(mode, shared.setup, version, shared.now()))

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
            self.socket.play(responses.refusal(version, shared.now()))
            return
        if mode.start in responses.SESSIONS:
            self._phase = Phase.SESSION
            self._announced = mode
            shared.client_ids.setdefault(client_id, self)
        self._answer(responses.at_start(mode, shared.setup, version, shared.now()))

    def _reject(self, complaint: str) -> None:
        """The client sent what cannot be read. A real gateway resets a connection that starts with it."""
        self.record.complaint = complaint
        self._buffer = b""
        if self._shared.mode.hello is HelloBehaviour.NOTHING:
            self._phase = Phase.DEAF
        else:
            self.socket.play(RESET if self._phase is Phase.HELLO else CLOSE)

    def _answer(self, steps: Script) -> None:
        if self._shared.mode.hello is HelloBehaviour.BYTEWISE:
            steps = bytewise(steps, SESSION_BYTE_PAUSE)
        self.socket.play(steps)
        self.socket.limit_outbox()

    def _on_end(self) -> None:
        """Our side has ended, or the socket is closed: then forget the connection; the record stays."""
        if not self.socket.gone:
            self._phase = Phase.DEAF
            return
        self._phase = Phase.GONE
        self._buffer = b""
        shared, client_id = self._shared, self.record.client_id
        shared.connections.discard(self)
        if client_id is not None and shared.client_ids.get(client_id) is self:
            del shared.client_ids[client_id]
        shared.recorder.close(self.record, time.time_ns())
