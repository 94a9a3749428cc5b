"""Asks an HTTP server for `/probe` as Prometheus does, over connections that stay, and costs little itself."""

import asyncio
import gzip
import time
from collections import deque
from typing import Any

END_OF_HEADERS = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """End a request that is under way."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(str(exc)))

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        self._buffer += data
        if self._answer is None or self._answer.done() or not whole(self._buffer):
            return
        answer, self._buffer = bytes(self._buffer), bytearray()
        self._answer.set_result(answer)

    async def ask(self, request: bytes) -> tuple[float, bytes]:
        """Seconds until the last byte, and the whole answer."""
        assert self._transport is not None  # noqa: S101 - it is connected
        self._answer = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._transport.write(request)
        answer = await self._answer
        return time.perf_counter() - began, answer

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()


class Asker:
    """Requests to one server."""

    def __init__(self, port: int) -> None:
        self.answers: list[bytes] = []
        self._port = port
        self._free: deque[Connection] = deque()
        self._all: list[Connection] = []

    async def spread(self, paths: list[str], rate: float, seconds: float) -> list[float]:
        """So many requests a second at even distances, whatever the answers take; the seconds of each."""
        loop = asyncio.get_running_loop()
        asked: list[asyncio.Task[float]] = []
        began = loop.time()
        while (passed := loop.time() - began) < seconds:
            await asyncio.sleep(max(0.0, len(asked) / rate - passed))
            asked.append(loop.create_task(self.ask(paths[len(asked) % len(paths)])))
        return list(await asyncio.gather(*asked))

    async def at_once(self, paths: list[str], number: int, seconds: float) -> list[float]:
        """So many requests under way at any time; the seconds of each."""
        loop = asyncio.get_running_loop()
        taken: list[float] = []
        ends = loop.time() + seconds
        queue = deque(paths)

        async def one_after_the_other() -> None:
            while loop.time() < ends:
                path = queue[0]
                queue.rotate(-1)
                taken.append(await self.ask(path))

        await asyncio.gather(*(one_after_the_other() for _ in range(number)))
        return taken

    async def ask(self, path: str) -> float:
        """One request on a connection that is free, or on a new one."""
        if not self._free:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
            self._all.append(connection)
        else:
            connection = self._free.popleft()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUser-Agent: Prometheus/3\r\n"
            "Accept: text/plain;version=0.0.4\r\nAccept-Encoding: gzip\r\n"
            "X-Prometheus-Scrape-Timeout-Seconds: 15\r\n\r\n"
        )
        seconds, answer = await connection.ask(request.encode())
        self._free.append(connection)
        self.answers.append(answer)
        return seconds

    def close(self) -> None:
        """End all connections."""
        for connection in self._all:
            connection.close()

    def check(self) -> int:
        """How many probes succeeded; raises RuntimeError if one did not. Forgets them."""
        count = len(self.answers)
        for answer in self.answers:
            if b"\nprobe_success 1\n" not in body(answer):
                msg = f"a probe failed: {answer[:200]!r}"
                raise RuntimeError(msg)
        self.answers.clear()
        return count


def whole(answer: bytes | bytearray) -> bool:
    """Whether this is a whole answer, of a known length or in chunks."""
    head, end, rest = answer.partition(END_OF_HEADERS)
    if not end:
        return False
    length = header(head, b"content-length")
    return answer.endswith(LAST_CHUNK) if length is None else len(rest) >= int(length)


def header(head: bytes | bytearray, name: bytes) -> bytes | None:
    """The value of a header, if there is one."""
    _, found, rest = bytes(head).lower().partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0] if found else None


def body(answer: bytes) -> bytes:
    """The text of an answer."""
    head, _, rest = answer.partition(END_OF_HEADERS)
    data: Any = rest
    if header(head, b"content-length") is None:
        data = bytearray()
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            data += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
    return gzip.decompress(data) if header(head, b"content-encoding") == b"gzip" else bytes(data)
