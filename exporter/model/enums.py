"""The enums of the model. Their words are part of the public contract: in metrics, JSON and the configuration."""

from collections.abc import Mapping
from enum import StrEnum


class Layer(StrEnum):
    """The layers of a target, in the order of probing."""

    PORT = "port"
    HANDSHAKE = "handshake"
    SESSION = "session"
    DOWNLOAD = "download"
    CLIENT = "client"


class Outcome(StrEnum):
    """How one probe of one layer ended. The words are part of the public contract."""

    OK = "ok"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    CLOSED = "closed"  # EOF or reset before the answer
    GARBLED = "garbled"
    REJECTED = "rejected"  # a clear refusal by the API: 326, 503, too old, redirected
    CRASHED = "crashed"
    UNAVAILABLE = "unavailable"  # says nothing about the target: no such name, interpreter or library missing
    SKIPPED = "skipped"


class Stage(StrEnum):
    """The steps of a probe. With an outcome other than ok, the stage at which it ended."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    HELLO = "hello"
    REPLY = "reply"
    START_API = "start_api"
    NEXT_VALID_ID = "next_valid_id"
    MANAGED_ACCOUNTS = "managed_accounts"
    CURRENT_TIME = "current_time"
    POSITIONS = "positions"
    OPEN_ORDERS = "open_orders"
    COMPLETED_ORDERS = "completed_orders"
    ACCOUNT_UPDATES = "account_updates"
    EXECUTIONS = "executions"
    ACCOUNT_SUMMARY = "account_summary"
    IMPORTED = "imported"
    CONNECTED = "connected"
    READY = "ready"
    TIME = "time"
    ACCOUNTS = "accounts"
    CONTRACT = "contract"
    CLOSE = "close"


# The requests of the account download: stages of its own layer, and of a client that downloads the account.
DOWNLOAD_STAGES = (
    Stage.POSITIONS,
    Stage.OPEN_ORDERS,
    Stage.COMPLETED_ORDERS,
    Stage.ACCOUNT_UPDATES,
    Stage.EXECUTIONS,
    Stage.ACCOUNT_SUMMARY,
)


class Cause(StrEnum):
    """The machine-readable reason behind an outcome; the rules of verdict/rules.py read this, never a text."""

    NAME_UNKNOWN = "name_unknown"
    NAME_TIMEOUT = "name_timeout"
    NO_ROUTE = "no_route"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    EOF = "eof"  # the peer ended the stream in order
    RESET = "reset"  # the peer reset the connection
    SILENCE = "silence"  # not one byte of an answer
    UNFINISHED = "unfinished"  # part of an answer, then silence
    BROKEN_OFF = "broken_off"  # part of an answer, then EOF or a reset
    HTTP = "http"
    TLS = "tls"
    VNC = "vnc"
    SSH = "ssh"
    OVERSIZED = "oversized"  # a length prefix no reply to the hello has
    MALFORMED = "malformed"
    REDIRECT = "redirect"
    TOO_OLD = "too_old"
    API_ERROR = "api_error"
    CLIENT_ID_IN_USE = "client_id_in_use"  # error 326
    VERSION_UNKNOWN = "version_unknown"  # a server newer than any whose messages we know
    RESTING = "resting"  # the gateway stopped answering within the last probe of this kind: none until it is well again
    SUSPENDED = "suspended"  # twice in a row: none until the configuration is reloaded


OUTCOME: Mapping[Cause, Outcome] = {
    Cause.NAME_UNKNOWN: Outcome.UNAVAILABLE,
    Cause.NAME_TIMEOUT: Outcome.TIMEOUT,
    Cause.NO_ROUTE: Outcome.UNAVAILABLE,
    Cause.CONNECT_REFUSED: Outcome.REFUSED,
    Cause.CONNECT_TIMEOUT: Outcome.TIMEOUT,
    Cause.EOF: Outcome.CLOSED,
    Cause.RESET: Outcome.CLOSED,
    Cause.SILENCE: Outcome.TIMEOUT,
    Cause.UNFINISHED: Outcome.TIMEOUT,
    Cause.BROKEN_OFF: Outcome.CLOSED,
    Cause.HTTP: Outcome.GARBLED,
    Cause.TLS: Outcome.GARBLED,
    Cause.VNC: Outcome.GARBLED,
    Cause.SSH: Outcome.GARBLED,
    Cause.OVERSIZED: Outcome.GARBLED,
    Cause.MALFORMED: Outcome.GARBLED,
    Cause.REDIRECT: Outcome.REJECTED,
    Cause.TOO_OLD: Outcome.REJECTED,
    Cause.API_ERROR: Outcome.REJECTED,
    Cause.CLIENT_ID_IN_USE: Outcome.REJECTED,
    Cause.VERSION_UNKNOWN: Outcome.SKIPPED,
    Cause.RESTING: Outcome.SKIPPED,
    Cause.SUSPENDED: Outcome.SKIPPED,
}
"""The outcome of a wire probe that ends for a cause; every cause has one."""


class Doubt(StrEnum):
    """Why a client's failure is shown but does not count against the library."""

    ONCE = "once"  # a failure that a lost connection explains counts when it happens twice in a row
    WIRE = "wire"  # our own probe right after it failed too, or the gateway had lost IBKR's servers
    FALL = "fall"  # the gateway stopped answering within it: the library met that, or caused it
    PARTIAL = "partial"  # some of our own connections are not answered either, while others are
    OTHERS = "others"  # the other libraries have not been tried since it began to fail


class Verdict(StrEnum):
    """One word for a report. The order is the order of the rules: the first that applies, from the outside in."""

    PROBE_BROKEN = "probe_broken"
    NAME_UNRESOLVED = "name_unresolved"
    CLIENT_BREAKS_GATEWAY = "client_breaks_gateway"
    UNREACHABLE = "unreachable"
    PORT_CLOSED = "port_closed"
    CLOSED_BEFORE_HANDSHAKE = "closed_before_handshake"
    NEW_CONNECTIONS_SILENT = "new_connections_silent"
    API_SILENT = "api_silent"
    NOT_TWS_API = "not_tws_api"
    SERVER_REDIRECT = "server_redirect"
    SERVER_TOO_OLD = "server_too_old"
    CLIENT_ID_IN_USE = "client_id_in_use"
    SESSION_REFUSED = "session_refused"
    SESSION_SILENT = "session_silent"
    SESSION_STALLED = "session_stalled"
    ACCOUNT_MISSING = "account_missing"
    UPSTREAM_DOWN = "upstream_down"
    DOWNLOAD_STALLED = "download_stalled"
    CONTRACT_DETAILS_STALLED = "contract_details_stalled"
    CLIENTS_FAILING = "clients_failing"
    CLIENT_FAULT = "client_fault"
    FARM_DOWN = "farm_down"
    SLOW = "slow"
    HEALTHY = "healthy"
    UNKNOWN = "unknown"


class Mode(StrEnum):
    """The kind of account a gateway is logged in to."""

    PAPER = "paper"
    LIVE = "live"
    UNKNOWN = "unknown"  # not configured, and the port does not tell


class AddressFamily(StrEnum):
    """Which addresses of a host name are tried."""

    ANY = "any"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


class FarmKind(StrEnum):
    """What one of IBKR's data farms serves."""

    MARKET = "market"
    HISTORICAL = "historical"
    DEFINITIONS = "definitions"  # of securities


class Stamp(StrEnum):
    """Which clock ended a time: the kernel's receive stamp, or ours after the read (then the loop's load is in it)."""

    KERNEL = "kernel"
    USER = "user"


class Direction(StrEnum):
    """What one entry of an exchange is."""

    SENT = "sent"
    RECEIVED = "received"
    WITHHELD = "withheld"  # the library wanted to send it, and the exporter did not let it through
    CLOSED = "closed"  # by the side that `name` names: library or gateway
