"""One target's life, from the first tick until a reload removes the target.

Four tasks run side by side:

    the clock     probes the wire along the target's grid, or at once when a watch event asks for that
    the watch     one long-lived session, while the probes find that sessions work (watch.py)
    the clients   one library after the other, each along its own grid (client_loop.py)
    the download  of the account, on a target that opted in (download_loop.py)

A download keeps the endpoint until it ends, at most download.DEADLINE seconds, unless the watch asks for a probe at
once.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import structlog

from exporter.clients.pool import PooledClient
from exporter.model import Report, Target
from exporter.probes.launcher_log import LogFollower
from exporter.probes.settings import probe_settings
from exporter.probes.target import LOWER_SECONDS, lowered_target
from exporter.protocol.launcher_log import Login, LogProblem
from exporter.service import download_loop, schedule, silence, watch
from exporter.service.client_loop import ClientLoop
from exporter.service.shared import Shared
from exporter.state.fold_watch import probe_at_once, working_session
from exporter.state.target import FollowUp, TargetState, follow_up
from exporter.state.watch_events import WatchEvent
from exporter.verdict.client_blame import hello_unanswered

LOWER_AFTER, LOWER_EVERY = 3, 20  # ticks without an answer to our hello until a lower one is tried, and again
SETTINGS_INTERVAL = 86_400.0  # seconds


class TargetLoop:
    """The clock, the watch and the client probes of one target. Times are of the event loop's clock."""

    def __init__(
        self, target: Target, clients: Sequence[PooledClient], shared: Shared, first: float, grid: float
    ) -> None:
        """The first tick is at `first`, the following ones along the grid that starts at `grid`."""
        self._target = target
        self._clients = clients if target.probe_ids else ()
        self._shared = shared
        self._log = structlog.get_logger(__name__).bind(target=target.name)
        self._login = None if target.launcher_log is None else shared.open_log(target.launcher_log)
        self.due = first  # when the next tick is; not later than now while one is under way
        self._grid = grid
        self._ticked: asyncio.Condition | None = None
        self._session_works = asyncio.Event()
        self._urgent: float | None = None  # the deadline of a probe that is asked for at once
        self._sleeper: asyncio.Future[None] | None = None
        self._unanswered = 0  # ticks in a row at which our hello got no answer
        self._download: asyncio.Future[Report] | None = None  # under way
        self._watch: asyncio.Task[None] | None = None
        self._examining = asyncio.Lock()

    @property
    def ticked(self) -> asyncio.Condition:
        """Notified after each tick; made where something waits for it, because its empty queue takes 0.8 KB."""
        if self._ticked is None:
            self._ticked = asyncio.Condition()
        return self._ticked

    async def run(self) -> None:
        """Run the tasks of the target until cancelled; an interval after a fault of ours ended one, begin again."""
        while True:
            try:
                await self._run_tasks()
            except* Exception as faults:  # noqa: BLE001 - any of our own: the target must not stay unprobed
                self._shared.states.record_fault(self._target, time.time(), faults.exceptions[0])
            await asyncio.sleep(self._target.interval)
            self.due = asyncio.get_running_loop().time()

    async def _run_tasks(self) -> None:
        """Run the tasks until one fails or all are cancelled; then end the watch in order."""
        target = self._target
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._run_clock())
                if target.download and target.probe_ids:
                    group.create_task(download_loop.run(target, self._session_works, self._probe_download))
                if target.settings and target.probe_ids:
                    group.create_task(self._run_settings())
                if self._clients:
                    group.create_task(ClientLoop(target, self._shared, self).run(self._clients, self._grid))
        finally:
            await self._end_watch()

    # The clock

    async def _run_clock(self) -> None:
        now, shared = asyncio.get_running_loop().time, self._shared
        while True:
            await self._sleep(self.due - now())
            async with shared.slots:
                deadline, self._urgent = self._urgent, None
                if deadline is not None:
                    self.due = now()
                lag = max(0.0, now() - self.due)
                await self._tick(deadline)
                await self._check_lower_hello()
            state = shared.states[self._target.name]
            working = working_session(state.last) is not None
            (self._session_works.set if working else self._session_works.clear)()
            await self._keep_watch(state)
            # A watch that has just gone silent is still connected: its target must be probed before the state expires.
            interval = schedule.spacing(self._target.interval, watched=state.watched.connected and working)
            last = self.due
            tick = schedule.soon_enough(schedule.next_tick(self._grid, interval, now(), last), interval, last)
            self.due, skipped = max(now(), tick.due), tick.skipped
            shared.on_tick(lag, skipped)
            self._follow_up(follow_up(state))
            if self._ticked is not None:
                async with self._ticked:
                    self._ticked.notify_all()

    async def _check_lower_hello(self) -> None:
        """Where our hello has stayed unanswered for some ticks, try a lower one now and then.

        The next tick waits for that, one interval at most.
        """
        target, shared = self._target, self._shared
        last = shared.states[target.name].last
        lowered = lowered_target(target) if last is not None and hello_unanswered(last) else None
        if lowered is None:
            self._unanswered = 0
            return
        self._unanswered += 1
        if self._unanswered % LOWER_EVERY != LOWER_AFTER:
            return
        report = await shared.probe(replace(lowered, client_ids=()), min(LOWER_SECONDS, target.interval))
        shared.states.record_lower_hello(target.name, report)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until the tick is due or a probe is asked for at once. asyncio.timeout() would raise at every tick."""
        if self._urgent is not None or seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        self._sleeper = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._sleeper
        finally:
            timer.cancel()
            self._sleeper = None

    def _probe_at_once(self, deadline: float) -> None:
        self._urgent = max(deadline, self._urgent or 0.0)
        if self._download is not None:
            self._download.cancel()
        self._wake()

    def _follow_up(self, probe: FollowUp | None) -> None:
        """Probe before the next tick where that is asked for."""
        if probe is None:
            return
        if probe.deadline is None:
            self.due = min(self.due, asyncio.get_running_loop().time() + probe.delay)
        else:
            self._probe_at_once(probe.deadline)

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def _tick(self, deadline: float | None) -> None:
        """Probe and record. An exception of our own is recorded as such and does not end the clock."""
        at = time.time()
        try:
            await self._probe_and_read_log(deadline)
        except Exception as error:  # noqa: BLE001 - probe_target catches its own; this is for what comes after it
            self._shared.states.record_fault(self._target, at, error)

    async def _probe_and_read_log(self, deadline: float | None) -> None:
        """Probe the target and read its launcher log meanwhile; record the report even if the log fails."""
        reading = None if self._login is None else asyncio.create_task(self._read_login(self._login))
        try:
            report = await self.probe_wire(deadline)
            try:
                if reading is not None:
                    await reading
            finally:
                self._shared.states.record(report)
        finally:
            if reading is not None:
                reading.cancel()

    async def probe_wire(self, deadline: float | None = None) -> Report:
        """Probe the wire. Where the hello stays unanswered beside the watch's answered session, find out why first."""
        report = await self._shared.probe(self._target, deadline)
        if self._watch is None or (deadline is not None and deadline < self._target.deadline):
            return report
        async with self._examining:
            return await silence.find_cause(report, self._target, self._shared, self._end_watch)

    async def _read_login(self, follower: LogFollower) -> None:
        try:
            login = await follower.login()
        except Exception:  # noqa: BLE001 - ours, and no reason to lose the probe's report
            with contextlib.suppress(Exception):
                self._log.exception("launcher log failed")
            login = Login(problem=LogProblem.UNREADABLE)
        self._shared.states.record_login(self._target.name, login)

    # The watch

    async def _keep_watch(self, state: TargetState) -> None:
        """Have a watch where a client id is reserved for it, unless it is suspended or has let go."""
        target, shared = self._target, self._shared
        suspended = state.release.suspended or state.falls.sessions_suspended
        if target.watch_id is None or suspended or state.release.answered_at is not None:
            await self._end_watch()
        elif self._watch is None:
            watching = watch.run(
                target, shared.resolver, self._session_works, self._on_watch_event, timings=shared.timings
            )
            self._watch = asyncio.create_task(watching)

    async def _end_watch(self) -> None:
        """End the watch; its session closes in order."""
        task, self._watch = self._watch, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _on_watch_event(self, event: WatchEvent) -> None:
        """Record the event; probe at once if it asks for that."""
        states = self._shared.states
        before = states[self._target.name]
        states.record_watch_event(self._target.name, event)
        deadline = probe_at_once(before, event)
        if deadline is not None:
            self._probe_at_once(deadline)

    # The download

    async def _probe_download(self) -> bool:
        """Probe the account download once; returns whether it succeeded. A suspicion of the watch ends it."""
        target, shared = self._target, self._shared
        if shared.states[target.name].falls.sessions_suspended:
            return False
        cancelled = partial(shared.states.record_connections, target)
        async with shared.endpoints.lease((target.host, target.port)), shared.slots:
            download = asyncio.ensure_future(shared.download(target, shared.resolver, cancelled))
            self._download = download
            try:
                await asyncio.wait({download})
            finally:
                self._download = None
                download.cancel()
                await asyncio.gather(download, return_exceptions=True)
        if download.cancelled():
            return False
        report = download.result()
        shared.states.record_download(report)
        return bool(report.results) and report.results[0].ok

    # The settings

    async def _run_settings(self) -> None:
        """Ask the gateway for its settings once a day; never again once the request got no answer."""
        while True:
            await self._session_works.wait()
            pause = SETTINGS_INTERVAL
            try:
                if not await self._ask_settings():
                    return
            except Exception:  # noqa: BLE001 - our own fault: it ends this request, not the target's other tasks
                self._log.exception("settings probe failed")
                pause = download_loop.RETRY
            await asyncio.sleep(pause)

    async def _ask_settings(self) -> bool:
        """Ask once; returns whether to ask again another day."""
        target, shared = self._target, self._shared
        async with shared.endpoints.lease((target.host, target.port)), shared.slots:
            abandoned = partial(shared.states.record_connections, target)
            answer = await probe_settings(target, shared.resolver, abandoned=abandoned)
        shared.states.record_settings(target.name, answer)
        refused = answer.asked and answer.config is None
        if refused:
            self._log.warning("the gateway does not tell its settings", problem=answer.problem)
        return not refused
