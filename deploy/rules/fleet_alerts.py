"""Alerts about many gateways that fail together: one page for the fleet, or for all behind one address.

Each fires in the evaluation before the first page of a single gateway, or in the same one and before it, if by then half of
the gateways fail. The alerts about single gateways then do not begin, and Alertmanager silences those that had begun
(inhibit_rules). It stays while half of them fail, for half an hour while at least two fail, and then longer than the single
alerts are kept, so that nothing new is sent while they recover one by one. What is left by then has pages of its own.
"""

from dataclasses import dataclass

from deploy.rules import alert as a
from deploy.rules import expressions as e
from deploy.rules import states
from deploy.rules import thresholds as t
from deploy.rules.alert import Alert
from deploy.rules.verdict_alerts import HANDSHAKES, LIBRARIES, SESSIONS, UNREACHED, VERDICTS, unless_short
from exporter.model import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFleet:
    """A rule that fires while half of the gateways of a scope have one of these verdicts."""

    name: str
    scope: str  # the labels that the gateways share
    verdicts: tuple[Verdict, ...]
    excused: str
    summary: str
    action: str
    words: str
    steps: tuple[str, ...]
    layer: str
    runbook: str


SHARED = "Look for what they share: the machine, its memory, an automatic upgrade, an expired login."
ROUTE = "See that the host is up and reachable from the exporter: ping, route, VPN, the relay's process."
STARTING_OR_RESTART = f"{e.RESTART_WINDOW} or {e.STARTING}"

FLEETS: tuple[OnFleet, ...] = (
    OnFleet(
        name="IbkrApiSilentEverywhere",
        scope="job",
        verdicts=(Verdict.API_SILENT,),
        excused=STARTING_OR_RESTART,
        summary="The API is silent on half of the gateways",
        action="Look for what they share, not at one gateway.",
        words="a common cause is likelier than {{ $value }} frozen gateways",
        steps=(
            SHARED,
            "See that this exporter's address is still trusted by them: from another machine run ibkr-exporter diagnose HOST:PORT.",
            "Then go through the runbook for one of them.",
        ),
        layer="handshake",
        runbook="api_silent",
    ),
    OnFleet(
        name="IbkrApiSilentOnHost",
        scope="job, host",
        verdicts=(Verdict.API_SILENT,),
        excused=STARTING_OR_RESTART,
        summary="Half of those at one address are silent",
        action="Look at that host.",
        words="they share the address {{ $labels.host }}",
        steps=(
            "Look at the load, memory and disk of the host {{ $labels.host }}, and at a relay or VPN before it.",
            "Then go through the runbook for one of them.",
        ),
        layer="handshake",
        runbook="api_silent",
    ),
    OnFleet(
        name="IbkrUnreachableEverywhere",
        scope="job",
        verdicts=UNREACHED,
        excused=e.RESTART_WINDOW,
        summary="Half of the gateways cannot be reached",
        action="Look at the network of the exporter first.",
        words="the exporter's own network, or what they share, is likelier than {{ $value }} faults at once",
        steps=(
            "See that the exporter's machine reaches anything at all: name server, route, VPN.",
            SHARED,
            "Then go through the runbook for one of them.",
        ),
        layer="network",
        runbook="unreachable",
    ),
    OnFleet(
        name="IbkrHostDown",
        scope="job, host",
        verdicts=UNREACHED,
        excused=e.RESTART_WINDOW,
        summary="Half of those at one address are unreachable",
        action="Look at that host.",
        words="they share the address {{ $labels.host }}",
        steps=(ROUTE, "See that the gateways were started again after a restart of the host."),
        layer="network",
        runbook="host_down",
    ),
    OnFleet(
        name="IbkrUpstreamLostEverywhere",
        scope="job",
        verdicts=(Verdict.UPSTREAM_DOWN,),
        excused=e.ANY_WINDOW,
        summary="Half of the gateways have lost IBKR's servers",
        action="Look at IBKR's status and the internet link.",
        words="the internet link that they share, or IBKR itself, is likelier than {{ $value }} faults at once",
        steps=(
            "Look at IBKR's system status page.",
            "Look at the internet link of the gateways' machines: does it reach anything?",
            "When it is back they come back by themselves; soft restart those that do not (File > Restart).",
        ),
        layer="upstream",
        runbook="upstream_down",
    ),
    OnFleet(
        name="IbkrNewConnectionsSilentEverywhere",
        scope="job",
        verdicts=(Verdict.NEW_CONNECTIONS_SILENT,),
        excused=e.RESTART_WINDOW,
        summary="Half of the gateways answer no new connection",
        action="Do not restart them now.",
        words="sessions that exist may still work, and a common cause is likelier than {{ $value }} frozen gateways",
        steps=(SHARED, "Then go through the runbook for one of them, before anything is restarted."),
        layer="handshake",
        runbook="new_connections_silent",
    ),
    OnFleet(
        name="IbkrHandshakesWrongEverywhere",
        scope="job",
        verdicts=HANDSHAKES,
        excused=e.RESTART_WINDOW,
        summary="Half of the gateways fail in the handshake",
        action="Look at what lies before them.",
        words="a relay that leads elsewhere, or an upgrade of all, is likelier than {{ $value }} faults at once",
        steps=(
            "Look at what lies before them: a relay, a load balancer or a name that now leads to something else.",
            SHARED,
            "Then go through the runbook for one of them.",
        ),
        layer="handshake",
        runbook="not_tws_api",
    ),
    OnFleet(
        name="IbkrHandshakesWrongOnHost",
        scope="job, host",
        verdicts=HANDSHAKES,
        excused=e.RESTART_WINDOW,
        summary="Half of its gateways fail in the handshake",
        action="See what it leads to now.",
        words="they share the address {{ $labels.host }}",
        steps=(
            "See what answers at {{ $labels.host }}: a relay or a load balancer that now leads to something else?",
            "Then go through the runbook for one of them.",
        ),
        layer="handshake",
        runbook="not_tws_api",
    ),
    OnFleet(
        name="IbkrSessionsFailingEverywhere",
        scope="job",
        verdicts=SESSIONS,
        excused=e.RESTART_WINDOW,
        summary="Half of the gateways have no usable session",
        action="Look at their logins and IBKR's status.",
        words="a common cause, such as logins that IBKR ended, is likelier than {{ $value }} faults at once",
        steps=(
            "See whether they are logged in: the weekly login, or another session of the same users, ends many at once.",
            "Look at IBKR's system status page.",
            SHARED,
            "Then go through the runbook for one of them.",
        ),
        layer="session",
        runbook="session_silent",
    ),
    OnFleet(
        name="IbkrSessionsFailingOnHost",
        scope="job, host",
        verdicts=SESSIONS,
        excused=e.RESTART_WINDOW,
        summary="Half of its gateways have no usable session",
        action="Look at that host.",
        words="they share the address {{ $labels.host }}",
        steps=(
            "Look at the load, memory and disk of the host {{ $labels.host }}.",
            "Then go through the runbook for one of them.",
        ),
        layer="session",
        runbook="session_silent",
    ),
    OnFleet(
        name="IbkrLibraryBreaksGatewaysEverywhere",
        scope="job",
        verdicts=(Verdict.CLIENT_BREAKS_GATEWAY,),
        excused=e.RESTART_WINDOW,
        summary="Libraries make half of the gateways stop answering",
        action="Keep that library away from them.",
        words="a library that all of them are tried with is likelier than {{ $value }} faulty gateways",
        steps=(
            "See on the exporter's page which library it is, and keep your programs from connecting with it.",
            "Then go through the runbook for one of them.",
        ),
        layer="handshake",
        runbook="client_breaks_gateway",
    ),
    OnFleet(
        name="IbkrLibrariesFailingEverywhere",
        scope="job",
        verdicts=LIBRARIES,
        excused=e.RESTART_WINDOW,
        summary="The client libraries fail on half of the gateways",
        action="Look at the exporter's libraries first.",
        words="the libraries' environments, or what they all ask for, are likelier than {{ $value }} faulty gateways",
        steps=(
            "On the exporter's machine: ibkr-exporter clients check. Was a library, or Python, upgraded there?",
            "Compare the stages at which they stop, in the evidence of one of the gateways.",
            "Then go through the runbook for one of them.",
        ),
        layer="client",
        runbook="clients_failing",
    ),
)


def fleet_alerts() -> tuple[Alert, ...]:
    """The rules of the table."""
    return tuple(_alert(row) for row in FLEETS)


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
    """The count of failing gateways where it is a share and a single page is due, and then while it lasts.

    It lasts while it is a share, and for a time while at least two fail: they recover one by one. What is left after that
    has alerts of its own.
    """
    window = e.ANY_WINDOW if row.excused == e.ANY_WINDOW else e.RESTART_WINDOW
    failing = _failing(row)
    count = _gateways(row.scope, failing)
    outside = _gateways(row.scope, f"({failing})\n  unless on ({e.IDENTITY}) {window}")
    shares = ((outside, states.known(row.scope, window)), (count, states.known(row.scope)))
    share = "\n  or ".join(f"{part}\n  >= on ({row.scope}) ({t.FLEET_SHARE.value} * {whole})" for part, whole in shares)
    named = f'{{alertname="{row.name}"}}'
    recent = f"time() - ALERTS_FOR_STATE{named} < {t.FLEET_RECOVERS.value}"
    lasting = f"{_firing(row)} and on ({row.scope}) (({share})\n  or on ({row.scope}) ({recent}))"
    return f"{count}\nand on ({row.scope}) ((({share}) and on ({row.scope}) {_due(row, failing)})\n  or on ({row.scope}) ({lasting}))"


def _firing(row: OnFleet) -> str:
    return f'ALERTS{{alertname="{row.name}", alertstate="firing"}}'


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
                f"\n  unless on ({e.IDENTITY}) (\n    ({row.excused})\n"
                f'    unless on ({e.IDENTITY}) ALERTS{{alertname=~"{single}", alertstate="firing"}}\n'
                f"    unless on ({e.IDENTITY}) ({e.FLEET_INFO} and on ({row.scope}) {_firing(row)})\n  )"
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


def _due(row: OnFleet, failing: str) -> str:
    """A single gateway's page is due: at once for silence that is no pause, or one evaluation before its wait is over."""
    if row.verdicts == (Verdict.API_SILENT,):
        return f"count by ({row.scope}) (\n  {failing}{unless_short()}\n)"
    parts = []
    for each in VERDICTS:
        if each.verdict in row.verdicts:
            pending = f'ALERTS{{alertname="{each.name}", alertstate="pending"}}'
            age = f'time() - ALERTS_FOR_STATE{{alertname="{each.name}"}}'
            wait = t.seconds(each.wait) - 2 * t.seconds(t.PAGES_INTERVAL)
            parts.append(f"({age} > {wait:g} and on ({e.IDENTITY}) {pending})")
    pending = "\n  or ".join(parts)
    return f"count by ({row.scope}) (\n  ({failing})\n  and on ({e.IDENTITY}) ({pending})\n)"
