"""The metric catalogue: every name that `/metrics` can show, with its type, its labels and its meaning.

The reference in docs, the contract tests of rules and dashboards, and the exposition itself all read this table.
"""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """A Prometheus metric type."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One row: `help` is the HELP line. Units are base units, named by the suffix."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


UP = Metric("ibkr_up", Kind.GAUGE, ("target",), "1 if a trading program could connect now, 0 if it could not.")
TARGET_INFO = Metric(
    "ibkr_target_info", Kind.GAUGE, ("target", "host", "port", "mode"), "Always 1: where the target is, paper or live."
)
VERDICT = Metric("ibkr_verdict", Kind.GAUGE, ("target", "verdict"), "1 for the present verdict, 0 for every other.")
VERDICT_SINCE = Metric(
    "ibkr_verdict_since_timestamp_seconds", Kind.GAUGE, ("target",), "When the present verdict began, in unix time."
)
PORT_OPEN = Metric("ibkr_port_open", Kind.GAUGE, ("target",), "1 if the last TCP connect succeeded.")
CONNECT = Metric(
    "ibkr_port_connect_duration_seconds", Kind.HISTOGRAM, ("target",), "Duration of the TCP connects that succeeded."
)
HANDSHAKE_SUCCESS = Metric(
    "ibkr_handshake_success", Kind.GAUGE, ("target",), "1 if the API answered the last opening handshake."
)
HANDSHAKE = Metric(
    "ibkr_handshake_duration_seconds",
    Kind.HISTOGRAM,
    ("target",),
    "From the hello sent to the reply received, of the handshakes that succeeded.",
)
HANDSHAKE_LAST = Metric(
    "ibkr_handshake_last_duration_seconds", Kind.GAUGE, ("target",), "The duration of the last handshake."
)
SERVER_VERSION = Metric("ibkr_server_version", Kind.GAUGE, ("target",), "The negotiated API server version.")
SESSION_SUCCESS = Metric(
    "ibkr_session_success",
    Kind.GAUGE,
    ("target",),
    "1 if startApi gave nextValidId and managedAccounts, and a current time was answered.",
)
SESSION_STAGE = Metric(
    "ibkr_session_stage_duration_seconds",
    Kind.GAUGE,
    ("target", "stage"),
    "Stages of the last session: from startApi to what the stage names, and from reqCurrentTime to its answer.",
)
CLOCK_OFFSET = Metric(
    "ibkr_server_clock_offset_seconds",
    Kind.GAUGE,
    ("target",),
    "The gateway's clock minus ours, to half a second: the gateway tells whole ones.",
)
ACCOUNTS = Metric("ibkr_accounts", Kind.GAUGE, ("target",), "Number of managed accounts.")
ACCOUNT_PRESENT = Metric(
    "ibkr_account_present", Kind.GAUGE, ("target",), "1 if the configured account is among the managed ones."
)
UPSTREAM = Metric(
    "ibkr_upstream_connected",
    Kind.GAUGE,
    ("target",),
    "1 if the gateway has told that it has IBKR's servers, 0 if it has lost them.",
)
FARM = Metric(
    "ibkr_farm_connected",
    Kind.GAUGE,
    ("target", "kind", "farm"),
    "1 if the data farm is connected or idle, 0 if it is disconnected.",
)
CONFLICTS = Metric(
    "ibkr_client_id_conflicts_total", Kind.COUNTER, ("target",), "Client ids of ours refused with error 326."
)
WATCH_CONNECTED = Metric("ibkr_watch_connected", Kind.GAUGE, ("target",), "1 while the watch is in its session.")
CLIENT_SUCCESS = Metric(
    "ibkr_client_success",
    Kind.GAUGE,
    ("target", "client"),
    "1 if the client library connected and was answered, 0 if it failed; the verdict tells if it is at fault.",
)
CLIENT_LAST = Metric(
    "ibkr_client_last_duration_seconds",
    Kind.GAUGE,
    ("target", "client", "stage"),
    "Each stage of the last try, from the stage before it, measured inside the library's own process.",
)
CLIENT_TIMES = Metric(
    "ibkr_client_duration_seconds",
    Kind.HISTOGRAM,
    ("target", "client"),
    "The whole of the tries that succeeded, without the import.",
)
CLIENT_INFO = Metric(
    "ibkr_client_info",
    Kind.GAUGE,
    ("client", "library", "version", "python"),
    "Always 1: the library that a client is, and its Python.",
)
CLIENT_USABLE = Metric(
    "ibkr_client_usable", Kind.GAUGE, ("client",), "1 if the client's interpreter starts and the library imports."
)
PROBES = Metric("ibkr_probes_total", Kind.COUNTER, ("target", "layer", "client"), "Probes done.")
FAILURES = Metric(
    "ibkr_probe_failures_total",
    Kind.COUNTER,
    ("target", "layer", "client", "outcome"),
    "Probes that did not end with outcome ok.",
)
LAST_PROBE = Metric(
    "ibkr_last_probe_timestamp_seconds",
    Kind.GAUGE,
    ("target", "layer"),
    "When the layer was last probed, in unix time.",
)
CONNECTIONS = Metric(
    "ibkr_connections_opened_total",
    Kind.COUNTER,
    ("target",),
    "TCP connections that the exporter and the client libraries opened to the gateway; refused attempts count.",
)
MAINTENANCE_WINDOW = Metric(
    "ibkr_maintenance_window",
    Kind.GAUGE,
    ("target", "window"),
    "1 while the window is open: a reset of IBKR's servers, or the target's own restart.",
)
LOGIN_PHASE = Metric(
    "ibkr_login_phase",
    Kind.GAUGE,
    ("target", "phase"),
    "1 for the phase that the gateway's launcher log tells, 0 for every other; only where it is configured.",
)
BUILD_INFO = Metric(
    "ibkr_exporter_build_info", Kind.GAUGE, ("version", "python"), "Always 1: the exporter's version and its Python."
)
RELOAD_SUCCESS = Metric(
    "ibkr_exporter_config_last_reload_successful", Kind.GAUGE, (), "1 if the last (re)load of the configuration worked."
)
RELOAD_TIME = Metric(
    "ibkr_exporter_config_last_reload_success_timestamp_seconds",
    Kind.GAUGE,
    (),
    "When the configuration was last loaded with success, in unix time.",
)
LAG = Metric(
    "ibkr_exporter_probe_lag_seconds",
    Kind.HISTOGRAM,
    (),
    "How late ticks started: the exporter's own load, no target's.",
)
SKIPPED_TICKS = Metric(
    "ibkr_exporter_ticks_skipped_total", Kind.COUNTER, (), "Ticks that were skipped because the probe before overran."
)

BY_TARGET = (
    UP,
    VERDICT,
    VERDICT_SINCE,
    PORT_OPEN,
    CONNECT,
    HANDSHAKE_SUCCESS,
    HANDSHAKE,
    HANDSHAKE_LAST,
    SERVER_VERSION,
    SESSION_SUCCESS,
    SESSION_STAGE,
    CLOCK_OFFSET,
    ACCOUNTS,
    ACCOUNT_PRESENT,
    UPSTREAM,
    FARM,
    CONFLICTS,
    WATCH_CONNECTED,
    CLIENT_SUCCESS,
    CLIENT_LAST,
    CLIENT_TIMES,
    PROBES,
    FAILURES,
    LAST_PROBE,
    CONNECTIONS,
    MAINTENANCE_WINDOW,
    LOGIN_PHASE,
    TARGET_INFO,
)
OF_EXPORTER = (CLIENT_INFO, CLIENT_USABLE, BUILD_INFO, RELOAD_SUCCESS, RELOAD_TIME, LAG, SKIPPED_TICKS)
CATALOGUE = BY_TARGET + OF_EXPORTER
