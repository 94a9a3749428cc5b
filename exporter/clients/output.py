"""What one probe's process says while it lasts."""

import asyncio
import contextlib

from exporter.clients.driver_result import Line, read_line
from exporter.clients.pipes import Lines, Tail

MOST_LINES = 64  # a driver says eight
CLOSING = 1.5  # seconds for closing in order after the result is known


class ProbeOutput:
    """The lines and the end of the noise of one probe; `over` is set when nothing more is to be waited for."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.lines: list[Line] = []
        self.noise = Tail()
        self.over = asyncio.Event()
        self.feed = Lines(self._hear, self.over.set)
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, until: float) -> bool:
        """Until the process has closed its connection, or has ended, or the loop's clock is at `until`: then False."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self.over.wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()
        return self.over.is_set()

    def _hear(self, raw: bytes) -> None:
        line = read_line(raw)
        if line is None or len(self.lines) >= MOST_LINES:
            return
        self.lines.append(line)
        if "end" in line and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSING, self.over.set)
        if "closed" in line:
            self.over.set()
