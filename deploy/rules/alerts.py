"""The alert rules as a table. Verdict alerts take their words from the exporter's own table of remedies.

One row says which verdict, for how long, how bad, on which rung of the ladder (for Alertmanager's inhibition) and which
maintenance windows explain it. The rung is the label `layer`:

    exporter > network > port > handshake > session > upstream > client > quality
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.rules import thresholds as t
from deploy.rules.thresholds import Threshold
from exporter.model import Verdict
from exporter.verdict.actions import REMEDIES

IDENTITY = "job, instance, target"
EXPORTER_URL = '{{ or $externalLabels.exporter_url "http://127.0.0.1:9497" }}'
GRAFANA_URL = '{{ or $externalLabels.grafana_url "http://127.0.0.1:3000" }}'

# The fields of exporter.remedy's texts as an alert knows them. Client ids and accounts are no labels: ids are no
# concern of a pager, and an account number must not travel through one.
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
MINE = "{job=%q,instance=%q,target=%q}"
NAMED = '" $labels.job $labels.instance $labels.target) }}'
FAILING_CLIENTS = (
    '{{ range $i, $it := query (printf "ibkr_client_info and on (job, instance, client) (ibkr_client_success'
    + MINE
    + " == 0)"
    + NAMED
    + "{{ if $i }}, {{ end }}{{ $it.Labels.client }} ({{ $it.Labels.library }} {{ $it.Labels.version }}){{ end }}."
)
DOWN_FARMS = (
    '{{ range $i, $it := query (printf "ibkr_farm_connected'
    + MINE
    + " == 0"
    + NAMED
    + "{{ if $i }}, {{ end }}{{ $it.Labels.kind }} {{ $it.Labels.farm }}{{ end }}."
)
DETAILS: Mapping[Verdict, str] = {
    Verdict.CLIENT_FAULT: f" Failing: {FAILING_CLIENTS}",
    Verdict.CLIENTS_FAILING: f" Failing: {FAILING_CLIENTS}",
    Verdict.FARM_DOWN: f" Disconnected: {DOWN_FARMS}",
}


def latest(selector: str) -> str:
    """The series as they last were: a scrape that failed marks them all as gone, which is no news of any gateway."""
    return f"last_over_time({selector}[{t.GAP.value}])"


NEVER = ""
RESTART_WINDOW = latest('ibkr_maintenance_window{window="restart"}') + " == 1"
# Not the weekly login: it does not end by itself, someone must log in.
ANY_WINDOW = latest('ibkr_maintenance_window{window!="weekly_login"}') + " == 1"
# One that was shut a moment ago is starting: it is silent for 30 to 90 s, and IbkrPortClosed waits for it too.
STARTING = f'max_over_time(ibkr_verdict{{verdict=~"port_closed|closed_before_handshake"}}[{t.STARTING.value}]) == 1'


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule, ready to be written."""

    name: str
    summary: str
    expr: str
    wait: Threshold
    severity: str
    layer: str
    description: str
    runbook: str
    dashboard: str
    keep_firing: Threshold | None = None


@dataclass(frozen=True, slots=True)
class OnVerdict:
    """A rule that fires while a target has this verdict, unless a maintenance window explains it."""

    name: str
    verdict: Verdict
    summary: str
    wait: Threshold
    severity: str
    layer: str
    expected_in: str = NEVER
    keep_firing: Threshold | None = t.KEEP_FIRING
    dashboard: str = "ibkr-gateway"


VERDICTS: tuple[OnVerdict, ...] = (
    OnVerdict(
        "IbkrNameUnresolved",
        Verdict.NAME_UNRESOLVED,
        "The gateway's host name does not resolve",
        t.NETWORK,
        "critical",
        "network",
    ),
    OnVerdict(
        "IbkrUnreachable",
        Verdict.UNREACHABLE,
        "The gateway does not answer the TCP connect",
        t.NETWORK,
        "critical",
        "network",
    ),
    OnVerdict(
        "IbkrPortClosed",
        Verdict.PORT_CLOSED,
        "Nothing listens on the gateway's API port",
        t.STARTING,
        "critical",
        "port",
        RESTART_WINDOW,
    ),
    OnVerdict(
        "IbkrClosedBeforeHandshake",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        "The gateway closes connections unanswered: a relay without a gateway, or an untrusted address",
        t.STARTING,
        "critical",
        "port",
        RESTART_WINDOW,
    ),
    OnVerdict(
        "IbkrHandshakeTimeout",
        Verdict.API_SILENT,
        "The API does not answer the handshake",
        t.AT_ONCE,
        "critical",
        "handshake",
        f"{RESTART_WINDOW} or {STARTING}",
    ),
    OnVerdict(
        "IbkrNotTheApi",
        Verdict.NOT_TWS_API,
        "Something else than the TWS API answers on the port",
        t.SETTLED,
        "critical",
        "handshake",
    ),
    OnVerdict(
        "IbkrServerRedirect",
        Verdict.SERVER_REDIRECT,
        "The gateway sends API clients elsewhere",
        t.SETTLED,
        "critical",
        "handshake",
    ),
    OnVerdict(
        "IbkrServerTooOld",
        Verdict.SERVER_TOO_OLD,
        "The gateway speaks too old a version of the API",
        t.SETTLED,
        "critical",
        "handshake",
    ),
    OnVerdict(
        "IbkrClientIdConflict",
        Verdict.CLIENT_ID_IN_USE,
        "Every client id reserved for the probes is in use",
        t.ID_LEFT_BEHIND,
        "warning",
        "session",
    ),
    OnVerdict(
        "IbkrSessionRefused",
        Verdict.SESSION_REFUSED,
        "The gateway refuses the session",
        t.SETTLED,
        "critical",
        "session",
        RESTART_WINDOW,
    ),
    OnVerdict(
        "IbkrSessionSilent",
        Verdict.SESSION_SILENT,
        "The gateway never begins the session",
        t.SETTLED,
        "critical",
        "session",
        RESTART_WINDOW,
    ),
    OnVerdict(
        "IbkrSessionStalled",
        Verdict.SESSION_STALLED,
        "The gateway answers no request within the session",
        t.SETTLED,
        "critical",
        "session",
        RESTART_WINDOW,
    ),
    OnVerdict(
        "IbkrAccountMissing",
        Verdict.ACCOUNT_MISSING,
        "The gateway does not manage the configured account",
        t.SETTLED,
        "critical",
        "session",
    ),
    OnVerdict(
        "IbkrUpstreamLost",
        Verdict.UPSTREAM_DOWN,
        "The gateway has lost IBKR's servers",
        t.UPSTREAM,
        "critical",
        "upstream",
        ANY_WINDOW,
    ),
    OnVerdict(
        "IbkrAllLibrariesFailing",
        Verdict.CLIENTS_FAILING,
        "Every client library fails although the gateway answers",
        t.TWO_CLIENT_PROBES,
        "critical",
        "client",
        RESTART_WINDOW,
        dashboard="ibkr-libraries",
    ),
    OnVerdict(
        "IbkrLibraryFailing",
        Verdict.CLIENT_FAULT,
        "A client library fails although the gateway and others work",
        t.THREE_CLIENT_PROBES,
        "warning",
        "client",
        RESTART_WINDOW,
        dashboard="ibkr-libraries",
    ),
    OnVerdict(
        "IbkrFarmDown",
        Verdict.FARM_DOWN,
        "A data farm of the gateway is disconnected",
        t.FARM,
        "warning",
        "quality",
        ANY_WINDOW,
    ),
    OnVerdict(
        "IbkrSlow", Verdict.SLOW, "The gateway answers slower than its limit", t.SLOW, "warning", "quality", ANY_WINDOW
    ),
    OnVerdict(
        "IbkrProbeBroken",
        Verdict.PROBE_BROKEN,
        "The exporter could not carry out its probe",
        t.SETTLED,
        "warning",
        "exporter",
        keep_firing=None,
        dashboard="ibkr-fleet",
    ),
    OnVerdict(
        "IbkrProbeStale",
        Verdict.UNKNOWN,
        "A gateway has not been probed for three intervals",
        t.STALE,
        "critical",
        "exporter",
        keep_firing=None,
        dashboard="ibkr-fleet",
    ),
)

ABOUT = "{{ $labels.target }} ({{ $labels.host }}:{{ $labels.port }}, {{ $labels.mode }})"
# The info as it is, or as it last was: both at once would be two for one target where a reload has just changed it.
INFO = (
    f"* on ({IDENTITY}) group_left (host, port, mode, region) "
    f"(ibkr_target_info or on ({IDENTITY}) {latest('ibkr_target_info')})"
)


def is_now(verdict: Verdict) -> str:
    """The targets that have this verdict."""
    series = latest(f'ibkr_verdict{{verdict="{verdict}"}}')
    return f"({series} == 1)"


def unless_expected(alert: str, expected_in: str) -> str:
    """Leaves out the targets whose failure is expected now, but for one on which this alert fires already.

    What began before a window is not explained by it: it must not resolve when the window opens and page again when it
    ends (docs/maintenance.md says the same of the exporter's own evidence).
    """
    return (
        f"\n  unless on ({IDENTITY}) (\n    ({expected_in})\n"
        f'    unless on ({IDENTITY}) ALERTS{{alertname="{alert}", alertstate="firing"}}\n  )'
    )


STALE_ACTIONS = (
    "Treat the gateway as not watched: nothing is known of it now.",
    "Read the exporter's log and its page: is a probe stuck, or the machine starved of processor time?",
    "Restart the exporter if its other targets are stale too.",
)

OTHERS: tuple[Alert, ...] = (
    Alert(
        "IbkrDown",
        "No trading program could connect for five minutes",
        f"({latest('ibkr_up')} == 0)\n  {INFO}" + unless_expected("IbkrDown", RESTART_WINDOW),
        t.DOWN,
        "critical",
        "client",
        f"{ABOUT}: it fails, and no one verdict has lasted long enough for an alert of its own: it comes up and falls "
        "over again, or one fault follows the other. What to do:\n"
        "1. Look at its dashboard: the verdicts over time, and whether the layers go up and down in turn.\n"
        "2. Look for what restarts the gateway: its controller, the container's restart policy, a login that fails "
        "again and again.\n"
        "3. Then take the runbook of the verdict that it has most of the time.",
        "gateway_down",
        "/d/ibkr-gateway?var-target={{ $labels.target }}",
        t.KEEP_DOWN,
    ),
    Alert(
        "IbkrApiSilentEverywhere",
        "The API is silent on every gateway that has an open port",
        f"count by (job, instance) (\n  {is_now(Verdict.API_SILENT)}"
        + unless_expected("IbkrHandshakeTimeout", f"{RESTART_WINDOW} or {STARTING}")
        + f"\n)\n  >= {t.SILENT_GATEWAYS.value}\n"
        f"  == on (job, instance) sum by (job, instance) ({latest('ibkr_port_open')})",
        t.AT_ONCE,
        "critical",
        "handshake",
        "Verdict api_silent on all {{ $value }} gateways with an open port, seen by {{ $labels.instance }}: "
        "a common cause is "
        "likelier than {{ $value }} frozen gateways. What to do:\n"
        "1. Look for what they share: the machine, its memory, an automatic upgrade, an expired login.\n"
        "2. See that this exporter's address is still trusted by them: from another machine run "
        "ibkr-exporter diagnose HOST:PORT.\n"
        "3. Then go through the runbook for one of them.",
        "api_silent",
        "/d/ibkr-fleet",
        t.KEEP_FIRING,
    ),
    Alert(
        "IbkrUpstreamOverdue",
        "The gateway has not come back to IBKR's servers",
        f"{is_now(Verdict.UPSTREAM_DOWN)}\n  {INFO}\n"
        f"  and on ({IDENTITY}) "
        f"(time() - {latest('ibkr_verdict_since_timestamp_seconds')} > {t.OVERDUE_SECONDS.value})"
        + unless_expected("IbkrUpstreamOverdue", ANY_WINDOW),
        t.OVERDUE,
        "critical",
        "upstream",
        f"{ABOUT}: verdict upstream_down for more than two hours, longer than any daily reset takes, and no "
        "maintenance window is "
        "open now. The gateway is stuck at its own login. What to do:\n"
        "1. Restart the gateway and log in, with two-factor approval if it asks.\n"
        "2. If it does not log in: another session of the same user may be open elsewhere, or the weekly "
        "re-login is due.\n"
        "3. Look at IBKR's system status page.",
        "upstream_down",
        "/d/ibkr-gateway?var-target={{ $labels.target }}",
        t.KEEP_FIRING,
    ),
    Alert(
        "IbkrClockOff",
        "The gateway's clock and the exporter's disagree",
        f"(abs({latest('ibkr_server_clock_offset_seconds')}) > {t.CLOCK_SECONDS.value})\n  {INFO}",
        t.CLOCK,
        "warning",
        "quality",
        f"{ABOUT}: the clocks are {{{{ $value | humanizeDuration }}}} apart. Orders with a time, and bars "
        "stamped by your "
        "program, are off by as much. What to do:\n"
        "1. See that NTP runs on the gateway's machine and on the exporter's.\n"
        "2. In a virtual machine that was suspended, set the clock once by hand, or restart the NTP service.",
        "clock_off",
        "/d/ibkr-gateway?var-target={{ $labels.target }}",
    ),
    Alert(
        "IbkrServerVersionChanged",
        "The gateway's API server version changed",
        f"({latest('ibkr_server_version')}\n"
        f"  != on ({IDENTITY}) target:ibkr_server_version:last offset {t.VERSION_WINDOW.value})\n  {INFO}",
        t.AT_ONCE,
        "info",
        "quality",
        f"{ABOUT}: it now answers with another server version: it was upgraded, or an older one was restored. "
        "What to do:\n"
        "1. Compare the client libraries on the Libraries dashboard: a new version may break an old library.\n"
        "2. If nobody upgraded it on purpose, turn automatic updates off: use the offline (stable) installer.",
        "server_version_changed",
        "/d/ibkr-gateway?var-target={{ $labels.target }}",
    ),
    Alert(
        "IbkrWeeklyLoginDue",
        "IBKR ends all logins on Sunday at 01:00 New York time: log in again by hand",
        f"count by (job, instance) ({latest('ibkr_target_info')}) and on () (ibkr:weekly_login_due == 1)",
        t.AT_ONCE,
        "info",
        "quality",
        "{{ $value }} gateways watched by {{ $labels.instance }} need a login with two-factor approval after "
        "Sunday 01:00 New York "
        "time; automatic restarts fail until then. What to do:\n"
        "1. Have the phone with IBKR Mobile at hand on Sunday, or plan the restart for when you have.\n"
        "2. Then look at the Fleet dashboard: every gateway healthy.",
        "weekly_login_due",
        "/d/ibkr-fleet",
    ),
    Alert(
        "IbkrClientUnusable",
        "A client library cannot be tried",
        f"{latest('ibkr_client_usable')} == 0",
        t.UNUSABLE,
        "warning",
        "exporter",
        "The interpreter of the client {{ $labels.client }} on {{ $labels.instance }} does not start, or its library "
        "cannot be imported: it tests nothing, and no gateway is blamed for that. What to do:\n"
        "1. ibkr-exporter clients check says why: no interpreter, no library, or distributions that overwrite each "
        "other.\n"
        "2. Where the exporter makes the environments: ibkr-exporter clients install. Where it is the bot's own: mend "
        "it there.",
        "client_unusable",
        "/d/ibkr-libraries",
    ),
    Alert(
        "IbkrExporterDown",
        "The exporter cannot be scraped: no gateway is watched",
        '(up{job="ibkr"} == 0) or absent(up{job="ibkr"})',
        t.EXPORTER,
        "critical",
        "exporter",
        "Prometheus gets no answer from the exporter at {{ $labels.instance }}: every gateway it watches is "
        "unwatched now. "
        "A target alert that resolved at this moment did not get well. What to do:\n"
        "1. docker compose ps exporter, and docker compose logs --tail 50 exporter: a wrong configuration is "
        "said there.\n"
        "2. Start it again; read its log if it stops again.",
        "exporter_down",
        "/d/ibkr-fleet",
    ),
    Alert(
        "IbkrConfigReloadFailed",
        "The exporter refused its changed configuration",
        f"{latest('ibkr_exporter_config_last_reload_successful')} == 0",
        t.RELOAD,
        "warning",
        "exporter",
        "The exporter at {{ $labels.instance }} still runs with its former configuration: the new one has "
        "errors. What to do:\n"
        "1. ibkr-exporter check-config FILE names every error with its line.\n"
        "2. Correct the file and reload: POST /-/reload, or SIGHUP.",
        "config_reload_failed",
        "/d/ibkr-fleet",
    ),
)


def alerts() -> tuple[Alert, ...]:
    """Every rule, in the order of the ladder."""
    return (*(_on_verdict(row) for row in VERDICTS), *OTHERS)


def _on_verdict(row: OnVerdict) -> Alert:
    expr = f"{is_now(row.verdict)}\n  {INFO}"
    if row.expected_in:
        expr += unless_expected(row.name, row.expected_in)
    target = "?var-target={{ $labels.target }}" if row.dashboard != "ibkr-fleet" else ""
    return Alert(
        row.name,
        row.summary,
        expr,
        row.wait,
        row.severity,
        row.layer,
        _description(row.verdict),
        str(row.verdict),
        f"/d/{row.dashboard}{target}",
        row.keep_firing,
    )


def _description(verdict: Verdict) -> str:
    remedy = REMEDIES[verdict]
    actions = STALE_ACTIONS if verdict is Verdict.UNKNOWN else remedy.actions
    steps = "\n".join(f"{number}. {_filled(action)}" for number, action in enumerate(actions, 1))
    details = DETAILS.get(verdict, "")
    return f"{ABOUT}: verdict {verdict}. {_filled(remedy.meaning)}{details} What to do:\n{steps}"


def _filled(text: str) -> str:
    return text.format_map(FIELDS)
