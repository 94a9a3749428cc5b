"""The exporter's service and its HTTP server with many targets, driven from standard input: a process of its own.

    wave N     probe the first N targets at once, record the reports; answers {"ADDRESS": reported seconds, ...}
    hold S     for S seconds note how long the event loop did not get round: by the clock on the wall, which holds
               what the machine gave to others, and in its own processor time; {"longest": ..., "longest_work": ...}

Arguments: the scripted server's port, and the number of targets. The first line printed is the URL.
"""

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING

from aiohttp import web

from exporter import __version__, log
from exporter.config import Config
from exporter.model import Layer, Mode, Target
from exporter.service.service import Service
from exporter.state.exporter import ExporterState
from exporter.web.app import application
from exporter.web.server import settle_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

QUIET = 3600.0  # an interval so long that only the waves probe
TICK = 0.0005


def targets(port: int, count: int) -> list[Target]:
    """One target for each loopback address."""
    return [
        Target(f"gateway-{number:04}", f"127.0.{1 + number // 250}.{1 + number % 250}", port, Mode.PAPER, QUIET, 30.0)
        for number in range(count)
    ]


async def wave(service: Service, wanted: list[Target]) -> dict[str, float | None]:
    """Probe all at once; the reported handshake times by address."""
    reports = await asyncio.gather(*(service.probe(target) for target in wanted))
    reported: dict[str, float | None] = {}
    for target, report in zip(wanted, reports, strict=True):
        service.record(report)
        handshake = report.layer(Layer.HANDSHAKE)
        reported[target.host] = None if handshake is None or not handshake.ok else handshake.seconds
    return reported


async def hold(seconds: float) -> dict[str, float]:
    """How long the loop was away from a task that wants to run every half millisecond."""
    gaps, worked = [], []
    end = time.perf_counter() + seconds
    last, before = time.perf_counter(), time.thread_time()
    while last < end:
        await asyncio.sleep(TICK)
        now, spent = time.perf_counter(), time.thread_time()
        gaps.append(now - last - TICK)
        worked.append(spent - before)
        last, before = now, spent
    return {"longest": max(gaps), "longest_work": max(worked), "ticks": len(gaps)}


async def main(port: int, count: int) -> None:
    """Serve until standard input ends."""
    log.configure("warning")  # to standard error; standard output is for answers
    async with Service(ExporterState(__version__, "3"), max_probes=4000) as service:
        await answer(service, targets(port, count))


async def answer(service: Service, wanted: list[Target]) -> None:
    """Serve the targets and obey the commands of standard input."""

    async def no_reload() -> list[str]:
        return []

    runner = web.AppRunner(application(service, no_reload, lambda: Config(())), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    await service.apply(wanted)
    settle_memory()
    print(runner.addresses[0][1], flush=True)
    commands: dict[str, Callable[[str], Coroutine[None, None, object]]] = {
        "wave": lambda argument: wave(service, wanted[: int(argument)]),
        "hold": lambda argument: hold(float(argument)),
    }
    while line := await asyncio.to_thread(sys.stdin.readline):
        verb, _, argument = line.strip().partition(" ")
        print(json.dumps(await commands[verb](argument)), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
