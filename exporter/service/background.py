"""Long computations in a thread, so that no tick waits for them."""

import asyncio
import gc
from collections.abc import Callable
from typing import TypeVar

from exporter.probes.threads import in_daemon_thread

Value = TypeVar("Value")

LONGEST = 10.0  # seconds without the garbage collector; a file that hangs is no computation


async def in_background(function: Callable[[], Value], name: str) -> Value:
    """Compute in a thread of its own, without the garbage collector.

    A configuration of 5,000 targets makes so many objects that the collector would look through all there are, and hold
    the event loop for 0.2 s. None of the new ones are in cycles.
    """
    if not gc.isenabled():  # another computation is under way
        return await in_daemon_thread(function, name)
    gc.disable()
    timer = asyncio.get_running_loop().call_later(LONGEST, gc.enable)
    try:
        return await in_daemon_thread(function, name)
    finally:
        timer.cancel()
        gc.enable()
