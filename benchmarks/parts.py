"""Pieces of the benches: processes with a line protocol, their cost from /proc, addresses, quantiles, timed HTTP."""

import asyncio
import contextlib
import json
import os
import socket
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp

FAULTY_EVERY = 10  # where some simulated gateways have a fault, every tenth has
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Process:
    """A child that answers a line with a line. `port` is the first line it printed, where that is a number."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        """Wrap a started child."""
        self.child = child
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def start(cls, *command: str, env: dict[str, str] | None = None) -> AsyncIterator[Self]:
        """Start a child; it is ended with the context, by its id."""
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        child = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=nothing, limit=1 << 24, env=(os.environ | env) if env else None
        )
        try:
            yield cls(child)
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            await child.wait()

    async def line(self) -> str:
        """The next line of its standard output."""
        assert self.child.stdout is not None  # noqa: S101 - asked for a pipe above
        line = await asyncio.wait_for(self.child.stdout.readline(), 120)
        if not line:
            msg = f"a process of the bench ended with code {await self.child.wait()}"
            raise RuntimeError(msg)
        return line.decode().strip()

    async def ask(self, command: str) -> Any:
        """Send a line, read a line of JSON."""
        assert self.child.stdin is not None  # noqa: S101 - asked for a pipe above
        self.child.stdin.write(f"{command}\n".encode())
        return json.loads(await self.line())

    def cpu(self) -> float:
        """Seconds of processor time so far, of all its threads."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident(self) -> float:
        """Resident memory in MB (10^6 bytes)."""
        return int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]) * PAGE / 1e6

    def peak(self) -> float:
        """The most resident memory so far, in MB (10^6 bytes)."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the largest."""
    return {"p50": statistics.median(values), "p99": quantile(values, 0.99), "max": max(values)}


async def timed_get(
    session: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None
) -> tuple[float, int]:
    """Seconds until the last byte, and the number of bytes as sent."""
    began = time.perf_counter()
    async with session.get(url, headers=headers) as response:
        body = await response.read()
        response.raise_for_status()
    return time.perf_counter() - began, len(body)


async def every_second(session: aiohttp.ClientSession, url: str, into: list[float]) -> None:
    """Scrape once a second until cancelled."""
    while True:
        seconds, _ = await timed_get(session, url, {"Accept-Encoding": "gzip"})
        into.append(seconds)
        await asyncio.sleep(max(0.0, 1.0 - seconds))


def address(number: int) -> str:
    """The loopback address of a target."""
    return f"127.0.{1 + number // 250}.{1 + number % 250}"


def number_of(host: str) -> int:
    """The number of the target with this loopback address; -250 and less for 127.0.0.1 and its like."""
    _, _, third, fourth = map(int, host.split("."))
    return (third - 1) * 250 + fourth - 1


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
