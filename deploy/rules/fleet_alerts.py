"""Alerts about many gateways that fail together: one page for the fleet, or for all behind one address.

Each fires in the evaluation before the first page of a single gateway, or in the same one and before it, if by then half of
the gateways fail. The alerts about single gateways then do not begin, and Alertmanager silences those that had begun
(inhibit_rules). It stays while half of them fail, for half an hour while at least two fail, and then longer than the single
alerts are kept, so that nothing new is sent while they recover one by one. What is left by then has pages of its own.
"""

from deploy.rules import alert as a
from deploy.rules import expressions as e
from deploy.rules import states
from deploy.rules import thresholds as t
from deploy.rules.alert import Alert
from deploy.rules.fleets import FLEETS, OnFleet
from deploy.rules.recording import Recording
from deploy.rules.verdict_alerts import VERDICTS, unless_short
from exporter.model import Verdict


def fleet_alerts() -> tuple[Alert, ...]:
    """The rules of the table."""
    return tuple(_alert(row) for row in FLEETS)


def fleet_recordings() -> tuple[Recording, ...]:
    """What each of them counts."""
    return tuple(Recording(row.failing, f"the targets that {row.name} counts", _failing(row)) for row in FLEETS)


def _alert(row: OnFleet) -> Alert:
    names = "|".join(row.verdicts)
    matchers = f'verdict=~\\"{names}\\"'
    listing = f'{{{{ range query (printf "{e.VERDICT}{{job=%q,{matchers}}}" $labels.job) }}}}{{{{ .Labels.target }}}}, {{{{ end }}}}'
    where = "" if row.scope == "job" else " at {{ $labels.host }}"
    return Alert(
        name=row.name,
        summary=row.summary,
        action=row.action,
        expr=_expr(row),
        wait=t.AT_ONCE,
        severity="critical",
        layer=row.layer,
        description=f"Verdict {' or '.join(row.verdicts)} on {{{{ $value }}}} gateways{where}: {row.words}. "
        f"Those with that verdict: {listing}and no further page is sent for each of them. " + a.steps(*row.steps),
        runbook=row.runbook,
        dashboard=a.FLEET_BOARD,
        page="/",
        keep_firing=t.KEEP_FLEET,
    )


def _expr(row: OnFleet) -> str:
    excuses = {each.expected_in for each in VERDICTS if each.verdict in row.verdicts}
    window = e.ANY_WINDOW if e.ANY_WINDOW in excuses else e.RESTART_WINDOW
    return while_share(row.name, row.scope, row.failing, window, _due(row))


def while_share(alert: str, scope: str, failing: str, window: str, due: str = "") -> str:
    """The count of failing gateways where it is a share and a single page is due (by default at once), and while it lasts.

    It lasts while it is a share, and for a time while at least two fail: they recover one by one. What is left after that
    has alerts of its own.
    """
    count = _gateways(scope, failing)
    outside = _gateways(scope, f"{failing} unless on ({e.IDENTITY}) {window}")
    shares = ((outside, states.known(scope, window)), (count, states.known(scope)))
    share = "\n  or ".join(f"{part}\n  >= on ({scope}) ({t.FLEET_SHARE.value} * {whole})" for part, whole in shares)
    recent = f'time() - ALERTS_FOR_STATE{{alertname="{alert}"}} < {t.FLEET_RECOVERS.value}'
    lasting = f"{_firing(alert)} and on ({scope}) (({share})\n  or on ({scope}) ({recent}))"
    begins = f"({share}) and on ({scope}) {due}" if due else share
    return f"{count}\nand on ({scope}) (({begins})\n  or on ({scope}) ({lasting}))"


def _firing(alert: str) -> str:
    return f'ALERTS{{alertname="{alert}", alertstate="firing"}}'


def _failing(row: OnFleet) -> str:
    """The targets that fail and are to be counted, with the label `gateway`.

    What no window excuses on a single gateway none excuses here. One that pages by itself since before its window opened
    is counted, and so is every one while the fleet is paged about: they fail, whatever is expected.
    """
    parts = []
    for excused in (True, False):
        rows = [each for each in VERDICTS if each.verdict in row.verdicts and bool(each.expected_in) is excused]
        if not rows:
            continue
        part = f"{e.is_now(*(each.verdict for each in rows))}\n  * on ({e.IDENTITY}) group_left (gateway, host) ({labels_of(row)} >= bool 0)"
        if excused:
            single = "|".join(each.name for each in rows)
            part += (
                f"\n  unless on ({e.IDENTITY}) (\n    ({rows[0].expected_in})\n"
                f'    unless on ({e.IDENTITY}) ALERTS{{alertname=~"{single}", alertstate="firing"}}\n'
                f"    unless on ({e.IDENTITY}) ({e.FLEET_INFO} and on ({row.scope}) {_firing(row.name)})\n  )"
            )
        parts.append(part)
    return "\n  or ".join(f"({part})" for part in parts) if len(parts) > 1 else parts[0]


def labels_of(row: OnFleet) -> str:
    """The recorded series that has the labels of the failing targets."""
    return e.SILENT if row.verdicts == (Verdict.API_SILENT,) else e.INFO


def _gateways(scope: str, expr: str) -> str:
    """How many gateways the series of an expression are about, by scope, where it is two or more.

    One that two targets see is one.
    """
    return f"(count by ({scope}) (count by ({scope}, gateway) (\n  {expr}\n)) >= {t.FLEET.value})"


def _due(row: OnFleet) -> str:
    """A single gateway's page is due: at once for silence that is no pause, or one evaluation before its wait is over."""
    if row.verdicts == (Verdict.API_SILENT,):
        return f"count by ({row.scope}) (\n  {row.failing}{unless_short()}\n)"
    parts = []
    for each in VERDICTS:
        if each.verdict in row.verdicts:
            pending = f'ALERTS{{alertname="{each.name}", alertstate="pending"}}'
            age = f'time() - ALERTS_FOR_STATE{{alertname="{each.name}"}}'
            wait = t.seconds(each.wait) - 2 * t.seconds(t.PAGES_INTERVAL)
            parts.append(f"({age} > {wait:g} and on ({e.IDENTITY}) {pending})")
    pending = "\n  or ".join(parts)
    return f"count by ({row.scope}) (\n  {row.failing}\n  and on ({e.IDENTITY}) ({pending})\n)"
