"""Merge what the watch reports with what the probes find: one report with the newest facts.

A probe examines the whole target once an interval. The watch gets the gateway's notices at once, and sees neither the
port nor the libraries. So a watch event never makes a report of its own. It revises the last one, if its session works:

    notices on links and farms       replace those of the report
    heartbeats stayed unanswered     the session counts as stalled, unless a probe began later

A probe whose session got notices on farms of a kind, or on the link, replaces what the watch had. Where it got none,
the facts known before complete its report while the watch is connected: the watch would have got a notice of a change.
"""

from exporter.model import Cause, Layer, LayerResult, Report, SessionFacts
from exporter.model.copies import replace
from exporter.protocol.notices import fill_gaps, merge_newer
from exporter.state.target import TargetState, revise
from exporter.state.watch_events import WatchEvent, WatchEventKind, WatchState, apply_event
from exporter.text import joined
from exporter.verdict.client_blame import ClientProbe, discard, is_conclusive
from exporter.verdict.rules import judge

SEEN = "seen by the watch"
COMPLETED = "completed by what was known before"
LATE_TOO = "the watch's request for the time, in its own session, is unanswered too"
CONFIRMATION = 1.0  # seconds in which a probe confirms a silence that has lasted a second already
MANY_HANDSHAKES = 10  # times the last handshake's duration, where that is more
SLOW_REQUEST = 0.5  # seconds; where the last probe's request took as long, a late heartbeat is usual
MEANWHILE = "the gateway ended the watch's session meanwhile; the library had ended with {}"
NO_NEWS = frozenset({Cause.CLIENT_ID_IN_USE, Cause.VERSION_UNKNOWN})  # of the target, when a session ends so


def fold_watch_event(state: TargetState, event: WatchEvent) -> TargetState:
    """The state after one more watch event, judged again where that changes the report."""
    refused = event.result is not None and event.result.cause is Cause.CLIENT_ID_IN_USE
    merged = replace(
        state,
        watched=apply_event(state.watched, event),
        connections=state.connections + event.opened,
        conflicts=state.conflicts + refused,
    )
    report = _revised(state, event)
    return merged if report is None else revise(merged, report, judge(report, state.target))


def merge_watch(report: Report, before: TargetState) -> Report:
    """A probe's report, completed by the facts of the watch, or by the watch's own failure beside its failure."""
    watched, session = before.watched, working_session(report)
    if session is None:
        if watched.facts.new_port is not None:
            report = replace(report, new_port=watched.facts.new_port)
        return _corroborated(report) if watched.late else report
    if session.session is None or not watched.connected:
        return report
    last = working_session(before.last)
    earlier = last.session if last is not None and last.session is not None else watched.facts
    facts = fill_gaps(session.session, earlier)
    if watched.news_at is not None and watched.news_at >= report.at:  # the probe's session may have been over by then
        facts = merge_newer(facts, SessionFacts(), watched.facts)
    return _with_facts(report, session, facts, COMPLETED) or report


def working_session(report: Report | None) -> LayerResult | None:
    """The session layer's result where it answered."""
    session = None if report is None else report.layer(Layer.SESSION)
    return session if session is not None and session.ok else None


def handshake_seconds(report: Report | None) -> float:
    """How long the handshake of a report took; 0 where none was made."""
    handshake = None if report is None else report.layer(Layer.HANDSHAKE)
    return (handshake.seconds if handshake else None) or 0.0


def confirmation_seconds(state: TargetState) -> float:
    """The deadline of a probe that confirms a silence."""
    return min(state.target.deadline, max(CONFIRMATION, MANY_HANDSHAKES * handshake_seconds(state.last)))


def probe_at_once(before: TargetState, event: WatchEvent) -> float | None:
    """The deadline in seconds of a probe that this event asks for at once; None: the schedule goes on.

    A late heartbeat asks for a short probe: silence for that long beside a request unanswered for a second is a freeze,
    unless the target is known to be slow. A target whose requests are usually slow gets none: each heartbeat would cost
    a connection, and the watch itself gives up where no answer comes at all. Every end asks for a probe with the full
    deadline: it corrects a short one, and shows at once that a freeze has passed.
    """
    target, watched = before.target, before.watched
    match event.kind:
        case WatchEventKind.UNANSWERED if _request_seconds(before.last) >= SLOW_REQUEST:
            return None
        case WatchEventKind.UNANSWERED:
            return confirmation_seconds(before)
        case WatchEventKind.ANSWERED if watched.late and working_session(before.last) is None:
            return target.deadline
        case WatchEventKind.ENDED if event.result is not None and event.result.cause not in NO_NEWS:
            return target.deadline
        case _:
            return None


def discount_if_disconnected(probe: ClientProbe, watched: WatchState) -> ClientProbe:
    """The client probe as it counts beside the watch: what ended the watch's session may have ended the client's.

    A gateway that drops every connection and answers again at once looks well both before and after.
    """
    ended, result = watched.ended, probe.result
    if ended is None or ended.cause in NO_NEWS or probe.before is None or (watched.since or 0.0) < probe.before.at:
        return probe
    if result.ok or not is_conclusive(result):
        return probe
    return replace(probe, result=discard(result, MEANWHILE.format(result.outcome.value)))


def _request_seconds(last: Report | None) -> float:
    """How long the last probe's request for the time took; 0 where none was answered."""
    session = working_session(last)
    return 0.0 if session is None else session.waited


def _revised(state: TargetState, event: WatchEvent) -> Report | None:
    """The last report with what the event adds; None where that changes nothing."""
    last = state.last
    session = working_session(last)
    if last is None or session is None or session.session is None:
        return None
    if event.kind in (WatchEventKind.BEGAN, WatchEventKind.NEWS):
        before = state.watched.facts if event.kind is WatchEventKind.NEWS else SessionFacts()
        report = _with_facts(last, session, merge_newer(session.session, before, event.facts), SEEN)
        return report and replace(report, at=event.at, seconds=0.0, connections=0)
    if event.kind is WatchEventKind.ENDED and event.result is not None and event.result.cause is Cause.SILENCE:
        if event.since is None or event.since <= last.at <= event.at:  # one from the future is an older one:
            return None  # the clock was set back since
        stalled = replace(event.result, detail=SEEN)
        return replace(_put(last, session, stalled), at=event.at, seconds=0.0, connections=0)
    return None


def _with_facts(report: Report, session: LayerResult, facts: SessionFacts, detail: str) -> Report | None:
    """The report with these facts of its session; None if it has them already."""
    return None if facts == session.session else _put(report, session, replace(session, session=facts, detail=detail))


def _corroborated(report: Report) -> Report:
    """The report of a probe that failed while a heartbeat was late as well."""
    failed = next((result for result in report.results if not result.ok and result.cause is not None), None)
    if failed is None:
        return report
    return _put(report, failed, replace(failed, detail=joined(failed.detail, LATE_TOO)))


def _put(report: Report, session: LayerResult, other: LayerResult) -> Report:
    return replace(report, results=tuple(other if result is session else result for result in report.results))
