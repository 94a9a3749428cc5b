"""What one probe's process writes: its lines, and the end of whatever the library prints.

The pipes are our own, not asyncio's: a process that escapes from a worker may hold its end open for ever.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable

from exporter.clients.driver_result import Line, read_line

CHUNK = 65536
MAX_LINE = 65536
MAX_LINES = 64  # a driver writes about ten
TAIL = 2048  # bytes that are kept of what a library prints
CLOSING = 1.5  # seconds for closing in order after the result is known


class Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> None:
        """Add bytes; an empty chunk marks the end."""
        self._kept = (self._kept + data[-TAIL:])[-TAIL:]

    @property
    def text(self) -> str:
        """The kept bytes as text."""
        return self._kept.decode("utf-8", "replace")


class LineSplitter:
    """Call `on_line` for each line of a stream, and `on_end` at its end. A line longer than MAX_LINE is dropped."""

    def __init__(self, on_line: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_line, self._on_end = on_line, on_end
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Add bytes; an empty chunk marks the end."""
        if not data:
            self._on_end()
            return
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= MAX_LINE else b""
        for line in lines:
            self._on_line(line)


class Pipe:
    """A pipe whose reading end the running loop watches until `close`. `write_end` is for the worker."""

    def __init__(self, feed: Callable[[bytes], None]) -> None:
        """`feed` gets each chunk, and an empty one at the end."""
        self._feed = feed
        self._loop = asyncio.get_running_loop()
        self._read_end: int | None
        self._write_end: int | None
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._loop.add_reader(self._read_end, self._read)

    @property
    def write_end(self) -> int:
        """Our copy of the writing end. Raises OSError once it is closed."""
        if self._write_end is None:
            msg = "the pipe is closed"
            raise OSError(msg)
        return self._write_end

    def close_write_end(self) -> None:
        """Close our copy of the writing end, once the worker has its own."""
        if self._write_end is not None:
            os.close(self._write_end)
            self._write_end = None

    def close(self) -> None:
        """Read what is still in the pipe, a megabyte at most, then close both ends."""
        self.close_write_end()
        for _ in range(16):
            if self._read_end is None or not self._read():
                break
        self._close_read_end()

    def _read(self) -> bool:
        """Read once; whether more may come."""
        if self._read_end is None:
            return False
        try:
            data = os.read(self._read_end, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close_read_end()
        self._feed(data)
        return bool(data)

    def _close_read_end(self) -> None:
        if self._read_end is not None:
            self._loop.remove_reader(self._read_end)
            with contextlib.suppress(OSError):
                os.close(self._read_end)
            self._read_end = None


class ProbeOutput:
    """The lines of one probe and the tail of its printed output; `over` is set when nothing more is to be expected."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.printed = Tail()
        self.over = asyncio.Event()
        self.splitter = LineSplitter(self._on_line, self.over.set)
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, until: float) -> bool:
        """Wait until the process has closed its connection or has ended; False if the loop's clock reaches `until`."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self.over.wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()
        return self.over.is_set()

    def _on_line(self, raw: bytes) -> None:
        line = read_line(raw)
        if line is None or len(self.lines) >= MAX_LINES:
            return
        self.lines.append(line)
        if "end" in line and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSING, self.over.set)
        if "closed" in line:
            self.over.set()
