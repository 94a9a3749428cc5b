"""The values that every package shares: targets, layers, outcomes, results, reports and verdicts.

All are frozen and do no I/O. A tick probes the layers of one target in this order and stops at the first that fails:

    layer      asks                                         stages on the way
    port       does the TCP connect succeed?                resolve, connect
    handshake  is the hello answered?                       hello, reply
    session    is startApi answered, and a request?         start_api, next_valid_id, managed_accounts, current_time
    download   is the account downloaded to its end?        positions, open_orders, ... account_summary; opt-in
    client     does a broker library get as far?            imported, connected, ready, time, accounts, contract
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.maintenance import Window


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


@dataclass(frozen=True, slots=True)
class Hello:
    """The range of API server versions that we announce.

    A server answers min(its own, our maximum) (docs/facts.md: negotiation).
    """

    minimum: int = 100
    maximum: int = 226


INTERVAL, DEADLINE, SLOW_AFTER = 15.0, 5.0, 1.0  # seconds: what a target has by default
DOWNLOAD_INTERVAL = 900.0  # seconds
CLIENT_INTERVAL, CLIENT_DEADLINE = 60.0, 15.0  # seconds: what a client has by default


@dataclass(frozen=True, slots=True)
class Target:
    """One TWS or IB Gateway endpoint, as configured. Durations are in seconds."""

    name: str
    host: str
    port: int
    mode: Mode
    interval: float = INTERVAL
    deadline: float = DEADLINE
    slow_after: float = SLOW_AFTER  # a handshake, or the request of a session, that takes longer is `slow`
    hello: Hello = Hello()
    address_family: AddressFamily = AddressFamily.ANY
    client_ids: tuple[int, ...] = ()
    avoid_client_ids: tuple[int, ...] = ()
    account: str | None = None
    clients: tuple[str, ...] = ()
    watch: bool = False
    download: bool = False  # probe the account download too, each `download_interval`
    download_interval: float = DOWNLOAD_INTERVAL
    settings: bool = False  # ask the gateway for its own settings once a day
    launcher_log: str | None = None
    windows: tuple[Window, ...] = ()  # in which some failures are expected
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def endpoint(self) -> str:
        """HOST:PORT, an IPv6 literal in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def watch_id(self) -> int | None:
        """The client id of the watch: the last of at least two, so that probes keep one; None: there is no watch."""
        return self.client_ids[-1] if self.watch and len(self.client_ids) > 1 else None

    @property
    def probe_ids(self) -> tuple[int, ...]:
        """The client ids that scheduled probes may use, in the order to try them."""
        return self.client_ids if self.watch_id is None else self.client_ids[:-1]


@dataclass(frozen=True, slots=True)
class ClientSpec:
    """A broker library as installed in one interpreter. Durations are in seconds.

    `python` is the interpreter's path; None is the environment that `clients install` made for the library. `download`:
    the library also downloads the account, by read-only requests.
    """

    name: str
    library: str
    python: str | None = None
    interval: float = CLIENT_INTERVAL
    deadline: float = CLIENT_DEADLINE
    download: bool = False


@dataclass(frozen=True, slots=True)
class ServerHello:
    """A gateway's answer to the hello: the negotiated version, and its clock as text (never relied on)."""

    version: int
    time_text: str


@dataclass(frozen=True, slots=True, order=True)
class Farm:
    """A data farm as the gateway last reported it. One that is idle but available on demand counts as connected."""

    kind: FarmKind
    name: str
    connected: bool


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a gateway reported within one session; None and empty: it reported nothing.

    `clock_offset` is the gateway's clock minus ours in seconds. The gateway sends whole seconds, so it is right to half
    a second. `upstream` says whether the gateway has IBKR's servers. `errors` are the codes of API errors, in order.
    `conflicts` counts the client ids that were refused with error 326. `new_port` is where the API is from now on, by
    error 1300. Account numbers stay out of every repr, log, label and metric; evidence shows the configured one whole
    and others in part.
    """

    client_id: int | None = None
    accounts: tuple[str, ...] | None = field(default=None, repr=False)
    next_valid_id: int | None = None
    clock_offset: float | None = None
    upstream: bool | None = None
    farms: tuple[Farm, ...] = ()
    errors: tuple[int, ...] = ()
    conflicts: int = 0
    new_port: int | None = None
    malformed: tuple[str, ...] = ()  # what was wrong with messages that could not be read


@dataclass(frozen=True, slots=True)
class InstalledVersion:
    """The versions of a broker library and of its interpreter, and the seconds that its import took."""

    library: str
    version: str
    python: str
    import_seconds: float = field(default=0.0, compare=False)


class Direction(StrEnum):
    """What one entry of an exchange is."""

    SENT = "sent"
    RECEIVED = "received"
    WITHHELD = "withheld"  # the library wanted to send it, and the exporter did not let it through
    CLOSED = "closed"  # by the side that `name` names: library or gateway


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One message of a library's connection, or `count` equal ones in a row: its name, never its contents.

    `seconds` count from the beginning of the library's connect.
    """

    direction: Direction
    name: str
    seconds: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class RequestResult:
    """One request of the account download: its stage, the seconds to its end, and the messages that came.

    `seconds` is None where the end did not come. `code` is the error that came instead of an answer.
    """

    stage: Stage
    seconds: float | None
    messages: int
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """One probe of one layer.

    `seconds` is the layer's own duration, None where nothing was measured. `stages` are the parts of it, in seconds.
    `stage` and `cause` say where and why it ended when the outcome is not ok. The stages of a session all count from
    its own beginning, startApi, but for `current_time`, which counts from the request.
    """

    layer: Layer
    outcome: Outcome
    seconds: float | None = None
    stage: Stage | None = None
    cause: Cause | None = None
    detail: str = ""
    stages: tuple[tuple[Stage, float], ...] = ()
    stamp: Stamp | None = None
    server: ServerHello | None = None
    client: str | None = None
    code: int | None = None  # the number of the API's error, where one ended the probe: 326, 503
    session: SessionFacts | None = None
    installed: InstalledVersion | None = None  # of a client: its versions
    doubt: Doubt | None = None  # of a client that failed: why that does not count
    requests: tuple[RequestResult, ...] = ()  # of the account download
    exchange: tuple[Exchanged, ...] = ()  # of a client: the last messages of its connection
    hello: Hello | None = None  # of a client: the server versions that it announced

    @property
    def ok(self) -> bool:
        """The layer answered as it should."""
        return self.outcome is Outcome.OK

    @property
    def waited(self) -> float:
        """Seconds that the gateway took for its answer to the hello, or to a session's request; 0: it gave none."""
        if self.layer is Layer.SESSION:
            return dict(self.stages).get(Stage.CURRENT_TIME, 0.0)
        return (self.seconds or 0.0) if self.layer is Layer.HANDSHAKE else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """The gateway stopped answering within a connection of ours or soon after it.

    `at` is the start of the first failed probe (unix seconds), `after` the seconds since the connection had ended; 0:
    within it. `client` is the library that had connected, None for a session of our own. `count` is how many times in a
    row: 1, then 2, at which such connections are suspended.
    """

    at: float
    after: float = 0.0
    client: str | None = None
    installed: InstalledVersion | None = None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One tick of one target: the result of every layer that was probed.

    `at` is unix seconds at the start, `seconds` the whole tick. `connections` counts the TCP connections opened.
    `fault` is set when we failed, not the target: then the results claim nothing. `new_port` is the API's new port by
    the error 1300 that ended the watch's session. `fall` says with which connection of ours the present failure began.
    `answered_beside` is when a session of ours was last answered while this probe's hello was not. `remarks` are lines
    of evidence on the state of the target that no single layer shows. `lower_hello` is the answer to a hello with a
    lower maximum, where the usual hello got none.
    """

    target: str
    at: float
    seconds: float
    results: tuple[LayerResult, ...]
    connections: int = 0
    fault: str | None = None
    new_port: int | None = None
    fall: Fall | None = None
    answered_beside: float | None = None
    remarks: tuple[str, ...] = ()
    lower_hello: ServerHello | None = None

    def layer(self, layer: Layer) -> LayerResult | None:
        """The result of a wire layer, or None where it was not probed."""
        for result in self.results:
            if result.layer is layer and result.client is None:
                return result
        return None
