"""A blocking call in a daemon thread, as a future of the running loop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Value = TypeVar("Value")


def in_daemon_thread(function: Callable[[], Value], name: str) -> "asyncio.Future[Value]":
    """Run `function` in a thread of its own, which may outlive the loop: a call that hangs does not delay the exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Value] = loop.create_future()

    def set_outcome(value: Value | None, error: Exception | None) -> None:
        if future.done():  # cancelled
            return
        if error is None:
            future.set_result(value)  # type: ignore[arg-type]
        else:
            future.set_exception(error)
            future.exception()  # marked as retrieved: the caller may have given up

    def run() -> None:
        value, error = None, None
        try:
            value = function()
        except Exception as raised:  # noqa: BLE001 - it belongs to the caller, not to this thread
            error = raised
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(set_outcome, value, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
