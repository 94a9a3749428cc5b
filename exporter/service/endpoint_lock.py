"""Endpoints, each probed by one at a time: whoever else asks meanwhile shares the report, or waits.

Several may want the same gateway at once: the clocks of targets that share an endpoint, `/probe`, a client's try.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from exporter.clients.probe import EndpointLease
from exporter.model import Report, Target
from exporter.probes.resolver import Resolver
from exporter.probes.target import probe_target
from exporter.state.target import cut_short


class EndpointLock:
    """Who is at which endpoint, by host and port."""

    def __init__(self, resolver: Resolver) -> None:
        """Nobody is anywhere."""
        self._resolver = resolver
        self._asking: dict[tuple[str, int], Target] = {}
        self._under_way: dict[tuple[str, int], asyncio.Future[Report | None]] = {}
        self._turns: dict[tuple[str, int], EndpointLease] = {}

    @property
    def busy(self) -> bool:
        """A probe is under way somewhere."""
        return bool(self._under_way)

    async def probe(self, target: Target, deadline: float | None, abandoned: Callable[[int], object]) -> Report:
        """Probe a target now. If a probe of its endpoint is under way already, its report is the answer.

        Not so where that ends without an answer at a deadline that was shorter. `abandoned` gets the connections of a
        probe that is cancelled.
        """
        endpoint = (target.host, target.port)
        limit = target.deadline if deadline is None else deadline
        while (under_way := await self._free(endpoint, limit)) is not None:
            alike = _questions(self._asking[endpoint]) == _questions(target)
            shared = await asyncio.shield(under_way)
            if shared is not None and alike and not cut_short(shared, limit):
                return replace(shared, target=target.name, connections=0)  # they are counted by who opened them
        answer: asyncio.Future[Report | None] = asyncio.get_running_loop().create_future()
        self._under_way[endpoint] = answer
        self._asking[endpoint] = target
        try:
            report = await probe_target(target, self._resolver, deadline, abandoned)
            answer.set_result(report)
        finally:
            del self._under_way[endpoint], self._asking[endpoint]
            if not answer.done():
                answer.set_result(None)  # it was cancelled: whoever waits for it probes for himself
        return report

    async def _free(self, endpoint: tuple[str, int], deadline: float) -> "asyncio.Future[Report | None] | None":
        """The probe of an endpoint that is under way, if any, once no client is trying it; one makes room in time."""
        while (turn := self._turns.get(endpoint)) is not None:
            await turn.wait(deadline / 2)
        return self._under_way.get(endpoint)

    @asynccontextmanager
    async def turn(self, endpoint: tuple[str, int]) -> AsyncIterator[EndpointLease]:
        """A target for one client alone."""
        while True:
            if (other := self._turns.get(endpoint)) is not None:
                await other.wait(None)
            elif (under_way := self._under_way.get(endpoint)) is not None:
                await asyncio.shield(under_way)
            else:
                break
        turn = self._turns[endpoint] = EndpointLease()
        try:
            yield turn
        finally:
            del self._turns[endpoint]
            turn.end()


def _questions(target: Target) -> tuple[object, ...]:
    """What a probe of this target asks its endpoint: targets of one endpoint may differ in it."""
    return target.hello, target.address_family, target.probe_ids
