"""Alerts about many gateways that fail together: one page for the fleet, or for all behind one address.

Each fires in the evaluation before the first page of a single gateway, or in the same one and before it, if by then half of
the gateways fail. The alerts about single gateways then do not begin. It stays while half of them fail, for half an hour after
that while at least two fail, and then longer than the single alerts are kept, so that nothing new is sent while they recover
one by one. What is left by then has pages of its own, and so has what did not fail while half of them did.
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
    return tuple(
        each for row in FLEETS for each in recordings(row.fleet, _failing(row), _window(row), e.is_now(*row.verdicts))
    )


def recordings(fleet: e.Fleet, failing: str, window: str, is_now: str) -> tuple[Recording, ...]:
    """What is recorded for an alert about many gateways: `is_now` has the targets that still fail so."""
    firing = e.firing(fleet.alert)
    count = _gateways(fleet.scope, fleet.failing)
    outside = _gateways(fleet.scope, f"{fleet.failing} unless on ({e.IDENTITY}) {window}")
    shares = ((outside, states.known(fleet.scope, window)), (count, states.known(fleet.scope)))
    return (
        Recording(fleet.failing, f"the targets that {fleet.alert} counts", failing),
        Recording(
            fleet.share,
            f"how many gateways {fleet.alert} counts, where that is half of them",
            "\n  or ".join(
                f"{part}\n  >= on ({fleet.scope}) ({t.FLEET_SHARE.value} * {whole})" for part, whole in shares
            ),
        ),
        Recording(
            fleet.member,
            f"the targets that failed while {fleet.alert} fired for half of them; until it ends, and as long as they fail",
            f"({fleet.failing} unless on ({e.IDENTITY}) {window})\n  and on ({fleet.scope}) ({firing} and on ({fleet.scope}) {fleet.share})\n"
            f"  or on ({e.IDENTITY}) ({fleet.member} and on ({fleet.scope}) {firing})\n"
            f"  or on ({e.IDENTITY}) ({fleet.member} and on ({e.IDENTITY}) {is_now})",
        ),
    )


def _alert(row: OnFleet) -> Alert:
    of, named = ("job=%q", "$labels.job") if row.scope == "job" else ("job=%q,host=%q", "$labels.job $labels.host")
    listing = (
        f'{{{{ range query (printf "{row.fleet.failing}{{{of}}}" {named}) }}}}{{{{ .Labels.target }}}}, {{{{ end }}}}'
    )
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
    due = _due(row)
    for whole in _wholes(row):  # while all behind the address are of it
        due += f" unless on (job) ({e.firing(whole.alert)} and on (job) {whole.share})"
    return while_share(row.fleet, due)


def _wholes(row: OnFleet) -> tuple[e.Fleet, ...]:
    """For an alert about one address: the one about all gateways that fail so."""
    return tuple(
        other.fleet for other in FLEETS if other.verdicts == row.verdicts and other.scope == "job" != row.scope
    )


def while_share(fleet: e.Fleet, due: str = "") -> str:
    """The count of failing gateways where it is a share and a single page is due (by default at once), and while it lasts.

    It lasts while it is a share, and for a time afterwards while at least two fail: they recover one by one. What is left
    after that has alerts of its own.
    """
    begins = f"{fleet.share} and on ({fleet.scope}) ({due})" if due else fleet.share
    recent = f"last_over_time({fleet.share}[{t.FLEET_RECOVERS.value}])"
    lasts = f"{e.firing(fleet.alert)} and on ({fleet.scope}) {recent}"
    return (
        f"{_gateways(fleet.scope, fleet.failing)}\nand on ({fleet.scope}) ({begins}\n  or on ({fleet.scope}) ({lasts}))"
    )


def _window(row: OnFleet) -> str:
    """The window that excuses these failures, and leaves gateways out of the whole."""
    excuses = {each.expected_in for each in VERDICTS if each.verdict in row.verdicts}
    return e.ANY_WINDOW if e.ANY_WINDOW in excuses else e.RESTART_WINDOW


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
                f"    unless on ({e.IDENTITY}) ({e.FLEET_INFO} and on ({row.scope}) {e.firing(row.name)})\n  )"
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
        members = "".join(f"\n  unless on ({e.IDENTITY}) {whole.member}" for whole in _wholes(row))
        return f"count by ({row.scope}) (\n  {row.fleet.failing}{unless_short()}{members}\n)"
    parts = []
    for each in VERDICTS:
        if each.verdict in row.verdicts:
            pending = f'ALERTS{{alertname="{each.name}", alertstate="pending"}}'
            age = f'time() - ALERTS_FOR_STATE{{alertname="{each.name}"}}'
            wait = t.seconds(each.wait) - 2 * t.seconds(t.PAGES_INTERVAL)
            parts.append(f"({age} > {wait:g} and on ({e.IDENTITY}) {pending})")
    pending = "\n  or ".join(parts)
    return f"count by ({row.scope}) (\n  {row.fleet.failing}\n  and on ({e.IDENTITY}) ({pending})\n)"
