"""One alert for each verdict but healthy, as a table. The words are those of the exporter's own table of actions.

A row says how long the verdict must last, how bad it is, at which layer (for Alertmanager's inhibition), which maintenance
windows explain it, and what to do in a few words. The label `layer`, from the outside in:

    exporter > network > port > handshake > session > upstream > client > quality
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.rules import alert as a
from deploy.rules import expressions as e
from deploy.rules import thresholds as t
from deploy.rules.alert import Alert
from deploy.rules.thresholds import Threshold
from exporter.model import Verdict
from exporter.verdict.actions import REMEDIES

# The fields of the actions' texts as an alert knows them. Client ids and accounts are no labels: ids are no concern of a
# pager, and an account number must not travel through one.
FIELDS: Mapping[str, str] = {
    "endpoint": "{{ $labels.host }}:{{ $labels.port }}",
    "host": "{{ $labels.host }}",
    "port": "{{ $labels.port }}",
    "mode": "{{ $labels.mode }}",
    "name": "{{ $labels.target }}",
    "ids": "(this target's client_ids)",
    "account": "the configured account",
}

# What a template asks Prometheus for when it writes the text: labels cannot say it, for they would be another alert.
# Only the target is a matcher: to intersect it with job and instance costs twenty times as much.
OF_TARGET = (
    "{{ range query (printf %s $labels.target) }}{{ if eq .Labels.instance $labels.instance }} %s.{{ end }}{{ end }}"
)
FAILING_CLIENTS = OF_TARGET % (
    f'"{e.FAILING_CLIENT}{{target=%q}}"',
    "Failing: {{ .Labels.client }} ({{ .Labels.library }} {{ .Labels.version }})",
)
DOWN_FARMS = OF_TARGET % (
    '"ibkr_farm_connected{target=%q} == 0"',
    "Disconnected: {{ .Labels.kind }} {{ .Labels.farm }}",
)
SUSPENDED_CLIENTS = OF_TARGET % (
    '"ibkr_client_info and on (job, instance, client) (ibkr_client_suspended{target=%q} == 1)"',
    "Kept away: {{ .Labels.client }} ({{ .Labels.library }} {{ .Labels.version }})",
)
DETAILS: Mapping[Verdict, str] = {
    Verdict.CLIENT_BREAKS_GATEWAY: SUSPENDED_CLIENTS,
    Verdict.CLIENT_FAULT: FAILING_CLIENTS,
    Verdict.CONTRACT_DETAILS_STALLED: FAILING_CLIENTS,
    Verdict.CLIENTS_FAILING: FAILING_CLIENTS,
    Verdict.FARM_DOWN: DOWN_FARMS,
}
STALE_ACTIONS = (
    "Treat the gateway as not watched: nothing is known of it now.",
    "Read the exporter's log and its page: is a probe stuck, or the machine starved of processor time?",
    "Restart the exporter if its other targets are stale too.",
)
UNREACHED = (Verdict.NAME_UNRESOLVED, Verdict.UNREACHABLE, Verdict.PORT_CLOSED, Verdict.CLOSED_BEFORE_HANDSHAKE)
HANDSHAKES = (Verdict.NOT_TWS_API, Verdict.SERVER_REDIRECT, Verdict.SERVER_TOO_OLD)
SESSIONS = (Verdict.SESSION_REFUSED, Verdict.SESSION_SILENT, Verdict.SESSION_STALLED, Verdict.ACCOUNT_MISSING)
LIBRARIES = (Verdict.CONTRACT_DETAILS_STALLED, Verdict.CLIENTS_FAILING)


def _fleets(everywhere: str, on_host: str = "") -> tuple[e.Fleet, ...]:
    return (e.Fleet(everywhere, "job"), *([e.Fleet(on_host, "job, host")] if on_host else []))


# The alerts about many gateways that stand for those about each (deploy.rules.fleets).
FLEETS_OF: Mapping[tuple[Verdict, ...], tuple[e.Fleet, ...]] = {
    (Verdict.API_SILENT,): _fleets("IbkrApiSilentEverywhere", "IbkrApiSilentOnHost"),
    UNREACHED: _fleets("IbkrUnreachableEverywhere", "IbkrHostDown"),
    (Verdict.UPSTREAM_DOWN,): _fleets("IbkrUpstreamLostEverywhere", "IbkrUpstreamLostOnHost"),
    (Verdict.NEW_CONNECTIONS_SILENT,): _fleets("IbkrNewConnectionsSilentEverywhere", "IbkrNewConnectionsSilentOnHost"),
    HANDSHAKES: _fleets("IbkrHandshakesWrongEverywhere", "IbkrHandshakesWrongOnHost"),
    SESSIONS: _fleets("IbkrSessionsFailingEverywhere", "IbkrSessionsFailingOnHost"),
    (Verdict.CLIENT_BREAKS_GATEWAY,): _fleets("IbkrLibraryBreaksGatewaysEverywhere"),
    LIBRARIES: _fleets("IbkrLibrariesFailingEverywhere"),
}
FLEET_OF = {verdict: fleets for verdicts, fleets in FLEETS_OF.items() for verdict in verdicts}
# The layers at which nothing answers: the last handshake that worked says since when.
UNANSWERED = frozenset({"network", "port", "handshake"})
LAST_HANDSHAKE = (
    "{{ if $value }} The last handshake that worked was at " + a.MOMENT + "."
    "{{ else }} No handshake has worked since the exporter started.{{ end }}"
)
BEGAN = "{{ if $value }} Since " + a.MOMENT + ".{{ end }}"


@dataclass(frozen=True, slots=True)
class OnVerdict:
    """A rule that fires while a target has this verdict, unless a maintenance window explains it."""

    name: str
    verdict: Verdict
    summary: str
    action: str
    wait: Threshold
    severity: str
    layer: str
    expected_in: str = ""
    keep_firing: Threshold | None = t.KEEP_FIRING
    dashboard: str = a.GATEWAY_BOARD


# fmt: off
VERDICTS: tuple[OnVerdict, ...] = (
    OnVerdict("IbkrNameUnresolved", Verdict.NAME_UNRESOLVED, "The gateway's host name does not resolve",
              "Correct the host, or mend the name server.", t.NETWORK, "critical", "network"),
    OnVerdict("IbkrLibraryBreaksGateway", Verdict.CLIENT_BREAKS_GATEWAY,
              "A client library makes the gateway stop answering", "Keep that library away.",
              t.SETTLED, "critical", "handshake", dashboard=a.LIBRARIES_BOARD),
    OnVerdict("IbkrUnreachable", Verdict.UNREACHABLE, "The gateway does not answer the TCP connect",
              "See that its host is up and reachable.", t.NETWORK, "critical", "network"),
    OnVerdict("IbkrPortClosed", Verdict.PORT_CLOSED, "Nothing listens on the gateway's API port",
              "Start the gateway and log in.", t.STARTING, "critical", "port", e.RESTART_WINDOW),
    OnVerdict("IbkrClosedBeforeHandshake", Verdict.CLOSED_BEFORE_HANDSHAKE,
              "The gateway closes connections unanswered: a relay without a gateway, or an untrusted address",
              "Look at the gateway behind the relay.", t.STARTING, "critical", "port", e.RESTART_WINDOW),
    OnVerdict("IbkrNewConnectionsSilent", Verdict.NEW_CONNECTIONS_SILENT,
              "The gateway leaves new connections unanswered, while sessions that exist may still work",
              "Do not restart it now.", t.SETTLED, "critical", "handshake", e.RESTART_WINDOW),
    OnVerdict("IbkrHandshakeTimeout", Verdict.API_SILENT, "The API does not answer the handshake",
              "Answer a dialog; else toggle its API port.", t.AT_ONCE, "critical", "handshake",
              f"{e.RESTART_WINDOW} or {e.STARTING}"),
    OnVerdict("IbkrNotTheApi", Verdict.NOT_TWS_API, "Something else than the TWS API answers on the port",
              "Compare the port with the API settings.", t.SETTLED, "critical", "handshake"),
    OnVerdict("IbkrServerRedirect", Verdict.SERVER_REDIRECT, "The gateway sends API clients elsewhere",
              "Point the target at the other address.", t.SETTLED, "critical", "handshake"),
    OnVerdict("IbkrServerTooOld", Verdict.SERVER_TOO_OLD, "The gateway speaks too old a version of the API",
              "Upgrade TWS or IB Gateway.", t.SETTLED, "critical", "handshake"),
    OnVerdict("IbkrClientIdConflict", Verdict.CLIENT_ID_IN_USE, "Every client id reserved for the probes is in use",
              "Find who else uses the probes' client ids.", t.ID_LEFT_BEHIND, "warning", "session"),
    OnVerdict("IbkrSessionRefused", Verdict.SESSION_REFUSED, "The gateway refuses the session",
              "Too many clients? Else soft restart it.", t.SETTLED, "critical", "session", e.RESTART_WINDOW),
    OnVerdict("IbkrSessionSilent", Verdict.SESSION_SILENT, "The gateway never begins the session",
              "See that it is logged in; else soft restart it.", t.SETTLED, "critical", "session", e.RESTART_WINDOW),
    OnVerdict("IbkrSessionStalled", Verdict.SESSION_STALLED, "The gateway answers no request within the session",
              "Answer a dialog; else soft restart it.", t.SETTLED, "critical", "session", e.RESTART_WINDOW),
    OnVerdict("IbkrAccountMissing", Verdict.ACCOUNT_MISSING, "The gateway does not manage the configured account",
              "Log in as the right user.", t.SETTLED, "critical", "session"),
    OnVerdict("IbkrUpstreamLost", Verdict.UPSTREAM_DOWN, "The gateway has lost IBKR's servers",
              "Look at its internet link and IBKR's status.", t.UPSTREAM, "critical", "upstream", e.ANY_WINDOW),
    OnVerdict("IbkrDownloadStalled", Verdict.DOWNLOAD_STALLED,
              "The account download stalls: programs that connect now hang", "Leave working sessions alone; see the cure.",
              t.DOWNLOADS, "warning", "client", e.RESTART_WINDOW),
    OnVerdict("IbkrContractDetailsStalled", Verdict.CONTRACT_DETAILS_STALLED,
              "The gateway answers no request for contract details", "Soft restart it: no second factor is asked.",
              t.TWO_CLIENT_PROBES, "critical", "client", e.RESTART_WINDOW, dashboard=a.LIBRARIES_BOARD),
    OnVerdict("IbkrAllLibrariesFailing", Verdict.CLIENTS_FAILING,
              "Every client library fails although the gateway answers", "Compare where the libraries stop.",
              t.TWO_CLIENT_PROBES, "critical", "client", e.RESTART_WINDOW, dashboard=a.LIBRARIES_BOARD),
    OnVerdict("IbkrLibraryFailing", Verdict.CLIENT_FAULT,
              "A client library fails although the gateway and others work", "Use another version of the library.",
              t.THREE_CLIENT_PROBES, "warning", "client", e.RESTART_WINDOW, dashboard=a.LIBRARIES_BOARD),
    OnVerdict("IbkrFarmDown", Verdict.FARM_DOWN, "A data farm of the gateway is disconnected",
              "Wait; if it lasts, soft restart the gateway.", t.FARM, "warning", "quality", e.ANY_WINDOW),
    OnVerdict("IbkrSlow", Verdict.SLOW, "The gateway answers slower than its limit",
              "Look at its load, memory and Java heap.", t.SLOW, "warning", "quality", e.ANY_WINDOW),
    OnVerdict("IbkrProbeBroken", Verdict.PROBE_BROKEN, "The exporter could not carry out its probe",
              "Read the exporter's log.", t.SETTLED, "warning", "exporter", keep_firing=None, dashboard=a.FLEET_BOARD),
    OnVerdict("IbkrProbeStale", Verdict.UNKNOWN, "A gateway has not been probed for three intervals",
              "Look at the exporter: nothing is known.", t.STALE, "critical", "exporter", keep_firing=None,
              dashboard=a.FLEET_BOARD),
)
# fmt: on


def verdict_alerts() -> tuple[Alert, ...]:
    """The rules of the table."""
    return tuple(_alert(row) for row in VERDICTS)


def _alert(row: OnVerdict) -> Alert:
    unanswered = row.layer in UNANSWERED
    return Alert(
        name=row.name,
        summary=row.summary,
        action=row.action,
        expr=_expr(row),
        wait=row.wait,
        severity=row.severity,
        layer=row.layer,
        description=_description(row.verdict, LAST_HANDSHAKE if unanswered else BEGAN),
        runbook=str(row.verdict),
        dashboard=row.dashboard,
        since=a.SINCE,
        page=a.TARGET_PAGE,
        keep_firing=row.keep_firing,
    )


def _expr(row: OnVerdict) -> str:
    silent = row.verdict is Verdict.API_SILENT
    info = e.SILENT if silent else e.INFO
    worked = e.SILENT if silent else e.WORKED
    expr = e.with_labels(e.is_now(row.verdict), worked if row.layer in UNANSWERED else e.BEGAN)
    if silent:
        # Not before the number of gateways is known: right after Prometheus' start a fleet would be as many pages.
        expr += unless_short() + f"\n  and on (job) {e.SILENCE_COUNTED}"
    fleets = FLEET_OF.get(row.verdict, ())
    if row.expected_in:
        expr += e.unless_expected(row.name, row.expected_in, fleets)
    if fleets:
        expr += e.unless_fleet(row.name, fleets)
    if row.severity == "critical":
        expr += e.unless_paged_elsewhere(info)
    return expr


def unless_short() -> str:
    """Leaves out the targets that have been silent for no longer than a pause may last, as far as was probed."""
    known = f"ibkr_api_silence_seconds <= {t.PAUSE.value}"
    before = f"last_over_time(ibkr_api_silence_seconds[{t.SHORT_SILENCE.value}]) <= {t.PAUSE.value}"
    return (
        f"\n  unless on ({e.IDENTITY}) ({known})\n"
        f"  unless on ({e.IDENTITY}) ({before} and on (job, instance) {e.UNSCRAPED})"
    )


def _description(verdict: Verdict, evidence: str) -> str:
    remedy = REMEDIES[verdict]
    actions = STALE_ACTIONS if verdict is Verdict.UNKNOWN else remedy.actions
    details = DETAILS.get(verdict, "")
    words = f"{a.ABOUT}: verdict {verdict}. {remedy.meaning.format_map(FIELDS)}{details}{evidence} "
    return words + a.steps(*(action.format_map(FIELDS) for action in actions))
