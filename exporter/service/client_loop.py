"""When each client of a target is probed: one after the other, each along the grid of its own interval.

A client whose failure does not count yet is probed again one interval of the target later, then along its grid again.
A library that is being imported delays no probe of the wire.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Sequence

import structlog

from exporter.clients.pool import PooledClient
from exporter.model import Target
from exporter.service import schedule


async def run(
    target: Target, clients: Sequence[PooledClient], probe: Callable[[PooledClient], Awaitable[bool]], grid: float
) -> None:
    """Probe the clients for ever; the grids start at `grid` (the loop's clock).

    `probe` returns whether the client is to be probed again soon.
    """
    loop = asyncio.get_running_loop()
    queue = [(grid, index) for index in range(len(clients))]
    while True:
        due, index = heapq.heappop(queue)
        await asyncio.sleep(due - loop.time())
        soon = False
        try:
            soon = await probe(clients[index])
        except Exception:  # noqa: BLE001 - our own fault: it ends this probe, not the loop
            structlog.get_logger(__name__).exception("client probe failed", target=target.name)
        following = schedule.next_tick(grid, clients[index].spec.interval, loop.time(), due).due
        heapq.heappush(queue, (min(following, loop.time() + target.interval) if soon else following, index))
