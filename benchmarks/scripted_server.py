"""A scripted gateway that knows the truth: it answers every hello at once and writes down how long that took.

The truth is from the kernel's stamp of the hello's last segment to the moment right before the answer is sent, so it
holds the server's own wait for a processor, as a real gateway's answer would. One line per connection on standard
output when the input line "report" asks for it: JSON, {"ADDRESS": [seconds, ...]} by the address that was connected to.

It listens on one port of every loopback address (127.0.x.y), so that a thousand targets need one socket.
"""

import json
import select
import socket
import struct
import sys
import time

REPLY_TEXT = b"226\x0020261121 02:00:00 EST\x00"
REPLY = struct.pack(">I", len(REPLY_TEXT)) + REPLY_TEXT
SO_TIMESTAMPING, RX_SOFTWARE_STAMPS = 37, 8 | 16
HELLO_LENGTH = 17  # API\0, four bytes of length, v100..226


def main() -> None:
    """Serve until standard input ends."""
    listener = socket.create_server(("0.0.0.0", 0), backlog=4096)  # noqa: S104 - every loopback address
    listener.settimeout(0)
    keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    keeper.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE_STAMPS)
    listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE_STAMPS)
    poller = select.epoll()
    poller.register(listener.fileno(), select.EPOLLIN)
    poller.register(sys.stdin.fileno(), select.EPOLLIN)
    print(listener.getsockname()[1], flush=True)
    open_now: dict[int, socket.socket] = {}
    truths: dict[str, list[float]] = {}
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == listener.fileno():
                accept(listener, poller, open_now)
            elif descriptor == sys.stdin.fileno():
                if not sys.stdin.readline():
                    return
                print(json.dumps({"connections": sum(map(len, truths.values())), "truths": truths}), flush=True)
                truths.clear()
            else:
                answer(descriptor, poller, open_now, truths)


def accept(listener: socket.socket, poller: select.epoll, open_now: dict[int, socket.socket]) -> None:
    """Take every connection that waits."""
    while True:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE_STAMPS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_now[sock.fileno()] = sock
        poller.register(sock.fileno(), select.EPOLLIN)


def answer(
    descriptor: int, poller: select.epoll, open_now: dict[int, socket.socket], truths: dict[str, list[float]]
) -> None:
    """Answer a hello, or close after the client's end of stream."""
    sock = open_now[descriptor]
    try:
        data, control, _, _ = sock.recvmsg(256, 128)
    except OSError:
        data, control = b"", []
    if len(data) >= HELLO_LENGTH:
        before = time.time_ns()
        sock.send(REPLY)
        stamp = next(
            (struct.unpack_from("@ll", payload) for _, kind, payload in control if kind == SO_TIMESTAMPING), None
        )
        if stamp is not None:
            received = stamp[0] * 1_000_000_000 + stamp[1]
            truths.setdefault(sock.getsockname()[0], []).append((before - received) / 1e9)
    elif not data:
        truths.setdefault(sock.getsockname()[0], [])
        poller.unregister(descriptor)
        del open_now[descriptor]
        sock.close()


if __name__ == "__main__":
    main()
