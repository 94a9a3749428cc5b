"""When the account download of a target is probed: while sessions work, every `download_interval`.

After a probe that did not succeed the next follows RETRY seconds later, so that the end of a stall is seen soon.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from exporter.model import Target

RETRY = 60.0  # seconds


async def run(target: Target, session_works: asyncio.Event, probe: Callable[[], Awaitable[bool]]) -> None:
    """Probe for ever. `probe` returns whether the download succeeded."""
    now = asyncio.get_running_loop().time
    while True:
        await session_works.wait()
        began, succeeded = now(), False
        try:
            succeeded = await probe()
        except Exception:  # noqa: BLE001 - our own fault: it ends this probe, not the loop
            structlog.get_logger(__name__).exception("download probe failed", target=target.name)
        pause = target.download_interval if succeeded else min(RETRY, target.download_interval)
        await asyncio.sleep(max(0.0, began + pause - now()))
