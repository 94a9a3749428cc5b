"""The client probes of one target: one client after the other, each along the grid of its own interval.

A client whose failure does not count yet is probed again one interval of the target later, then along its grid again.
The others of the target are probed at once then, so that a failure which they share is known for what it is.
A library that is being imported delays no probe of the wire.

A client probe begins where its deadline ends before the next tick, if there is such a time. Else it has the time until
that tick, and where the interval is short a little more (schedule.grace_seconds).
"""

import asyncio
import contextlib
import heapq
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import structlog

from exporter.clients.pool import PooledClient
from exporter.clients.probe import compare, interrupted, probe_client, resting, skip, unusable
from exporter.model import Cause, Report, Target
from exporter.probes.target import lowered_target
from exporter.service import schedule
from exporter.service.shared import Shared
from exporter.state.claims import expired
from exporter.state.falls import blocked_by, is_partial
from exporter.verdict.client_blame import CONVINCING, ClientProbe, answered, confirm, is_conclusive, repeats

MARGIN = 1.0  # seconds of a client probe beside the client's own, at a gateway that answers quickly


class Clock(Protocol):
    """The clock of the target's wire: when it ticks next (the loop's time), and a probe of the wire right now."""

    due: float

    @property
    def ticked(self) -> asyncio.Condition:
        """Notified after each tick."""

    async def probe_wire(self, deadline: float | None = None) -> Report:
        """Probe the wire now."""


class ClientLoop:
    """The client probes of one target."""

    def __init__(self, target: Target, shared: Shared, clock: Clock) -> None:
        self._target = target
        self._shared = shared
        self._clock = clock
        self._earliest: dict[str, float] = {}  # before that no client is hurried (the loop's time)

    async def run(self, clients: Sequence[PooledClient], grid: float) -> None:
        """Probe the clients until cancelled; their grids start at `grid` (the loop's time)."""
        loop = asyncio.get_running_loop()
        queue = [(grid, index) for index in range(len(clients))]
        while True:
            due, index = heapq.heappop(queue)
            await asyncio.sleep(due - loop.time())
            soon = False
            try:
                soon = await self._probe(clients[index])
            except Exception:  # noqa: BLE001 - our own fault: it ends this probe, not the loop
                structlog.get_logger(__name__).exception("client probe failed", target=self._target.name)
            following = schedule.next_tick(grid, clients[index].spec.interval, loop.time(), due).due
            again = loop.time() + self._target.interval
            if soon:
                self._earliest[clients[index].spec.name] = again
            heapq.heappush(queue, (min(following, again) if soon else following, index))
            queue = self._hurry(queue, clients)

    def _hurry(self, queue: list[tuple[float, int]], clients: Sequence[PooledClient]) -> list[tuple[float, int]]:
        """The queue with the clients at its head that another one's failure waits for.

        None is hurried twice within an interval of the target, and a failure that is to be repeated waits for that.
        """
        states, now = self._shared.states, asyncio.get_running_loop().time()
        awaited = states.awaited_clients(self._target.name)
        hurried = []
        for due, index in queue:
            name = clients[index].spec.name
            earliest = max(now, self._earliest.get(name, now))
            if name in awaited and earliest < due:
                self._earliest[name] = earliest + self._target.interval
            hurried.append((min(due, earliest) if name in awaited else due, index))
        heapq.heapify(hurried)
        return hurried

    async def _probe(self, client: PooledClient) -> bool:
        """Probe one client once; returns whether it is to be probed again soon.

        Its failure counts only if the whole wire still answers right after it.
        """
        target, shared = self._target, self._shared
        record = partial(shared.states.record_client_probe, target.name)
        blocked = self._blocked(client)
        if blocked is not None:
            return record(resting(client, blocked))
        lowered = lowered_target(target) if shared.states[target.name].lower_hello is not None else None
        target = lowered or target
        problem = await client.ready()
        if problem is not None:
            return record(unusable(client, problem))
        until = await self._wait_for_room(client.spec.deadline)
        if shared.states[target.name].falls.sessions_suspended or not self._wire_answers():
            return record(skip(client))
        await self._shift()
        lease = None
        begin = partial(shared.states.begin_client, target.name, client.spec.name, client.installed)
        # With a lower hello our usual one is unanswered before and after the try: no library did that.
        started: Callable[[], object] = begin if lowered is None else lambda: None
        try:
            async with shared.endpoints.lease((target.host, target.port), until) as lease:
                probing = probe_client(
                    target, client, shared.resolver, client.spec.deadline, lease, until=until, on_start=started
                )
                try:
                    probe = await lease.work(asyncio.create_task(probing))
                finally:
                    shared.states.end_client(target.name)
            if probe is None:
                return record(interrupted(client, target, lease))
            failed = is_conclusive(probe.result) and not probe.result.ok
            if failed or (probe.before is not None and not answered(probe.before)):
                probe = confirm(probe, await self._probe_wire_after(target))
                probe = await self._compare(client, probe, target)
        except asyncio.CancelledError:
            if lease is not None:  # a reload, or the end of the process: what was opened counts all the same
                record(interrupted(client, target, lease))
            raise
        soon = record(probe)
        return record(resting(client, Cause.SUSPENDED)) if self._blocked(client) is Cause.SUSPENDED else soon

    async def _shift(self) -> None:
        """Connect once more, by chance: where only some connections are answered, ours must not keep step with them."""
        states = self._shared.states
        if is_partial(states[self._target.name].falls) and random.random() < 0.5:  # noqa: S311, PLR2004 - a coin
            states.record_samples(self._target.name, [await self._shared.probe(replace(self._target, client_ids=()))])

    def _blocked(self, client: PooledClient) -> Cause | None:
        states = self._shared.states
        return blocked_by(states[self._target.name].falls, client.spec.name, time.time(), states.timings)

    async def _compare(self, client: PooledClient, probe: ClientProbe, target: Target) -> ClientProbe:
        """The client probe, compared with connections of our own where its failure would count now."""
        state = self._shared.states[self._target.name]
        earlier = state.client_probes.get(client.spec.name)
        if not repeats(probe, earlier):
            return probe
        probe, reports = await compare(probe, lambda: self._shared.probe(replace(target, client_ids=())))
        self._shared.states.record_samples(self._target.name, reports)
        return probe

    async def _probe_wire_after(self, target: Target) -> Report:
        """Probe the wire right after a client's failure; record the report, unless it was probed with a lower hello."""
        if target is not self._target:
            return await self._shared.probe(target)
        report = await self._clock.probe_wire()
        self._shared.states.record(report)
        return report

    async def _wait_for_room(self, deadline: float) -> float:
        """When a client probe must be over. Where the time to the next tick is too short, wait for that tick first.

        Less than the full deadline is enough, if it is at least CONVINCING seconds.
        """
        now, clock = asyncio.get_running_loop().time, self._clock
        grace = schedule.grace_seconds(self._target.interval, self._target.deadline)
        if clock.due + grace - now() < max(deadline, min(deadline, CONVINCING) + MARGIN):
            with contextlib.suppress(TimeoutError):
                async with (
                    asyncio.timeout(max(0.0, self._clock.due - now()) + 2 * self._target.deadline),
                    self._clock.ticked,
                ):
                    await self._clock.ticked.wait()
        return self._clock.due + grace

    def _wire_answers(self) -> bool:
        state = self._shared.states[self._target.name]
        answering = state.last is not None and (answered(state.last) or state.lower_hello is not None)
        return answering and not expired(state, time.time())
