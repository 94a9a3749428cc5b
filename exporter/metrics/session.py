"""The metrics of a session: its stages, the gateway's clock, accounts, links and farms; and of the watch.

A value that the gateway did not report has no line. Accounts are counted here, never named.
"""

from collections.abc import Iterable

from exporter.metrics.family import (
    COUNTER,
    GAUGE,
    Metric,
    Sample,
    View,
    family,
    of_members,
    of_view,
    samples_of_view,
)
from exporter.model import Outcome, Stage


def success(view: View) -> int | None:
    """1 if the session was answered, 0 if it or an outer layer failed; None where no session was to be begun."""
    result = view.session
    left_out = result is not None and result.outcome is Outcome.SKIPPED and result.cause is not None
    return None if result is None or left_out else int(result.ok)


def stages(view: View) -> Iterable[tuple[Stage, float]]:
    """How long each stage took."""
    return () if view.session is None else view.session.stages


def accounts(view: View) -> int | None:
    """How many accounts are managed."""
    managed = view.facts.accounts
    return None if managed is None else len(managed)


def account_present(view: View) -> int | None:
    """Whether the configured account is among them; None where none is configured."""
    managed, account = view.facts.accounts, view.state.target.account
    return None if managed is None or account is None else int(account in managed)


def upstream_connected(view: View) -> int | None:
    """Whether the gateway has IBKR's servers."""
    upstream = view.facts.upstream
    return None if upstream is None else int(upstream)


def farms(view: View) -> list[Sample]:
    """Every data farm that the gateway reported."""
    return [((farm.kind, farm.name), int(farm.connected)) for farm in view.facts.farms]


def conflicts(view: View) -> int | None:
    """How often a client id of ours was refused; only where some are reserved."""
    return view.state.conflicts if view.state.target.client_ids else None


def watched(view: View) -> int | None:
    """Whether the watch is connected; only where there is one."""
    return None if view.state.target.watch_id is None else int(view.state.watched.connected)


def watch_suspended(view: View) -> int | None:
    """Whether the watch stays away; only where there is one."""
    state = view.state
    suspended = state.release.suspended or state.falls.sessions_suspended
    return None if state.target.watch_id is None else int(suspended)


def session_suspended(view: View) -> int | None:
    """Whether no session is begun; only where client ids are reserved for one."""
    return int(view.state.falls.sessions_suspended) if view.state.target.client_ids else None


FAMILIES = (
    family(
        Metric(
            "ibkr_session_success",
            GAUGE,
            "1 if startApi gave nextValidId and managedAccounts, and a current time was answered.",
        ),
        of_view(success),
    ),
    family(
        Metric(
            "ibkr_session_stage_duration_seconds",
            GAUGE,
            "Stages of the last session: from startApi to what the stage names, and from reqCurrentTime to its answer.",
            ("target", "stage"),
        ),
        of_members(Stage, stages),
    ),
    family(
        Metric(
            "ibkr_server_clock_offset_seconds",
            GAUGE,
            "The gateway's clock minus ours, to half a second and half of what its answer took.",
        ),
        of_view(lambda view: view.facts.clock_offset),
    ),
    family(Metric("ibkr_accounts", GAUGE, "Number of managed accounts."), of_view(accounts)),
    family(
        Metric("ibkr_account_present", GAUGE, "1 if the configured account is among the managed ones."),
        of_view(account_present),
    ),
    family(
        Metric(
            "ibkr_upstream_connected",
            GAUGE,
            "1 if the gateway has told that it has IBKR's servers, 0 if it has lost them.",
        ),
        of_view(upstream_connected),
    ),
    family(
        Metric(
            "ibkr_farm_connected",
            GAUGE,
            "1 if the data farm is connected or idle, 0 if it is disconnected.",
            ("target", "kind", "farm"),
        ),
        samples_of_view(farms),
    ),
    family(
        Metric("ibkr_client_id_conflicts_total", COUNTER, "Client ids of ours refused with error 326."),
        of_view(conflicts),
    ),
    family(
        Metric("ibkr_watch_connected", GAUGE, "1 while the watch is in its session."),
        of_view(watched),
    ),
    family(
        Metric(
            "ibkr_watch_suspended",
            GAUGE,
            "1 if the watch begins no session until a reload: the gateway lacks room, or fell silent after it.",
        ),
        of_view(watch_suspended),
    ),
    family(
        Metric(
            "ibkr_session_suspended",
            GAUGE,
            "1 if no session of ours is begun until a reload: twice in a row the gateway fell silent right after one.",
        ),
        of_view(session_suspended),
    ),
)
