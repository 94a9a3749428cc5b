"""What a target's clock waits for: its time, or a call before that."""

import asyncio


class Bell:
    """Calls a target's clock before its time, and lets its watch know that a session works."""

    def __init__(self) -> None:
        """Not rung."""
        self.working = asyncio.Event()
        self.due = 0.0  # when the next probe is, by the loop's clock
        self.ticked = asyncio.Event()  # only ever waited for: it is set at the end of each tick, and cleared at once
        self._rung = False
        self._deadline: float | None = None
        self._waiter: asyncio.Future[None] | None = None

    def ring(self, deadline: float) -> None:
        """Ask for a probe at once, with this deadline in seconds."""
        self._deadline = deadline
        self._rung = True
        self._wake()

    async def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is rung."""
        if not self._rung and seconds > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, self._wake)  # asyncio.timeout() ends by an exception, at every tick
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return self._rung

    def answer(self) -> float | None:
        """The deadline that was asked for, if it was rung; it is silent then."""
        deadline, self._deadline = self._deadline, None
        self._rung = False
        return deadline

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
