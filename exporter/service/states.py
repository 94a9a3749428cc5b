"""The present state of every target: each change goes through here, is logged, and wakes those who wait for it.

Reports, watch events and client probes are folded into frozen states. No probes here, no clocks.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import structlog

from exporter.model import Cause, Doubt, InstalledVersion, Layer, Report, Target, Verdict
from exporter.model.copies import replace
from exporter.protocol.launcher_log import Login
from exporter.protocol.settings import SettingsAnswer
from exporter.state.falls import (
    FALL_TIMINGS,
    Falls,
    FallTimings,
    begin_run,
    end_run,
    is_partial,
    observe,
    observe_connection,
)
from exporter.state.fold_client import fold_client
from exporter.state.fold_download import fold_download, with_download
from exporter.state.fold_watch import discount_if_disconnected, fold_watch_event, merge_watch
from exporter.state.suspension import annotate, describe_fall, fold_release
from exporter.state.target import TargetState, count, fold, revise
from exporter.state.watch_events import WatchEvent
from exporter.verdict.client_blame import ClientProbe, doubt_partial, hello_unanswered, require_repeat
from exporter.verdict.client_round import awaited, with_clients
from exporter.verdict.evidence import masked
from exporter.verdict.explanation import headline
from exporter.verdict.gateway_settings import remarks
from exporter.verdict.rules import judge

Judge = Callable[[Report, Target], Verdict]


class TargetStates(Mapping[str, TargetState]):
    """States by target name; read-only from outside but for `put` and `remove`, which a reload needs."""

    def __init__(self, judge: Judge = judge, timings: FallTimings = FALL_TIMINGS) -> None:
        self._judge = judge
        self.timings = timings
        self._states: dict[str, TargetState] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._log = structlog.get_logger(__name__).bind()

    def __getitem__(self, name: str) -> TargetState:
        return self._states[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    async def changed(self) -> None:
        """Wait for the next change of any state."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def put(self, state: TargetState) -> TargetState:
        """Make this the present state of its target."""
        self._states[state.target.name] = state
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        return state

    def remove(self, name: str) -> TargetState:
        """Forget a target; returns its last state."""
        return self._states.pop(name)

    def record(self, report: Report) -> TargetState:
        """Judge a report of a configured target, fold it into the target's state, and return that.

        A report that two callers asked for, the schedule and `/probe`, counts once. Its connections count with the
        caller that opened them, however late that one comes.
        """
        before = self._states[report.target]
        if before.last is not None and before.last.at == report.at:
            return self.put(replace(before, connections=before.connections + report.connections))
        falls = observe(before.falls, report, self.timings.within(before.target.interval), before.watched.at)
        release = fold_release(before.release, report)
        report = annotate(merge_watch(report, before), falls, release, self.timings)
        lower_hello = before.lower_hello if hello_unanswered(report) else None
        if lower_hello is not None:
            report = replace(report, lower_hello=lower_hello)
        if before.client_probes:
            report = with_clients(report, before.target.clients, before.client_probes, report.at)
        if before.download is not None:
            report = with_download(report, before, report.at)
        if before.settings is not None:
            report = replace(report, remarks=(*report.remarks, *remarks(before.settings, before.target)))
        verdict = self._judge(report, before.target)
        state = self.put(fold(before, report, verdict, falls=falls, release=release, lower_hello=lower_hello))
        self._log_fall(report.target, before.falls, falls)
        self._log.debug("probed", target=report.target, verdict=verdict.value, seconds=round(report.seconds, 6))
        self._log_verdict(before, state)
        return state

    def record_partial(self, report: Report) -> TargetState:
        """Count a report that a scraper's short timeout cut short; return the state that it alone would lead to.

        The target keeps its verdict: it did not have its deadline.
        """
        state = self._states[report.target]
        if report.connections:  # else the caller that opened them counts them
            state = self.put(count(state, report, report.results))
        return revise(state, report, self._judge(report, state.target))

    def record_connections(self, target: Target, opened: int) -> None:
        """Count connections that no report brings: of a cancelled probe, or of a further look."""
        state = self._states.get(target.name)
        if state is not None and state.target.endpoint == target.endpoint:
            self.put(replace(state, connections=state.connections + opened))

    def record_fault(self, target: Target, at: float, error: Exception) -> None:
        """Show an exception of our own as `probe_broken`."""
        with suppress(Exception):  # the log may be what failed
            self._log.exception("tick failed", target=target.name)
        fault = f"{type(error).__name__}: {error}"
        report = Report(target=target.name, at=at, seconds=time.time() - at, results=(), fault=fault)
        self.put(fold(self._states[target.name], report, Verdict.PROBE_BROKEN))

    def record_login(self, name: str, login: Login) -> None:
        """Keep what the launcher log says; warn once when it says nothing."""
        state = self._states[name]
        if login.problem is not None and (state.login is None or state.login.problem is not login.problem):
            self._log.warning("launcher log tells nothing", target=name, problem=login.problem.value)
        self.put(replace(state, login=login))

    def record_watch_event(self, name: str, event: WatchEvent) -> None:
        """Fold an event of the watch into the target's state."""
        before = self._states[name]
        state = self.put(fold_watch_event(before, event))
        self._log.debug("watched", target=name, kind=event.kind.value)
        if _id_in_use(state) and not _id_in_use(before):
            remedy = (
                "reserve other client_ids for this target, or stop the program that uses this one: another exporter?"
            )
            self._log.warning(
                "the watch's client id is in use", target=name, client_id=state.target.watch_id, remedy=remedy
            )
        self._log_verdict(before, state)

    def begin_client(self, name: str, client: str, installed: InstalledVersion | None) -> None:
        """Note that a client begins to connect; the gateway has just answered us."""
        state = self._states[name]
        self.put(replace(state, falls=begin_run(state.falls, client, installed, time.time())))

    def end_client(self, name: str) -> None:
        """Note that the client's connection has ended."""
        state = self._states[name]
        self.put(replace(state, falls=end_run(state.falls, time.time())))

    def record_samples(self, name: str, reports: Sequence[Report]) -> None:
        """Keep whether these handshakes were answered; count their connections."""
        state = self._states[name]
        falls = state.falls
        for report in reports:
            falls = observe_connection(falls, report, self.timings)
        opened = sum(report.connections for report in reports)
        self.put(replace(state, falls=falls, connections=state.connections + opened))

    def release_watch(self, name: str) -> None:
        """Note that the watch lets go, because new connections are silent beside its session."""
        state = self._states[name]
        release = replace(state.release, times=state.release.times + 1, answered_at=state.watched.at)
        self._log.warning("watch lets go: new connections are silent beside its session", target=name)
        self.put(replace(state, release=release))

    def suspend_watch(self, name: str) -> None:
        """Suspend the watch until a reload: new connections were answered as soon as it had let go."""
        state = self._states[name]
        self._log.warning("watch suspended: the gateway serves a limited number of connections", target=name)
        self.put(replace(state, release=replace(state.release, limit=True)))

    def record_client_probe(self, name: str, probe: ClientProbe) -> bool:
        """Fold a client probe into the target's state; returns whether the client is to be probed again soon."""
        before, client = self._states[name], probe.result.client or ""
        probe = discount_if_disconnected(probe, before.watched)
        if is_partial(before.falls):
            probe = doubt_partial(probe)
        probe = require_repeat(probe, before.client_probes.get(client))
        state = self.put(fold_client(before, probe))
        self._log.debug("client probed", target=name, client=client, outcome=probe.result.outcome.value)
        self._log_verdict(before, state)
        latest = state.client_probes.get(client)
        return latest is not None and latest.result.doubt is Doubt.ONCE

    def awaited_clients(self, name: str) -> frozenset[str]:
        """The clients of a target that others' failures wait for: they are to be tried now."""
        state = self._states[name]
        return awaited(state.target.clients, state.client_probes, time.time())

    def record_settings(self, name: str, answer: SettingsAnswer) -> None:
        """Keep the gateway's own settings; they show with the next report."""
        before = self._states[name]
        self.put(replace(before, settings=answer, connections=before.connections + answer.connections))

    def record_lower_hello(self, name: str, report: Report) -> None:
        """Keep what a hello with a lower maximum got, after one that got no answer."""
        before = self._states[name]
        handshake = report.layer(Layer.HANDSHAKE)
        server = handshake.server if handshake is not None and handshake.ok else None
        state = replace(before, connections=before.connections + report.connections, lower_hello=server)
        if state.last is not None and hello_unanswered(state.last):
            state = replace(state, last=replace(state.last, lower_hello=server))
        self.put(state)

    def record_download(self, report: Report) -> TargetState:
        """Fold a probe of the account download into the target's state."""
        before = self._states[report.target]
        state = self.put(fold_download(before, report))
        outcome = report.results[0].outcome.value if report.results else "fault"
        self._log.debug("download probed", target=report.target, outcome=outcome, seconds=round(report.seconds, 6))
        self._log_verdict(before, state)
        return state

    def _log_fall(self, name: str, before: Falls, after: Falls) -> None:
        if after.present is not None and after.present is not before.present:
            text = describe_fall(after.present, self.timings)
            self._log.warning(
                "gateway stopped answering",
                target=name,
                evidence=text,
                client=after.present.client,
                count=after.present.count,
            )

    def _log_verdict(self, before: TargetState, after: TargetState) -> None:
        if after.verdict is not before.verdict and after.last is not None:
            # The page and the alert name the configured account; a log travels further.
            target = replace(after.target, account=after.target.account and masked(after.target.account))
            text = headline(after.last, target, after.verdict)
            words = {"verdict": after.verdict.value, "before": before.verdict.value, "headline": text}
            self._log.info("verdict changed", target=after.target.name, **words)


def _id_in_use(state: TargetState) -> bool:
    """The gateway refused the watch's client id."""
    ended = state.watched.ended
    return ended is not None and ended.cause is Cause.CLIENT_ID_IN_USE
