"""Why new connections are silent while the watch's session is answered: a limit, a relay, or a stuck gateway.

    further connections beside the watch      one is answered: some are silent, as behind a relay; the watch goes on
    the watch ends its session in order
    the whole wire, once more                 silent: new connections are silent with the watch and without it
    one more connection                       answered too: the gateway serves a limited number; the watch stays away

So the watch never keeps a trading program out: it lets go at the first sign of that.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from exporter.model import Report, Target
from exporter.service.states import TargetStates
from exporter.state.fold_watch import confirmation_seconds, handshake_seconds
from exporter.state.suspension import is_silent
from exporter.state.target import TargetState
from exporter.verdict.client_blame import answered

FURTHER = 2  # connections beside the watch: one of them meets a relay's working backend
ANSWER_MARGIN = 0.25  # seconds from our hello to the heartbeat's answer that proves a session alive
USUAL_HANDSHAKES = 3  # times the last handshake's duration, where that is more
HEARTBEATS = 1.5  # of a probe that is to see one


class Prober(Protocol):
    """The states, and a way to probe a target."""

    @property
    def states(self) -> TargetStates:
        """The states of all targets."""

    @property
    def heartbeat(self) -> float:
        """Seconds between two requests of the watch."""

    async def probe(self, target: Target, deadline: float | None = None) -> Report:
        """Probe the target's wire now."""


async def find_cause(
    report: Report, target: Target, prober: Prober, end_watch: Callable[[], Awaitable[None]]
) -> Report:
    """The report to record instead of this one; the same, unless the hello was silent beside the watch's session."""
    states, name, handshake = prober.states, target.name, replace(target, client_ids=())
    if is_silent(report) and _too_short(states[name], report, prober.heartbeat):
        states.record_connections(target, report.connections)
        report = await prober.probe(target, HEARTBEATS * prober.heartbeat)
    if not is_silent(report) or not _alive_beside(states[name], report):
        return report
    for _ in range(FURTHER):
        further = await prober.probe(handshake, confirmation_seconds(states[name]))
        states.record_samples(name, [further])
        if not is_silent(further) or not _holds(states[name]):
            return report
    states.record_connections(target, report.connections)
    states.release_watch(name)
    await end_watch()
    again = await prober.probe(target)
    if answered(again):
        confirming = await prober.probe(handshake)
        states.record_samples(name, [confirming])
        if answered(confirming):
            states.suspend_watch(name)
    return again


def _holds(state: TargetState) -> bool:
    """The watch is in its session, and no heartbeat is late."""
    return state.watched.connected and not state.watched.late


def _too_short(state: TargetState, report: Report, heartbeat: float) -> bool:
    """The probe ended before a heartbeat could be answered beside it."""
    return _holds(state) and not _alive_beside(state, report) and report.seconds < HEARTBEATS * heartbeat


def _alive_beside(state: TargetState, report: Report) -> bool:
    """The watch's session, begun before this probe, was answered well after the probe's hello."""
    watched = state.watched
    margin = max(ANSWER_MARGIN, USUAL_HANDSHAKES * handshake_seconds(state.last))
    return (
        _holds(state)
        and watched.since is not None
        and watched.since <= report.at
        and (watched.at or 0.0) > report.at + margin
    )
