"""The service: a clock ticks for each target, the target is probed, its report judged and folded into its state.

States are the only thing kept, and frozen; whoever shows them reads `states` at one moment. A target is never probed
twice at a time, whoever asks.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

import structlog

from exporter import schedule
from exporter.history import TargetState, fold
from exporter.login import Login, LogProblem
from exporter.metrics import ExporterState
from exporter.model import Report, Target, Verdict
from exporter.probes import stamps
from exporter.probes.ladder import probe_target
from exporter.probes.launcher_log import Follower
from exporter.probes.names import Resolver
from exporter.verdict import explain, judge


class Service:
    """Watches targets. `states` and `exporter` are what there is to show."""

    def __init__(self, exporter: ExporterState, *, most_at_once: int = 1000) -> None:
        """Make one that watches nothing yet and has at most `most_at_once` probes under way."""
        self.exporter = exporter
        self._states: dict[str, TargetState] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._under_way: dict[tuple[str, int], asyncio.Future[Report]] = {}
        self._logins: dict[str, Follower] = {}
        self._resolver = Resolver()
        self._places = asyncio.Semaphore(most_at_once)
        self._stamp_keeper = stamps.keep_enabled()
        self._log = structlog.get_logger(__name__).bind()

    @property
    def states(self) -> Mapping[str, TargetState]:
        """The present state of every target, by its name."""
        return MappingProxyType(self._states)

    async def watch(self, targets: Iterable[Target]) -> None:
        """Watch exactly these targets from now on. Unchanged ones go on undisturbed, with all that is known of them."""
        wanted = {target.name: target for target in targets}
        changed = [name for name, state in self._states.items() if wanted.get(name) != state.target]
        await self._stop(changed)
        for name in changed:
            self._logins.pop(name, None)
            state = self._states.pop(name)
            if name in wanted and wanted[name].endpoint == state.target.endpoint:
                self._states[name] = replace(state, target=wanted[name], login=None)
        started = asyncio.get_running_loop().time()
        for index, (name, target) in enumerate(wanted.items()):
            self._states.setdefault(name, TargetState(target))
            if name not in self._loops:
                first = schedule.first_tick(started, index, len(wanted), target.interval)
                origin = schedule.grid_origin(started, index, len(wanted), target.interval)
                self._loops[name] = asyncio.create_task(self._tick(target, first, origin), name=f"watch {name}")

    async def close(self) -> None:
        """Stop watching; every connection under way is closed in order."""
        await self._stop(list(self._loops))
        self._stamp_keeper.close()

    async def probe(self, target: Target, deadline: float | None = None) -> Report:
        """Probe a target now. If a probe of its endpoint is under way already, its report is the answer."""
        endpoint = (target.host, target.port)
        while (under_way := self._under_way.get(endpoint)) is not None:
            try:
                return replace(await asyncio.shield(under_way), target=target.name)
            except asyncio.CancelledError:
                if not under_way.cancelled():  # then it is we who are cancelled
                    raise
        answer: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._under_way[endpoint] = answer
        try:
            report = await probe_target(target, self._resolver, deadline)
            answer.set_result(report)
        finally:
            del self._under_way[endpoint]
            answer.cancel()  # without effect once there is a result
        return report

    def record(self, report: Report) -> TargetState:
        """Judge a report of a watched target, fold it into the target's state, and return that.

        A report that two had asked for, the schedule and `/probe`, counts once.
        """
        before = self._states[report.target]
        if before.last is not None and before.last.at == report.at:
            return before
        verdict = judge(report, before.target)
        state = self._states[report.target] = fold(before, report, verdict)
        self._log.debug("probed", target=report.target, verdict=verdict.value, seconds=round(report.seconds, 6))
        if verdict is not before.verdict:
            headline = explain(report, before.target, verdict).headline
            words = {"verdict": verdict.value, "before": before.verdict.value, "headline": headline}
            self._log.info("verdict changed", target=report.target, **words)
        return state

    async def _tick(self, target: Target, due: float, origin: float) -> None:
        """The clock of one target: probe at `due`, then along the grid that starts at `origin` (loop time)."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(due - loop.time())
            async with self._places:
                lag = self.exporter.lag.observe(max(0.0, loop.time() - due))
                self.exporter = replace(self.exporter, lag=lag)
                await self._probe_and_record(target)
            due, skipped = schedule.next_tick(origin, target.interval, loop.time(), due)
            if skipped:
                self.exporter = replace(self.exporter, skipped_ticks=self.exporter.skipped_ticks + skipped)

    async def _probe_and_record(self, target: Target) -> None:
        """One tick. What fails here is ours, is shown as such, and must not end the clock of the target."""
        at = time.time()
        try:
            report, _ = await asyncio.gather(self.probe(target), self._follow_login(target))
            self.record(report)
        except Exception as error:  # noqa: BLE001 - probe_target catches its own; this is for what comes after it
            with suppress(Exception):  # the log may be what failed
                self._log.exception("tick failed", target=target.name)
            fault = Report(target.name, at, time.time() - at, (), fault=f"{type(error).__name__}: {error}")
            self._states[target.name] = fold(self._states[target.name], fault, Verdict.PROBE_BROKEN)

    async def _follow_login(self, target: Target) -> None:
        """See what the gateway's launcher log tells now, where one is configured."""
        if target.launcher_log is None:
            return
        follower = self._logins.setdefault(target.name, Follower(target.launcher_log))
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
