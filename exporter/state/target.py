"""The state of a target: one frozen value, and `fold`, which makes the next from a report.

No clock here: `now` is a parameter. Nothing grows without bound: reports, failures and changes are limited in number.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from exporter.model import Cause, Layer, LayerResult, Outcome, Report, ServerHello, Target, Verdict
from exporter.model.copies import replace
from exporter.protocol.launcher_log import Login
from exporter.protocol.settings import SettingsAnswer
from exporter.state.falls import Falls
from exporter.state.histogram import CONNECT_BUCKETS, HANDSHAKE_BUCKETS, Histogram
from exporter.state.kept_reports import Judged, kept
from exporter.state.suspension import WatchRelease
from exporter.state.trend import Trend
from exporter.state.watch_events import WatchState
from exporter.verdict.client_blame import WIRE, ClientProbe
from exporter.verdict.rules import WORKING, judge

KEPT_REPORTS = 8
KEPT_FAILURES = 12  # more than successes: people ask about failures
KEPT_CHANGES = 40
EXPIRY_INTERVALS = 3
TIMED = (Layer.HANDSHAKE, Layer.CLIENT)  # the layers of which a day's times are kept
WAITED = frozenset({Cause.SILENCE, Cause.UNFINISHED})  # causes of a probe that waited for its whole deadline
UNANSWERED = WAITED | {Cause.BROKEN_OFF}  # part of an answer counts as none
PAUSE = 8.5  # seconds of silence that may be a pause: a page waits for them (deploy/rules/thresholds.py)
LEAST_DEADLINE = 1.0  # seconds of a probe that follows at once

CounterKey = tuple[Layer, str]  # a layer, and a client or ""
FailureKey = tuple[Layer, str, Outcome]


@dataclass(frozen=True, slots=True)
class Change:
    """A verdict and when it began (unix seconds)."""

    verdict: Verdict
    at: float


@dataclass(frozen=True, slots=True)
class Silence:
    """Handshakes without a whole answer, one after the other: from the first to the end of the last (unix seconds)."""

    began: float
    until: float

    @property
    def seconds(self) -> float:
        """The length in seconds, as far as was probed."""
        return self.until - self.began


class FollowUp(NamedTuple):
    """A probe that does not wait for the next tick: seconds until it begins, and its deadline (None: the target's)."""

    delay: float
    deadline: float | None


@dataclass(frozen=True, slots=True)
class DownloadProbe:
    """The latest result of the account download, from unix time `at`; it claims nothing after `expires`."""

    result: LayerResult
    at: float
    expires: float


@dataclass(frozen=True, slots=True)
class TargetState:
    """Counters only grow; `since` is when the present verdict began."""

    target: Target
    verdict: Verdict = Verdict.UNKNOWN
    since: float | None = None
    last: Report | None = None
    recent: tuple[Judged, ...] = ()  # oldest first
    failures: tuple[Judged, ...] = ()  # oldest first
    changes: tuple[Change, ...] = ()  # oldest first
    connect: Histogram = field(default_factory=lambda: Histogram.empty(CONNECT_BUCKETS))
    handshake: Histogram = field(default_factory=lambda: Histogram.empty(HANDSHAKE_BUCKETS))
    probes: Mapping[CounterKey, int] = field(default_factory=dict)
    failed: Mapping[FailureKey, int] = field(default_factory=dict)
    probed_at: Mapping[CounterKey, float] = field(default_factory=dict)
    connections: int = 0
    login: Login | None = None  # the login by the launcher log; None: no log is configured
    conflicts: int = 0  # client ids of ours that were refused with error 326
    watched: WatchState = field(default_factory=WatchState)
    download: DownloadProbe | None = None
    settings: SettingsAnswer | None = None  # the gateway's own settings, where the target opted in
    lower_hello: ServerHello | None = None  # the answer to a lower hello, while the usual one gets none
    client_probes: Mapping[str, ClientProbe] = field(default_factory=dict)  # the latest of each client
    falls: Falls = field(default_factory=Falls)
    release: WatchRelease = field(default_factory=WatchRelease)
    client_times: Mapping[str, Histogram] = field(default_factory=dict)  # of the probes that succeeded, by client
    trends: Mapping[str, Trend] = field(default_factory=dict)  # of the handshake under "", of the others by client
    handshake_at: float | None = None  # when the last handshake worked
    silence: Silence | None = None  # None: the last probe was answered, or ended before its hello


def fold(state: TargetState, report: Report, verdict: Verdict, **known: Any) -> TargetState:
    """The state after one more tick: its report counted and made the present one; `known` are further fields."""
    wire = [result for result in report.results if result.layer in WIRE]  # the others are counted with their own probes
    return replace(state, **_revised(state, report, verdict), **_tallied(state, report, wire), **known)


def count(state: TargetState, report: Report, results: Iterable[LayerResult]) -> TargetState:
    """The state with these results of a report counted, and its connections."""
    return replace(state, **_tallied(state, report, results))


def _tallied(state: TargetState, report: Report, results: Iterable[LayerResult]) -> dict[str, Any]:
    """The fields that count something, with these results of a report."""
    probed = [result for result in results if result.outcome is not Outcome.SKIPPED]
    handshake = report.layer(Layer.HANDSHAKE)
    answered = handshake is not None and handshake.ok
    return {
        "connect": _observed(state.connect, report.layer(Layer.PORT)),
        "handshake": _observed(state.handshake, handshake),
        "probes": _counted(state.probes, probed),
        "failed": _failures_counted(state.failed, probed),
        "probed_at": {**state.probed_at, **{_key(result): report.at for result in probed}},
        "connections": state.connections + report.connections,
        "conflicts": state.conflicts + sum(result.session.conflicts for result in probed if result.session),
        "trends": _trended(state.trends, probed, report.at),
        "handshake_at": report.at if answered else state.handshake_at,
        "silence": _silence(state.silence, report),
    }


def follow_up(state: TargetState) -> FollowUp | None:
    """The probe that is to follow this tick's before the next tick; None: the schedule goes on."""
    return missing_silence(state) or _second_look(state)


def missing_silence(state: TargetState) -> FollowUp | None:
    """The probe that is to follow before the next tick; None: the schedule goes on.

    A target that has just fallen silent may only pause, and a page must not wait for the next tick to know. So the next
    probe waits for the rest of a pause. Where the answer was broken off no probe has waited: the rest of the pause
    passes without a connection, then comes a whole probe. A target whose next ticks come soon anyway gets none.
    """
    silence, interval = state.silence, state.target.interval
    if silence is None or silence.seconds >= PAUSE or interval <= PAUSE / 2:
        return None
    rest = PAUSE - silence.seconds
    handshake = None if state.last is None else state.last.layer(Layer.HANDSHAKE)
    if handshake is not None and handshake.cause is Cause.BROKEN_OFF:
        return FollowUp(rest, None)
    return FollowUp(0.0, max(LEAST_DEADLINE, rest))


def _second_look(state: TargetState) -> FollowUp | None:
    """A probe at once after the first failure of a target that worked; none where the next ticks come soon anyway."""
    before, last = state.recent[-2:-1], state.last
    if last is None or state.verdict in WORKING or state.target.interval <= PAUSE / 2:
        return None
    failed = any(
        result.layer in WIRE and result.outcome not in {Outcome.OK, Outcome.SKIPPED} for result in last.results
    )
    return FollowUp(0.0, None) if failed and before and before[0].verdict in WORKING else None


def revise(state: TargetState, report: Report, verdict: Verdict) -> TargetState:
    """The state with this report as the present one; nothing is counted."""
    return replace(state, **_revised(state, report, verdict))


def _revised(state: TargetState, report: Report, verdict: Verdict) -> dict[str, Any]:
    """The fields that say what is the case, by this report."""
    changed, began = verdict is not state.verdict, _beginning(state, report)
    judged = kept(report, verdict)
    return {
        "verdict": verdict,
        "since": began if changed else state.since,
        "last": report,
        "recent": (*state.recent, judged)[-KEPT_REPORTS:],
        "failures": state.failures if verdict in WORKING else (*state.failures, judged)[-KEPT_FAILURES:],
        "changes": (*state.changes, Change(verdict, began))[-KEPT_CHANGES:] if changed else state.changes,
    }


def reconfigured(state: TargetState, target: Target, other: Collection[str]) -> TargetState:
    """The state under another configuration of the same endpoint, with `other` clients changed or gone.

    The last report is judged again by the new configuration. Nothing is kept of a client that is no longer configured,
    so that no reload leaves labels that are in no configuration.
    """
    kept = {"", *target.clients}
    client_probes = {name: probe for name, probe in state.client_probes.items() if name in kept and name not in other}
    renewed = replace(
        state,
        target=target,
        login=None,
        download=state.download if target.download else None,
        settings=state.settings if target.settings else None,
        falls=Falls(),
        release=WatchRelease(),
        client_probes=client_probes,
        probes={key: count for key, count in state.probes.items() if key[1] in kept},
        failed={key: count for key, count in state.failed.items() if key[1] in kept},
        probed_at={key: at for key, at in state.probed_at.items() if key[1] in kept},
        client_times={name: times for name, times in state.client_times.items() if name in kept},
        trends={name: trend for name, trend in state.trends.items() if name in kept},
    )
    if state.last is None:
        return renewed
    results = tuple(
        result
        for result in state.last.results
        if result.layer in WIRE
        or (result.layer is Layer.DOWNLOAD and target.download)
        or result.client in client_probes
    )
    report = replace(state.last, results=results)
    verdict = judge(report, target)
    return replace(renewed, last=report) if verdict is state.verdict else revise(renewed, report, verdict)


def has_suspensions(state: TargetState) -> bool:
    """A client rests, or something is suspended, until a reload at the latest."""
    return bool(state.falls.by_client) or state.falls.sessions_suspended or state.release.suspended


def cut_short(report: Report, deadline: float) -> bool:
    """Whether the report timed out at a shorter deadline than this one (seconds): an answer might have come later."""
    return report.seconds < deadline and any(result.outcome is Outcome.TIMEOUT for result in report.results)


def _beginning(state: TargetState, report: Report) -> float:
    """When the state that a report shows began: with its tick, or with a change that the watch reported during it."""
    latest = state.changes[-1].at if state.changes else report.at
    return latest if report.at < latest <= report.at + report.seconds else report.at


def _silence(before: Silence | None, report: Report) -> Silence | None:
    """The silence up to the end of this report; a fault of our own does not end it, nor a report of a client alone."""
    handshake = report.layer(Layer.HANDSHAKE)
    if report.fault is not None or handshake is None:
        return before
    if handshake.cause not in UNANSWERED:
        return None
    began = report.at if before is None else before.began
    return Silence(began, max(began, report.at + report.seconds))


def _key(result: LayerResult) -> CounterKey:
    return _shared_key(result.layer, result.client or "")


@lru_cache(maxsize=256)
def _shared_key(layer: Layer, client: str) -> CounterKey:
    """The same object for all targets."""
    return layer, client


def _observed(histogram: Histogram, result: LayerResult | None) -> Histogram:
    """Only successes are observed: a time that ended at our deadline says nothing about the gateway."""
    if result is None or not result.ok or result.seconds is None:
        return histogram
    return histogram.observe(result.seconds)


def _trended(trends: Mapping[str, Trend], probed: list[LayerResult], at: float) -> Mapping[str, Trend]:
    """The trends with these results; a client that could not be tried at all shows nothing of the gateway."""
    timed = [result for result in probed if result.layer in TIMED and result.outcome is not Outcome.UNAVAILABLE]
    if not timed:
        return trends
    observed = dict(trends)
    for result in timed:
        name = result.client or ""
        observed[name] = observed.get(name, Trend()).observe(at, result.seconds if result.ok else None)
    return observed


def _counted(probes: Mapping[CounterKey, int], probed: list[LayerResult]) -> Mapping[CounterKey, int]:
    counted = dict(probes)
    for result in probed:
        key = _key(result)
        counted[key] = counted.get(key, 0) + 1
    return counted


def _failures_counted(failed: Mapping[FailureKey, int], probed: list[LayerResult]) -> Mapping[FailureKey, int]:
    keys = [(*_key(result), result.outcome) for result in probed if not result.ok]
    if not keys:
        return failed
    counted = dict(failed)
    for key in keys:
        counted[key] = counted.get(key, 0) + 1
    return counted
