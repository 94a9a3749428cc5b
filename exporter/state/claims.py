"""What the state of a target claims at a time: its present verdict and report, until it expires. No clock here."""

from exporter.model import Report, Verdict
from exporter.state.target import EXPIRY_INTERVALS, TargetState
from exporter.verdict.explanation import Explanation, explain
from exporter.verdict.rules import CLAIMLESS, WORKING


def heard_at(state: TargetState) -> float | None:
    """The last sign of the target (unix seconds): its last report, or a later one that a connected watch has had."""
    if state.last is None or state.watched.at is None or not state.watched.connected:
        return None if state.last is None else state.last.at
    return max(state.last.at, state.watched.at)


def expires_at(state: TargetState) -> float | None:
    """When the state stops claiming anything (unix seconds): three intervals after the last sign of the target."""
    heard = heard_at(state)
    return None if heard is None else heard + EXPIRY_INTERVALS * state.target.interval


def expired(state: TargetState, now: float) -> bool:
    """The last sign of the target is older than three intervals: the report claims nothing."""
    ends = expires_at(state)
    return ends is None or now > ends


def current_verdict(state: TargetState, now: float) -> Verdict:
    """The verdict as it may be shown now: unknown once the state has expired."""
    return Verdict.UNKNOWN if expired(state, now) else state.verdict


def claims(state: TargetState, now: float) -> Report | None:
    """The report whose results may be shown as the target's health now; None if there is nothing to claim."""
    return None if expired(state, now) or state.verdict in CLAIMLESS else state.last


def failing_since(state: TargetState) -> float | None:
    """When the target began to fail (unix seconds), whatever the verdicts since then; None if it works."""
    since = None
    for change in reversed(state.changes):
        if change.verdict in WORKING:
            break
        since = change.at
    return since


def explanation(state: TargetState, report: Report) -> Explanation:
    """The present verdict in words, for a report that led to it."""
    return explain(report, state.target, state.verdict, state.login, failing_since(state))
