"""Calls that may hang, such as a read from a network's file system: given up after a time, each costs one thread."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from exporter.probes.threads import in_daemon_thread

Value = TypeVar("Value")

LONGEST = 30.0  # seconds for the files of a configuration, or of a source of targets


class BoundedCall(Generic[Value]):
    """A function that runs in a thread, and is waited for `seconds` at most.

    A call that hangs is left to its thread, and no other begins before that has ended. What it gives then is not used:
    who asks again gets what there is by then.
    """

    def __init__(
        self,
        function: Callable[[], Value],
        name: str,
        seconds: float = LONGEST,
        run: Callable[[Callable[[], Value], str], Awaitable[Value]] = in_daemon_thread,
    ) -> None:
        """`name` is that of the thread."""
        self.seconds = seconds
        self._function = function
        self._name = name
        self._run = run
        self._call: asyncio.Future[Value] | None = None

    @property
    def under_way(self) -> bool:
        """A call has not ended yet; after a TimeoutError: it still hangs."""
        return self._call is not None and not self._call.done()

    async def __call__(self) -> Value:
        """The function's value. Raises what the function raises, and TimeoutError where it does not end in time."""
        async with asyncio.timeout(self.seconds):
            while self._call is not None and not self._call.done():
                await asyncio.wait([self._call])
            call = self._call = asyncio.ensure_future(self._run(self._function, self._name))
            call.add_done_callback(_retrieve)
            await asyncio.wait([call])
        return call.result()


def _retrieve(call: "asyncio.Future[Value]") -> None:
    """Mark the exception as seen: who waited for it may have given up."""
    if not call.cancelled():
        call.exception()
