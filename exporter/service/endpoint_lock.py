"""One probe at a time per endpoint (host and port): another caller shares its report, or waits.

Several callers may want one gateway at once: the clocks of targets that share an endpoint, `/probe`, a client probe.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from exporter.clients.probe import EndpointLease
from exporter.model import Report, Target
from exporter.probes.resolver import Resolver
from exporter.probes.target import probe_target
from exporter.state.target import cut_short

Endpoint = tuple[str, int]


class EndpointLock:
    """The probes under way, and the leases of client probes, by endpoint."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._targets: dict[Endpoint, Target] = {}  # what the probe under way is of
        self._probes: dict[Endpoint, asyncio.Future[Report | None]] = {}
        self._leases: dict[Endpoint, EndpointLease] = {}

    async def probe(self, target: Target, deadline: float | None, cancelled: Callable[[int], object]) -> Report:
        """Probe a target now. If an equal probe of its endpoint is under way already, its report is the answer.

        A report that ended without an answer at a shorter deadline is not shared. `cancelled` gets the connections of a
        probe that is cancelled.
        """
        endpoint = (target.host, target.port)
        limit = target.deadline if deadline is None else deadline
        while (under_way := await self._wait_for_lease(endpoint, limit)) is not None:
            equal = _questions(self._targets[endpoint]) == _questions(target)
            shared = await asyncio.shield(under_way)
            if shared is not None and equal and not cut_short(shared, limit):
                return replace(shared, target=target.name, connections=0)  # the caller that opened them counts them
        answer: asyncio.Future[Report | None] = asyncio.get_running_loop().create_future()
        self._probes[endpoint] = answer
        self._targets[endpoint] = target
        try:
            report = await probe_target(target, self._resolver, deadline, cancelled)
            answer.set_result(report)
        finally:
            del self._probes[endpoint], self._targets[endpoint]
            if not answer.done():
                answer.set_result(None)  # cancelled: each caller that waits for it probes by itself
        return report

    async def _wait_for_lease(self, endpoint: Endpoint, deadline: float) -> "asyncio.Future[Report | None] | None":
        """The probe of the endpoint that is under way, if any, once no client has the endpoint.

        A client probe is asked to end after half the deadline, or when its time is over.
        """
        now = asyncio.get_running_loop().time
        while (lease := self._leases.get(endpoint)) is not None:
            await lease.wait(min(deadline / 2, max(0.0, lease.until - now())))
        return self._probes.get(endpoint)

    @asynccontextmanager
    async def lease(self, endpoint: Endpoint, until: float = math.inf) -> AsyncIterator[EndpointLease]:
        """The endpoint for one client probe alone, once it is free; others may have it from `until` (loop time) on."""
        while True:
            if (other := self._leases.get(endpoint)) is not None:
                await other.wait(None)
            elif (under_way := self._probes.get(endpoint)) is not None:
                await asyncio.shield(under_way)
            else:
                break
        lease = self._leases[endpoint] = EndpointLease(until)
        try:
            yield lease
        finally:
            del self._leases[endpoint]
            lease.end()


def _questions(target: Target) -> tuple[object, ...]:
    """The target's settings that a probe depends on: targets of one endpoint may differ in them."""
    return target.hello, target.address_family, target.probe_ids
