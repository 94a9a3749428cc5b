"""The lines of `/metrics` that tell of a session: its stages, the gateway's clock, accounts, links and farms.

A value that the gateway did not tell has no line. Accounts are counted here, never named.
"""

from exporter.metrics import catalogue
from exporter.model import Layer, LayerResult, Outcome, Report, SessionFacts
from exporter.state.target import TargetState


def success(report: Report) -> int | None:
    """1 if the session was answered, 0 if it or an outer layer failed; None where no session was to be begun."""
    result = report.layer(Layer.SESSION)
    left_out = result is not None and result.outcome is Outcome.SKIPPED and result.cause is not None
    return None if result is None or left_out else int(result.ok)


def clock_offset(report: Report) -> float | None:
    """The gateway's clock minus ours, in seconds."""
    return _facts(report).clock_offset


def accounts(report: Report) -> int | None:
    """How many accounts are managed."""
    managed = _facts(report).accounts
    return None if managed is None else len(managed)


def account_present(state: TargetState, report: Report) -> int | None:
    """Whether the configured account is among them; None where none is configured."""
    managed, wanted = _facts(report).accounts, state.target.account
    return None if managed is None or wanted is None else int(wanted in managed)


def upstream_connected(report: Report) -> int | None:
    """Whether the gateway has IBKR's servers."""
    upstream = _facts(report).upstream
    return None if upstream is None else int(upstream)


def stages(label: str, report: Report) -> str:
    """How long each stage of the session took."""
    result = _session(report)
    return "".join(
        f'{catalogue.SESSION_STAGE.name}{{target="{label}",stage="{stage}"}} {seconds!r}\n'
        for stage, seconds in (result.stages if result else ())
    )


def farms(label: str, report: Report) -> str:
    """Every data farm that the gateway told of. Names are letters, digits, dots, dashes: nothing needs escaping."""
    return "".join(
        f'{catalogue.FARM.name}{{target="{label}",kind="{farm.kind}",farm="{farm.name}"}} {int(farm.connected)}\n'
        for farm in _facts(report).farms
    )


def conflicts(label: str, state: TargetState) -> str:
    """How often a client id of ours was refused; only where some are reserved."""
    return f'{catalogue.CONFLICTS.name}{{target="{label}"}} {state.conflicts}\n' if state.target.client_ids else ""


def watched(label: str, state: TargetState) -> str:
    """Whether the watch is connected; only where there is one."""
    if state.target.watch_id is None:
        return ""
    return f'{catalogue.WATCH_CONNECTED.name}{{target="{label}"}} {int(state.watched.connected)}\n'


def _session(report: Report) -> LayerResult | None:
    return report.layer(Layer.SESSION)


def _facts(report: Report) -> SessionFacts:
    session = _session(report)
    return session.session if session is not None and session.session is not None else SessionFacts()
