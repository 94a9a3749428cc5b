"""A clock that stands still while anything runs, and jumps to the next deadline where everything waits.

For tests whose gateways and service share one event loop: they take no longer than they compute, and a busy machine
cannot make anything late. Not for tests with other processes: those have clocks of their own.

    pytestmark = pytest.mark.turned_clock

`@pytest.mark.real_clock` leaves one test of such a module the clock of the machine.

It takes the place of the functions of `time`: 18 modules of the exporter and the simulator read them, most of them deep
below what a test calls, and a clock as a parameter of them all would serve these tests alone. The kernel's receive stamps
are switched off, because no test can turn the kernel's clock.
"""

import asyncio
import selectors
import threading
import time
from collections.abc import Callable
from typing import Any

from exporter.probes import timestamps

TICK = 10_000  # ns that each turn of the loop takes
SETTLE = 0.001  # real seconds for the kernel to bring what was sent
SETS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")


class TurnedLoop(asyncio.SelectorEventLoop):
    """An event loop with such a clock. While it is open, the clocks of the process are its own too."""

    def __init__(self) -> None:
        self.now = 10**9  # ns
        self._real: dict[str, Callable[[], Any]] = {name: getattr(time, name) for name in SETS}
        self._stamps = timestamps.AVAILABLE
        self._before = set(threading.enumerate())
        self._executed = 0
        super().__init__(_Selector(self))
        began = time.time_ns()
        timestamps.AVAILABLE = False  # the kernel has a clock of its own
        for name in SETS:
            since = began - self.now if name.startswith("time") else 0
            setattr(time, name, self._reader(since, whole=name.endswith("_ns")))

    def time(self) -> float:
        return self.now / 1e9

    def close(self) -> None:
        """Close the loop and give the process its clocks back."""
        for name, real in self._real.items():
            setattr(time, name, real)
        timestamps.AVAILABLE = self._stamps
        super().close()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Count what a thread does for the loop."""
        self._executed += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._done)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """A thread ends the others."""
        self._executed += 1
        await super().shutdown_default_executor(*args)

    def _done(self, _: Any) -> None:
        self._executed -= 1

    @property
    def threads_work(self) -> bool:
        """A thread works for the loop: a lookup, a file on a disk that may hang, a compression."""
        return self._executed > 0 or any(thread.daemon for thread in {*threading.enumerate()} - self._before)

    def real(self) -> float:
        """Seconds by the clock of the machine."""
        return float(self._real["monotonic"]())

    def _reader(self, since: int, *, whole: bool) -> Callable[[], float]:
        return (lambda: since + self.now) if whole else (lambda: (since + self.now) / 1e9)


class _Selector(selectors.DefaultSelector):
    """Waits for nothing but sockets that something was just sent to, and for threads."""

    def __init__(self, loop: TurnedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.now += TICK
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if timeout is None or self._loop.threads_work:
            began = self._loop.real()
            events = super().select(timeout)
            self._loop.now += int((self._loop.real() - began) * 1e9)
            return events
        events = super().select(SETTLE)
        if not events:
            self._loop.now += int(timeout * 1e9)
        return events
