"""The states as JSON: what `/api/v1/status` and `diagnose --json` answer. No clock here, no HTTP.

Times are RFC 3339 in UTC, durations seconds. An expired state claims nothing: its verdict is `unknown`, its layers are
empty, and the evidence says how old the last report is.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from exporter.maintenance import names, open_windows
from exporter.model import (
    Exchanged,
    InstalledVersion,
    Layer,
    LayerResult,
    Report,
    RequestResult,
    SessionFacts,
    Target,
    Verdict,
)
from exporter.protocol.launcher_log import Login
from exporter.protocol.releases import release_of
from exporter.state.claims import claims, current_verdict, expired, expires_at, explanation, heard_at
from exporter.state.discovery import SourceState
from exporter.state.target import EXPIRY_INTERVALS, TargetState
from exporter.text import rfc3339
from exporter.verdict.actions import REMEDIES, format_for
from exporter.verdict.evidence import shown
from exporter.verdict.explanation import Explanation, explain
from exporter.verdict.rules import Severity, is_connectable, severity

Json = dict[str, Any]


def status(states: Sequence[TargetState], now: float, sources: Sequence[SourceState] = ()) -> Json:
    """The body of `/api/v1/status`: every state as it is at `now`, in their order."""
    return {**_summary(states, now, sources), "targets": [state_json(state, now) for state in states]}


def status_text(states: Sequence[TargetState], now: float, sources: Sequence[SourceState] = ()) -> Iterator[str]:
    """The same as JSON text, a piece for each target, so that a server can do other work between two of them."""
    head = ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in _summary(states, now, sources).items())
    yield f'{{{head}, "targets": ['
    for place, state in enumerate(states):
        yield (", " if place else "") + json.dumps(state_json(state, now))
    yield "]}"


def report_json(target: Target, report: Report, verdict: Verdict, login: Login | None = None) -> Json:
    """One report as `diagnose --json` prints it; the order of the fields is part of the contract."""
    return _core(target, verdict, explain(report, target, verdict, login), report.at, report)


def state_json(state: TargetState, now: float) -> Json:
    """One target: the fields of `report_json`, then what comes from its history."""
    target, last, verdict = state.target, state.last, current_verdict(state, now)
    claimed, opened, heard = claims(state, now), open_windows(now, target.windows), heard_at(state)
    return {
        **_core(target, verdict, words(state, now), None if last is None else last.at, claimed),
        "severity": severity(verdict).value,
        "up": None if claimed is None else is_connectable(verdict, claimed),
        "mode": target.mode.value,
        "labels": dict(target.labels),
        "discovered": target.discovered,
        "interval": target.interval,
        "deadline": target.deadline,
        "since": _moment_or_none(since(state, now)),
        "age": None if heard is None else round(max(0.0, now - heard), 3),
        "expired": expired(state, now),
        "connections": state.connections,
        "watch": _watch(state),
        "login": _login(state.login),
        "maintenance": {name: name in opened for name in names(target.windows)},
        "probes": _probes(state),
        "changes": [{"verdict": change.verdict.value, "at": rfc3339(change.at)} for change in state.changes],
    }


def words(state: TargetState, now: float) -> Explanation:
    """The present verdict in words. Of an expired state only its age is evidence."""
    target, last = state.target, state.last
    if last is not None and not expired(state, now):
        return explanation(state, last)
    remedy = REMEDIES[Verdict.UNKNOWN]
    evidence = (
        "No report has come in yet."
        if last is None
        else f"The last report is from {rfc3339(last.at)} and said {state.verdict.value}; one older than "
        f"{EXPIRY_INTERVALS} intervals ({EXPIRY_INTERVALS * target.interval:g} s) claims nothing any more."
    )
    actions = tuple(format_for(action, target) for action in remedy.actions)
    return Explanation(format_for(remedy.headline, target), remedy.meaning, (evidence,), actions)


def since(state: TargetState, now: float) -> float | None:
    """When the present verdict began (unix seconds): for an expired state, when it expired; None if never probed."""
    return expires_at(state) if state.last is not None and expired(state, now) else state.since


def _summary(states: Sequence[TargetState], now: float, sources: Sequence[SourceState]) -> Json:
    verdicts = Counter(current_verdict(state, now) for state in states)
    tones: Counter[Severity] = Counter()
    for verdict, count in verdicts.items():
        tones[severity(verdict)] += count
    return {
        "at": rfc3339(now),
        "summary": {tone.value: tones[tone] for tone in Severity},
        "verdicts": {verdict.value: verdicts[verdict] for verdict in Verdict if verdict in verdicts},
        "discovery": [_source_json(source) for source in sources],
    }


def _source_json(source: SourceState) -> Json:
    return {
        "mechanism": source.mechanism,
        "config": source.config,
        "where": source.where,
        "targets": source.targets,
        "rejected": source.rejected,
        "successful": source.successful if source.refreshes else None,
        "failure": source.failure,
        "failing_since": None if source.failing_since is None else rfc3339(source.failing_since),
        "last_success": None if source.succeeded_at is None else rfc3339(source.succeeded_at),
        "problems": list(source.problems),
    }


def _core(target: Target, verdict: Verdict, explained: Explanation, at: float | None, report: Report | None) -> Json:
    handshake = report.layer(Layer.HANDSHAKE) if report else None
    return {
        "target": target.name,
        "host": target.host,
        "port": target.port,
        "at": _moment_or_none(at),
        "verdict": verdict.value,
        "headline": explained.headline,
        "evidence": list(explained.evidence),
        "actions": list(explained.actions),
        "runbook": verdict.value,
        "server_version": handshake.server.version if handshake and handshake.server else None,
        "server_release": release_of(handshake.server.version, target.hello.maximum)
        if handshake and handshake.server
        else None,
        "layers": [_layer(result, target) for result in report.results] if report else [],
    }


def _layer(result: LayerResult, target: Target) -> Json:
    session = {} if result.session is None else {"session": _session(result.session, target)}
    return {
        "layer": result.layer.value,
        "client": result.client,
        "outcome": result.outcome.value,
        "seconds": result.seconds,
        "stage": result.stage.value if result.stage else None,
        "detail": result.detail,
        "cause": result.cause.value if result.cause else None,
        "stages": {stage.value: seconds for stage, seconds in result.stages},
        "clock": result.stamp.value if result.stamp else None,
        **session,
        **({"requests": [_request(request) for request in result.requests]} if result.requests else {}),
        **({"doubt": result.doubt.value} if result.doubt else {}),
        **({"library": _edition(result.installed)} if result.installed else {}),
        **({"exchange": [_exchanged(message) for message in result.exchange]} if result.exchange else {}),
    }


def _request(request: RequestResult) -> Json:
    return {
        "request": request.stage.value,
        "seconds": request.seconds,
        "messages": request.messages,
        "error": request.code,
    }


def _edition(installed: InstalledVersion) -> Json:
    return {"name": installed.library, "version": installed.version, "python": installed.python}


def _exchanged(message: Exchanged) -> Json:
    return {
        "direction": message.direction.value,
        "name": message.name,
        "seconds": message.seconds,
        "count": message.count,
    }


def _session(facts: SessionFacts, target: Target) -> Json:
    """What the gateway reported within the session. Accounts other than the configured one are shown in part."""
    return {
        "client_id": facts.client_id,
        "accounts": None if facts.accounts is None else [shown(account, target) for account in facts.accounts],
        "clock_offset": facts.clock_offset,
        "upstream": facts.upstream,
        "farms": [{"kind": farm.kind.value, "name": farm.name, "connected": farm.connected} for farm in facts.farms],
        "errors": list(facts.errors),
        "new_port": facts.new_port,
        "conflicts": facts.conflicts,
    }


def _watch(state: TargetState) -> Json | None:
    """The state of the watch; None where there is none. `ended` is why its last session ended."""
    if state.target.watch_id is None:
        return None
    watched = state.watched
    ended = watched.ended.cause if watched.ended else None
    return {
        "connected": watched.connected,
        "since": _moment_or_none(watched.since),
        "client_id": state.target.watch_id,
        "ended": ended.value if ended else None,
        "suspended": state.release.suspended or state.falls.sessions_suspended,
    }


def _login(login: Login | None) -> Json | None:
    """What the launcher log shows; None where none is configured."""
    if login is None:
        return None
    return {
        "phase": login.phase.value,
        "at": _moment_or_none(login.at),
        "problem": login.problem.value if login.problem else None,
    }


def _probes(state: TargetState) -> list[Json]:
    """The counters, one row for each layer and client."""
    return [
        {
            "layer": layer.value,
            "client": client or None,
            "done": done,
            "failed": {key[2].value: count for key, count in state.failed.items() if key[:2] == (layer, client)},
            "last": _moment_or_none(state.probed_at.get((layer, client))),
        }
        for (layer, client), done in state.probes.items()
    ]


def _moment_or_none(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)
