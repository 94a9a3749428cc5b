"""The service: which targets are watched, with which clients. Each has a loop of its own (target_loop.py)."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from exporter.clients.pool import ClientPool
from exporter.model import ClientSpec, Report, Target
from exporter.model.copies import replace
from exporter.probes import timestamps
from exporter.probes.download import ProbeDownload, download
from exporter.probes.launcher_log import LogFollower
from exporter.probes.resolver import Resolver
from exporter.service import schedule, watch
from exporter.service.endpoint_lock import EndpointLock
from exporter.service.shared import Shared
from exporter.service.states import Judge, TargetStates
from exporter.service.target_loop import TargetLoop
from exporter.state.discovery import SourceState
from exporter.state.exporter import ExporterState
from exporter.state.falls import FALL_TIMINGS, FallTimings
from exporter.state.target import TargetState, has_suspensions, reconfigured
from exporter.verdict.rules import judge

TURN = 100  # targets that are started before others may run


class Service:
    """Probes the configured targets while it is entered: `async with Service(…) as service`.

    `states` and `exporter` are what there is to show.
    """

    def __init__(
        self,
        exporter: ExporterState,
        *,
        max_probes: int = 1000,
        timings: watch.HeartbeatTimings = watch.HEARTBEAT_TIMINGS,
        pool: ClientPool | None = None,
        falls: FallTimings = FALL_TIMINGS,
        open_log: Callable[[str], LogFollower] = LogFollower,
        judge: Judge = judge,
        download: ProbeDownload = download,
    ) -> None:
        """At most `max_probes` probes run at a time. `timings` are those of every watch's heartbeats."""
        self._exporter = exporter
        self._lag, self._skipped_ticks = exporter.lag, exporter.skipped_ticks  # apart, for they change at every tick
        self._states = TargetStates(judge, falls)
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._target_loops: dict[str, TargetLoop] = {}
        self._pool = pool or ClientPool()
        self._clients: Mapping[str, ClientSpec] = {}
        resolver = Resolver()
        self._shared = Shared(
            states=self._states,
            endpoints=EndpointLock(resolver),
            resolver=resolver,
            slots=asyncio.Semaphore(max_probes),
            timings=timings,
            open_log=open_log,
            on_tick=self._on_tick,
            download=lambda target, resolver, abandoned: download(target, resolver, abandoned=abandoned),
        )
        self._held = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        self._held.enter_context(timestamps.keep_enabled())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop every loop; every connection under way is closed in order."""
        await self._stop(list(self._loops))
        await self._pool.close()
        self._held.close()

    @property
    def states(self) -> Mapping[str, TargetState]:
        """The present state of every target, by its name."""
        return self._states

    @property
    def exporter(self) -> ExporterState:
        """The state of the exporter itself."""
        return replace(self._exporter, clients=self._pool.statuses, lag=self._lag, skipped_ticks=self._skipped_ticks)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is checked after each change of a target's state."""
        while not condition():
            await self._states.changed()

    def reloaded(self, at: float | None) -> None:
        """The configuration was read again, with success at this moment (unix seconds); None: it was refused."""
        kept = self._exporter.reloaded_at
        self._exporter = replace(
            self._exporter, reload_successful=at is not None, reloaded_at=kept if at is None else at
        )

    def ticking(self, now: float) -> bool:
        """Whether the schedule goes on at loop time `now`: half of the targets' clocks run and are not late."""
        stopped = sum(
            task.done() or now - self._target_loops[name].due > schedule.LATE for name, task in self._loops.items()
        )
        return 2 * stopped <= len(self._loops)

    def discovered(self, sources: tuple[SourceState, ...]) -> None:
        """Show this of the sources of discovered targets."""
        self._exporter = replace(self._exporter, sources=sources)

    async def apply(
        self,
        targets: Iterable[Target],
        clients: Mapping[str, ClientSpec] | None = None,
        not_installed: tuple[str, ...] = (),
        *,
        end_suspensions: bool = True,
    ) -> None:
        """Probe exactly these targets from now on, with these clients.

        Unchanged targets go on undisturbed; of the others what is known of the same endpoint is kept.
        `not_installed` are libraries that would be probed if they were installed.
        """
        self._exporter = replace(self._exporter, not_installed=not_installed)
        by_name = {target.name: target for target in targets}
        clients = clients or {}
        other = {name for name in {**clients, **self._clients} if clients.get(name) != self._clients.get(name)}
        changed = [
            name
            for name, state in self._states.items()
            if not _is_same(by_name.get(name), state.target)
            or not other.isdisjoint(state.target.clients)
            or (end_suspensions and has_suspensions(state))
        ]
        await self._stop(changed)
        await self._pool.configure(clients)
        self._clients = clients
        for name in changed:
            state = self._states.remove(name)
            if name in by_name and by_name[name].endpoint == state.target.endpoint:
                self._states.put(reconfigured(state, by_name[name], other))
        await self._start(by_name)

    async def probe(self, target: Target, deadline: float | None = None) -> Report:
        """Probe a target now, or share the report of an equal probe of its endpoint that is under way already."""
        state, loop = self._states.get(target.name), self._target_loops.get(target.name)
        if loop is not None and state is not None and state.target == target:
            return await loop.probe_wire(deadline)
        return await self._shared.probe(target, deadline)

    def record(self, report: Report) -> TargetState:
        """Judge a report of a configured target, fold it into the target's state, and return that."""
        return self._states.record(report)

    def record_partial(self, report: Report) -> TargetState:
        """Count a report that a short timeout cut short; return the state that it alone would lead to."""
        return self._states.record_partial(report)

    async def _start(self, by_name: Mapping[str, Target]) -> None:
        """Start the loops of the targets that have none, and let those that run have their turns meanwhile."""
        now = asyncio.get_running_loop().time()
        for index, (name, target) in enumerate(by_name.items()):
            if index % TURN == TURN - 1:
                await asyncio.sleep(0)
            if name not in self._states:
                self._states.put(TargetState(target))
            if name not in self._loops:
                first = schedule.first_tick(now, index, len(by_name), target.interval)
                grid = schedule.grid_origin(now, index, len(by_name), target.interval)
                clients = [client for client in map(self._pool.member, target.clients) if client is not None]
                loop = self._target_loops[name] = TargetLoop(target, clients, self._shared, first, grid)
                self._loops[name] = asyncio.create_task(loop.run(), name=f"target {name}")

    async def _stop(self, names: Iterable[str]) -> None:
        names = [name for name in names if name in self._loops]
        loops = [self._loops.pop(name) for name in names]
        for name in names:
            del self._target_loops[name]
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)

    def _on_tick(self, lag: float, skipped: int) -> None:
        self._lag = self._lag.observe(lag)
        self._skipped_ticks += skipped


def _is_same(target: Target | None, present: Target) -> bool:
    return target is present or target == present
