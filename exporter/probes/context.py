"""What the probes of one tick share: the target, the one connection, the clock and the resolver."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog

from exporter.model import LayerResult, Report, ServerHello, Target
from exporter.probes.connection import Connection
from exporter.probes.resolver import Resolver

T = TypeVar("T")
Abandoned = Callable[[int], object]  # gets the connections of a probe that is cancelled


@dataclass(slots=True)
class ProbeContext:
    """One tick of one target, handed from layer to layer. `clock` is monotonic, in seconds.

    `server` is the gateway's reply to the hello. `opened_before` counts the TCP connects of earlier connections;
    only a client id in use leads to a second connection.
    """

    target: Target
    connection: Connection
    resolver: Resolver
    clock: Callable[[], float]
    server: ServerHello | None = None
    opened_before: int = 0

    @property
    def opened(self) -> int:
        """The TCP connects that were started in this attempt."""
        return self.opened_before + self.connection.opened

    async def renew(self) -> None:
        """Close the connection in order and take a new one, unopened, with the same deadline."""
        before = self.connection
        await before.close()
        self.opened_before += before.opened
        self.connection = Connection(before.deadline)


async def conclude(context: ProbeContext, probe: Awaitable[T], abandoned: Abandoned) -> T:
    """What the probe gives; its connection is closed in order, whatever happens."""
    try:
        try:
            return await probe
        finally:
            await context.connection.close()
    except asyncio.CancelledError:
        abandoned(context.opened)
        raise


async def report_of(context: ProbeContext, probe: Awaitable[tuple[LayerResult, ...]], abandoned: Abandoned) -> Report:
    """The results of a probe as a report.

    What the target does wrong is in the results. What we do wrong is caught here, logged with its traceback, and
    leaves a report that claims nothing.
    """
    at, began, target = time.time(), context.clock(), context.target
    results: tuple[LayerResult, ...] = ()
    fault = None
    try:
        results = await conclude(context, probe, abandoned)
    except Exception as error:  # noqa: BLE001 - the one place where our own faults end
        with suppress(Exception):  # where files or memory ran out, even the log may fail; the report must not
            structlog.get_logger(__name__).exception("probe failed", target=target.name, endpoint=target.endpoint)
        fault = f"{type(error).__name__}: {error}"
    return Report(
        target=target.name,
        at=at,
        seconds=context.clock() - began,
        results=results,
        connections=context.opened,
        fault=fault,
    )
