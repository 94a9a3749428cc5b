"""Thousands of simulated gateways in one process that costs little and writes down its own truth.

It listens on one port of every loopback address: gateway N is `parts.address(N)`. Each answers the hello, startApi and
reqCurrentTime as a gateway of version 226 does, with the bytes that the package's simulator would send. Commands are
lines on standard input, answers are lines of JSON:

    report       what happened since the last report: {"truths": {ADDRESS: [[received, seconds], ...]}, "open": N, ...}
    fault KIND   from now on every tenth gateway is `frozen`, `slow` or answers `rubbish`; `none`: it is well again

A truth is one answered hello: when the kernel received it (unix seconds), and the seconds from there to the moment
right before the answer was sent, so that the server's own wait for a processor is in it, as a real gateway's would be.
"""

import gc
import heapq
import json
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import lru_cache

from parts import FAULTY_EVERY, number_of

from exporter.protocol.wire import Answer
from exporter.simulator import messages, responses
from exporter.simulator.modes import MODES
from exporter.simulator.settings import GatewaySettings

SO_TIMESTAMPING, RX_SOFTWARE_STAMPS = 37, 8 | 16
VERSION = 226
SLOW = 1.5  # seconds for each answer: above `slow_after`, below the deadline
RUBBISH = b"\x7f\xff\xff\xff" + bytes(range(200, 216))
BATCH = 1024  # events of one poll
REPLY = messages.reply(VERSION, "20261121 02:00:00 EST")
OPENING = b"".join(
    step.data for step in responses.at_start(MODES["ok"], GatewaySettings(), VERSION, 1_800_000_000.0) if step.data
)
HELLO = b"API\0"


@lru_cache(maxsize=2)
def time_answer(second: int) -> bytes:
    """The gateway's clock, the same bytes for all of one second."""
    return messages.current_time(VERSION, second)


class Client:
    """One accepted connection."""

    __slots__ = ("address", "faulty", "greeted", "sock", "started")

    def __init__(self, sock: socket.socket) -> None:
        """Nothing has come yet."""
        self.sock = sock
        self.address: str = sock.getsockname()[0]
        self.faulty = number_of(self.address) % FAULTY_EVERY == 0
        self.greeted = self.started = False


class Gateways:
    """All gateways: one listener, one poller, no threads."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("0.0.0.0", 0), backlog=4096)  # noqa: S104 - every loopback address
        self.listener.settimeout(0)
        self._keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for sock in (self.listener, self._keeper):
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE_STAMPS)
        self.poller = select.epoll()
        self.poller.register(self.listener.fileno(), select.EPOLLIN)
        self.poller.register(sys.stdin.fileno(), select.EPOLLIN)
        self.clients: dict[int, Client] = {}
        self.fault = "none"
        self.truths: dict[str, list[tuple[float, float]]] = {}
        self.requests = self.most = 0
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def run(self) -> None:
        """Serve until standard input ends."""
        listening, commands = self.listener.fileno(), sys.stdin.fileno()
        while True:
            for descriptor, _ in self.poller.poll(self._until_next(), BATCH):
                if descriptor == listening:
                    self.accept()
                elif descriptor == commands:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    print(json.dumps(self.obey(*line.split())), flush=True)
                else:
                    self.read(self.clients[descriptor])
            while self._later and self._later[0][0] <= time.monotonic():
                heapq.heappop(self._later)[2]()

    def obey(self, verb: str, argument: str = "") -> object:
        """The answer to a command."""
        if verb == "fault":
            self.fault = argument
            return {"fault": argument}
        answer = {"truths": self.truths, "requests": self.requests, "open": len(self.clients), "most_open": self.most}
        self.truths, self.requests, self.most = {}, 0, len(self.clients)
        return answer

    def accept(self) -> None:
        """Take the connections that wait."""
        for _ in range(BATCH):
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.settimeout(0)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE_STAMPS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.clients[sock.fileno()] = Client(sock)
            self.poller.register(sock.fileno(), select.EPOLLIN)
            self.most = max(self.most, len(self.clients))

    def read(self, client: Client) -> None:
        """Answer what came, or close after the client's end of stream."""
        control: list[tuple[int, int, bytes]] = []
        try:
            if client.greeted:
                data = client.sock.recv(512)
            else:
                data, control, _, _ = client.sock.recvmsg(512, 128)
        except OSError:
            data = b""
        if not data:
            descriptor = client.sock.fileno()
            self.poller.unregister(descriptor)
            del self.clients[descriptor]
            client.sock.close()
            return
        kind = self.fault if client.faulty else "none"
        if not client.greeted:
            if kind != "frozen":
                client.greeted = True
                self.answer(client, kind, lambda: self.reply(client, control), RUBBISH)
            return
        self.requests += 1
        answer = time_answer(int(time.time())) if client.started else OPENING
        client.started = True
        if kind != "frozen":
            self.answer(client, kind, lambda: send(client, answer), RUBBISH)

    def answer(self, client: Client, kind: str, usual: Callable[[], None], rubbish: bytes) -> None:
        """Answer as this kind of gateway does."""
        if kind == "rubbish":
            send(client, rubbish)
        elif kind == "slow":
            self._count += 1
            heapq.heappush(self._later, (time.monotonic() + SLOW, self._count, usual))
        else:
            usual()

    def reply(self, client: Client, control: list[tuple[int, int, bytes]]) -> None:
        """Answer the hello and write down the truth."""
        before = time.time_ns()
        send(client, REPLY)
        stamp = next(
            (struct.unpack_from("@ll", payload) for _, kind, payload in control if kind == SO_TIMESTAMPING), None
        )
        if stamp is not None:
            received = stamp[0] * 1_000_000_000 + stamp[1]
            self.truths.setdefault(client.address, []).append((received / 1e9, (before - received) / 1e9))

    def _until_next(self) -> float:
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else -1


def send(client: Client, data: bytes) -> None:
    """Send, unless the client has gone."""
    try:
        client.sock.send(data)
    except OSError:
        return


def main() -> None:
    """Serve; the first line printed is the port."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gateways = Gateways()
    gc.collect()
    gc.freeze()
    print(gateways.listener.getsockname()[1], flush=True)
    gateways.run()


if __name__ == "__main__":
    assert messages.PROTOBUF_FROM[Answer.CURRENT_TIME] <= VERSION  # noqa: S101 - the bytes above are of that framing
    main()
