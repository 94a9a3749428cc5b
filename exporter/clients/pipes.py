"""Reading what a worker says and prints, without waiting for it and without keeping much of it.

Pipes of our own, not asyncio's: a process that escapes from a worker may hold its end open for ever.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

CHUNK = 65536
LONGEST_LINE = 65536


class Tail:
    """The last bytes of a stream."""

    def __init__(self, most: int = 2048) -> None:
        """Keep at most `most` bytes."""
        self._most = most
        self._kept = b""

    def take(self, data: bytes) -> None:
        """More bytes; none at the end."""
        self._kept = (self._kept + data[-self._most :])[-self._most :]

    @property
    def text(self) -> str:
        """What was kept, as text."""
        return self._kept.decode("utf-8", "replace")


class Lines:
    """Whole lines out of chunks. A line that is longer than any of ours is dropped."""

    def __init__(self, line: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """`line` is called for each line, `end` once at the end of the stream."""
        self._line, self._end = line, end
        self._rest = b""

    def take(self, data: bytes) -> None:
        """More bytes; none at the end."""
        if not data:
            self._end()
            return
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= LONGEST_LINE else b""
        for line in lines:
            self._line(line)


class Pipe:
    """A pipe whose reading end is watched by the running loop, while the `with` lasts. `inlet` is for the worker."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        """`take` gets each chunk, and an empty one at the end."""
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._outlet: int | None = None
        self.inlet: int | None = None

    def __enter__(self) -> Self:
        """Open both ends."""
        self._outlet, self.inlet = os.pipe()
        os.set_blocking(self._outlet, False)
        self._loop.add_reader(self._outlet, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take what is still there, then close both ends."""
        self.close_inlet()
        for _ in range(16):  # a megabyte at most: a worker that still prints must not hold us
            if self._outlet is None or not self._read():
                break
        self._close_outlet()

    def close_inlet(self) -> None:
        """Close our copy of the writing end, once the worker has its own."""
        if self.inlet is not None:
            os.close(self.inlet)
            self.inlet = None

    def _read(self) -> bool:
        """Read once; whether more may come."""
        if self._outlet is None:
            return False
        try:
            data = os.read(self._outlet, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close_outlet()
        self._take(data)
        return bool(data)

    def _close_outlet(self) -> None:
        if self._outlet is not None:
            self._loop.remove_reader(self._outlet)
            with contextlib.suppress(OSError):
                os.close(self._outlet)
            self._outlet = None
