"""The service: a clock ticks for each target, the target is probed, its report judged and folded into its state.

States are the only thing kept, and frozen; whoever shows them reads `states` at one moment. A target is never probed
twice at a time, whoever asks.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import structlog

from exporter.clients.pool import ClientPool
from exporter.model import ClientSpec, Doubt, Report, Target, Verdict
from exporter.probes import timestamps
from exporter.probes.launcher_log import LogFollower
from exporter.probes.resolver import Resolver
from exporter.protocol.launcher_log import Login, LogProblem
from exporter.service import client_loop, schedule, watch
from exporter.service.endpoint_lock import EndpointLock
from exporter.service.wakeup import Bell
from exporter.state.exporter import ExporterState
from exporter.state.fold_client import fold_client
from exporter.state.fold_watch import (
    discount_if_disconnected,
    fold_watch_event,
    merge_watch,
    probe_at_once,
    working_session,
)
from exporter.state.target import TargetState, count, expired, fold, reconfigured, revise
from exporter.state.watch_events import WatchEvent
from exporter.verdict.client_blame import ClientProbe, answered, require_repeat, with_clients
from exporter.verdict.evidence import masked
from exporter.verdict.rules import headline, judge


class Service:
    """Watches targets. `states` and `exporter` are what there is to show."""

    def __init__(
        self,
        exporter: ExporterState,
        *,
        most_at_once: int = 1000,
        pace: watch.HeartbeatTimings = watch.HEARTBEAT_TIMINGS,
        crew: ClientPool | None = None,
    ) -> None:
        """Make one that watches nothing yet and has at most `most_at_once` probes under way.

        `pace` is that of the heartbeats of every watch.
        """
        self._pace = pace
        self._exporter = exporter
        self._lag = exporter.lag
        self._skipped = exporter.skipped_ticks
        self._states: dict[str, TargetState] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._crew = crew or ClientPool()
        self._clients: Mapping[str, ClientSpec] = {}
        self._logins: dict[str, LogFollower] = {}
        self._resolver = Resolver()
        self._endpoints = EndpointLock(self._resolver)
        self._places = asyncio.Semaphore(most_at_once)
        self._stamp_keeper = timestamps.keep_enabled()
        self._log = structlog.get_logger(__name__).bind()

    @property
    def exporter(self) -> ExporterState:
        """What there is to know of the exporter itself."""
        return replace(self._exporter, lag=self._lag, skipped_ticks=self._skipped, clients=self._crew.statuses)

    def reloaded(self, at: float | None) -> None:
        """The configuration was read again, with success at this moment (unix seconds); None: it was refused."""
        kept = self._exporter.reloaded_at
        self._exporter = replace(
            self._exporter, reload_successful=at is not None, reloaded_at=kept if at is None else at
        )

    @property
    def states(self) -> Mapping[str, TargetState]:
        """The present state of every target, by its name."""
        return MappingProxyType(self._states)

    async def watch(self, targets: Iterable[Target], clients: Mapping[str, ClientSpec] | None = None) -> None:
        """Watch exactly these targets from now on, with these clients.

        Unchanged ones go on undisturbed, with all that is known of them.
        """
        wanted = {target.name: target for target in targets}
        clients = clients or {}
        other = {name for name in {**clients, **self._clients} if clients.get(name) != self._clients.get(name)}
        changed = [
            name
            for name, state in self._states.items()
            if wanted.get(name) != state.target or not other.isdisjoint(state.target.clients)
        ]
        await self._stop(changed)
        await self._crew.configure(clients)
        self._clients = clients
        for name in changed:
            self._logins.pop(name, None)
            state = self._states.pop(name)
            if name in wanted and wanted[name].endpoint == state.target.endpoint:
                self._states[name] = reconfigured(state, wanted[name], other)
        started = asyncio.get_running_loop().time()
        for index, (name, target) in enumerate(wanted.items()):
            self._states.setdefault(name, TargetState(target))
            if name not in self._loops:
                first = schedule.first_tick(started, index, len(wanted), target.interval)
                origin = schedule.grid_origin(started, index, len(wanted), target.interval)
                self._loops[name] = asyncio.create_task(self._attend(target, first, origin), name=f"watch {name}")

    async def close(self) -> None:
        """Stop watching; every connection under way is closed in order."""
        await self._stop(list(self._loops))
        await self._crew.close()
        self._stamp_keeper.close()

    async def probe(self, target: Target, deadline: float | None = None) -> Report:
        """Probe a target now, or have the report of a like probe of its endpoint that is under way already."""
        return await self._endpoints.probe(target, deadline, partial(self._abandon, target))

    def _abandon(self, target: Target, opened: int) -> None:
        """Count the connections of a probe that was cancelled: a reload or the end cut it short."""
        state = self._states.get(target.name)
        if state is not None and state.target.endpoint == target.endpoint:
            self._states[target.name] = replace(state, connections=state.connections + opened)

    def record(self, report: Report) -> TargetState:
        """Judge a report of a watched target, fold it into the target's state, and return that.

        A report that two had asked for, the schedule and `/probe`, counts once, and its connections with whoever opened
        them, however late that one comes.
        """
        before = self._states[report.target]
        if before.last is not None and before.last.at == report.at:
            state = self._states[report.target] = replace(before, connections=before.connections + report.connections)
            return state
        report = merge_watch(report, before)
        if before.client_probes:
            report = with_clients(report, before.target.clients, before.client_probes, report.at)
        verdict = judge(report, before.target)
        state = self._states[report.target] = fold(before, report, verdict)
        self._log.debug("probed", target=report.target, verdict=verdict.value, seconds=round(report.seconds, 6))
        self._announce(before, state)
        return state

    def note(self, report: Report) -> TargetState:
        """Count a report that was cut short by a scraper's hurry, and return the state that it alone would lead to.

        The target keeps its verdict: it was not given its time.
        """
        state = self._states[report.target]
        if report.connections:  # else whoever opened them counts them
            state = self._states[report.target] = count(state, report, report.results)
        return revise(state, report, judge(report, state.target))

    def _see(self, name: str, bell: Bell, sighting: WatchEvent) -> None:
        """Fold what the watch saw into the target's state; have the target probed at once where that calls for it."""
        before = self._states[name]
        state = self._states[name] = fold_watch_event(before, sighting)
        self._log.debug("seen", target=name, kind=sighting.kind.value)
        self._announce(before, state)
        deadline = probe_at_once(before, sighting)
        if deadline is not None:
            bell.ring(deadline)

    async def _probe_again(self, target: Target) -> Report:
        """The whole wire, now and on record: what a client's failure is held against."""
        report = await self.probe(target)
        self.record(report)
        return report

    def _tried(self, name: str, trial: ClientProbe) -> bool:
        """Fold what a client showed into the target's state; whether another try is to follow soon."""
        before, client = self._states[name], trial.result.client or ""
        trial = require_repeat(discount_if_disconnected(trial, before.watched), before.client_probes.get(client))
        state = self._states[name] = fold_client(before, trial)
        self._log.debug("tried", target=name, client=client, outcome=trial.result.outcome.value)
        self._announce(before, state)
        latest = state.client_probes.get(client)
        return latest is not None and latest.result.doubt is Doubt.ONCE

    def _answering(self, name: str) -> bool:
        state = self._states[name]
        return state.last is not None and answered(state.last) and not expired(state, time.time())

    def _announce(self, before: TargetState, after: TargetState) -> None:
        if after.verdict is not before.verdict and after.last is not None:
            # The page and the alert name the configured account; a log travels further.
            target = replace(after.target, account=after.target.account and masked(after.target.account))
            text = headline(after.last, target, after.verdict)
            words = {"verdict": after.verdict.value, "before": before.verdict.value, "headline": text}
            self._log.info("verdict changed", target=after.target.name, **words)

    async def _attend(self, target: Target, due: float, origin: float) -> None:
        """All that goes on for one target: its clock, its watch where a client id is reserved for that, its clients."""
        bell = Bell()
        bell.due = due
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick(target, due, origin, bell))
            if target.watch_id is not None:
                group.create_task(
                    watch.run(
                        target, self._resolver, bell.working, partial(self._see, target.name, bell), pace=self._pace
                    )
                )
            members = [member for name in target.clients if (member := self._crew.member(name)) is not None]
            if members and target.probe_ids:
                group.create_task(client_loop.run(target, members, self._ground(target, bell), origin))

    def _ground(self, target: Target, bell: Bell) -> client_loop.Ground:
        return client_loop.Ground(
            resolver=self._resolver,
            turn=partial(self._endpoints.turn, (target.host, target.port)),
            probe=partial(self._probe_again, target),
            tell=partial(self._tried, target.name),
            due=lambda: bell.due,
            ticked=bell.ticked,
            answering=partial(self._answering, target.name),
        )

    async def _tick(self, target: Target, due: float, origin: float, bell: Bell) -> None:
        """The clock of one target: probe at `due`, then along the grid that starts at `origin` (loop time)."""
        loop = asyncio.get_running_loop()
        while True:
            rung = await bell.wait(due - loop.time())
            async with self._places:
                if rung:
                    due = loop.time()
                self._lag = self._lag.observe(max(0.0, loop.time() - due))
                await self._probe_and_record(target, bell.answer())
            state = self._states[target.name]
            working = working_session(state.last) is not None
            (bell.working.set if working else bell.working.clear)()
            # A watch that has just gone silent is still connected: its target must not be left alone until it expires.
            interval = schedule.spacing(target.interval, watched=state.watched.connected and working)
            due, skipped = schedule.next_tick(origin, interval, loop.time(), due)
            if skipped:
                self._skipped += skipped
            bell.due = due
            bell.ticked.set()
            bell.ticked.clear()

    async def _probe_and_record(self, target: Target, deadline: float | None) -> None:
        """One tick. What fails here is ours, is shown as such, and must not end the clock of the target."""
        at = time.time()
        try:
            await self._probe_and_follow(target, deadline)
        except Exception as error:  # noqa: BLE001 - probe_target catches its own; this is for what comes after it
            with suppress(Exception):  # the log may be what failed
                self._log.exception("tick failed", target=target.name)
            fault = Report(
                target=target.name,
                at=at,
                seconds=time.time() - at,
                results=(),
                fault=f"{type(error).__name__}: {error}",
            )
            self._states[target.name] = fold(self._states[target.name], fault, Verdict.PROBE_BROKEN)

    async def _probe_and_follow(self, target: Target, deadline: float | None) -> None:
        """Probe the target and read its launcher log meanwhile; then record the report, whatever becomes of the log."""
        following = None if target.launcher_log is None else asyncio.create_task(self._follow_login(target))
        try:
            report = await self.probe(target, deadline)
            try:
                if following is not None:
                    await following
            finally:
                self.record(report)
        finally:
            if following is not None:
                following.cancel()

    async def _follow_login(self, target: Target) -> None:
        """See what the gateway's launcher log tells now."""
        follower = self._logins.setdefault(target.name, LogFollower(target.launcher_log or ""))
        try:
            login = await follower.login()
        except Exception:  # noqa: BLE001 - ours, and no reason to lose what the probe found
            with suppress(Exception):
                self._log.exception("launcher log failed", target=target.name)
            login = Login(problem=LogProblem.UNREADABLE)
        state = self._states[target.name]
        if login.problem is not None and (state.login is None or state.login.problem is not login.problem):
            self._log.warning("launcher log tells nothing", target=target.name, problem=login.problem.value)
        self._states[target.name] = replace(state, login=login)

    async def _stop(self, names: Iterable[str]) -> None:
        loops = [self._loops.pop(name) for name in list(names) if name in self._loops]
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
