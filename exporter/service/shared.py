"""What the loops of all targets share."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from exporter.model import Cause, Layer, LayerResult, Outcome, Report, Target
from exporter.probes.launcher_log import LogFollower
from exporter.probes.resolver import Resolver
from exporter.service.endpoint_lock import EndpointLock
from exporter.service.states import TargetStates
from exporter.service.watch import HeartbeatTimings


@dataclass(frozen=True, slots=True)
class Shared:
    """States, endpoints and limits. `on_tick` gets a tick's lag (seconds) and the number of ticks skipped after it."""

    states: TargetStates
    endpoints: EndpointLock
    resolver: Resolver
    slots: asyncio.Semaphore  # of probes at a time
    timings: HeartbeatTimings
    open_log: Callable[[str], LogFollower]
    on_tick: Callable[[float, int], object]
    download: Callable[[Target, Resolver, Callable[[int], object]], Awaitable[Report]]

    @property
    def heartbeat(self) -> float:
        """Seconds between two requests of a watch."""
        return self.timings.heartbeat

    async def probe(self, target: Target, deadline: float | None = None) -> Report:
        """Probe a target's wire; without a session where sessions are suspended on it."""
        state = self.states.get(target.name)
        cancelled = partial(self.states.record_connections, target)
        if state is None or not state.falls.sessions_suspended or not target.probe_ids:
            return await self.endpoints.probe(target, deadline, cancelled)
        report = await self.endpoints.probe(replace(target, client_ids=()), deadline, cancelled)
        left_out = LayerResult(layer=Layer.SESSION, outcome=Outcome.SKIPPED, cause=Cause.SUSPENDED)
        return replace(report, results=(*report.results, left_out))
