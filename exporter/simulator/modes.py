"""What the simulated gateway can be told to do: one table of modes.

A connection meets up to five moments, and a mode says what happens at each. All that is not named goes as in `ok`:

    port      is the port listening at all?
    accept    the connection was accepted, nothing was said yet
    hello     the whole hello was received
    start     the whole startApi was received
    requests  anything after that

A mode counts at the moment at which something happens, so a change of mode reaches live sessions too.
No I/O here: gateway.py plays what this table says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from exporter.model import Layer, Verdict
from exporter.protocol.download import DownloadRequest


class PortBehaviour(StrEnum):
    """What the port itself does with a TCP connect."""

    OPEN = "open"
    REFUSED = "refused"  # nothing listens
    FULL = "full"  # listens, but the accept queue is full: no answer to the connect


class AcceptBehaviour(StrEnum):
    """What happens as soon as a connection is accepted."""

    WAIT = "wait"
    CLOSE = "close"  # end of stream, in order
    RESET = "reset"
    RELAY = "relay"  # ask a dead backend, then close: end of stream or reset
    BANNER = "banner"  # another service speaks first


class HelloBehaviour(StrEnum):
    """How the hello is answered."""

    REPLY = "reply"
    SLOW = "slow"
    BYTEWISE = "bytewise"
    SPLIT = "split"
    HALF = "half"  # half a reply, then nothing
    HALF_CLOSE = "half_close"  # half a reply, then end of stream
    GARBAGE = "garbage"
    HUGE_LENGTH = "huge_length"
    FLOOD = "flood"
    FOREIGN = "foreign"  # another service's complaint, then end of stream
    REDIRECT = "redirect"
    VERSION = "version"  # a reply with the version and the text of the mode
    ERROR = "error"  # an error instead of a version, then end of stream
    TOO_OLD = "too_old"
    UPDATE_NEEDED = "update_needed"  # error 503 instead of a version
    NOTHING = "nothing"
    CLOSE = "close"


class SettingsBehaviour(StrEnum):
    """How a request for the gateway's settings ends."""

    ANSWERED = "answered"
    NOTHING = "nothing"
    REFUSED = "refused"  # error 10357
    CLOSE = "close"


class EarlyMessage(StrEnum):
    """A message that comes before the reply to the hello."""

    NEWS = "news"
    TICK = "tick"
    NOTICE = "notice"  # error 2104
    LOSS = "loss"  # error 1100
    PROTOBUF = "protobuf"
    USER_INFO = "user_info"  # its id, 107, looks like a version


class StartBehaviour(StrEnum):
    """How startApi is answered."""

    SESSION = "session"
    NOTHING = "nothing"
    ID_IN_USE = "id_in_use"
    ID_IN_USE_OPEN = "id_in_use_open"
    BAD_MESSAGE = "bad_message"
    CLOSE = "close"
    RESET = "reset"
    NO_ACCOUNTS = "no_accounts"
    NO_NEXT_VALID_ID = "no_next_valid_id"


class UpstreamBehaviour(StrEnum):
    """The simulated gateway's own link to IBKR's servers."""

    CONNECTED = "connected"
    LOST = "lost"  # 1100 is sent
    BROKEN = "broken"  # 2110 is sent


class Malformed(StrEnum):
    """A message that breaks the protocol."""

    ERROR = "error"  # an error without a number where its code belongs
    EMPTY = "empty"  # a frame of no bytes


@dataclass(frozen=True, slots=True)
class GatewayMode:
    """One row: what a client sees, what a prober should conclude, and what the gateway does.

    `verdict` is due once `layer` is probed; before that layer all looks healthy. For modes that change by themselves
    it is the verdict of the bad phase.
    """

    name: str
    sees: str
    verdict: Verdict
    layer: Layer = Layer.HANDSHAKE
    port: PortBehaviour = PortBehaviour.OPEN
    accept: AcceptBehaviour = AcceptBehaviour.WAIT
    hello: HelloBehaviour = HelloBehaviour.REPLY
    early: EarlyMessage | None = None
    newest_hello: int = 0  # a hello with a higher maximum is not answered, or the connection is closed
    error: int = 0  # at `hello` ERROR
    reply: tuple[str, str] = ("", "")  # at `hello` VERSION: the version and the time
    start: StartBehaviour = StartBehaviour.SESSION
    answering: bool = True  # requests after startApi
    upstream: UpstreamBehaviour = UpstreamBehaviour.CONNECTED
    farm_broken: bool = False
    wrong_account: bool = False
    empty_accounts: bool = False  # managedAccounts lists none
    malformed: Malformed | None = None  # sent after the session's opening
    contracts: bool = True  # requests for contract details are answered
    clock_off: bool = False
    closes_newest: bool = False
    unanswered: DownloadRequest | None = None
    endless: DownloadRequest | None = None  # its answer comes, the end of it never
    settings: SettingsBehaviour = SettingsBehaviour.ANSWERED
    values_cut: bool = False  # closes in the middle of the account values
    banner: bytes = b""  # said at `accept` BANNER or at `hello` FOREIGN
    limited: bool = False  # serves so many connections at a time as the settings say, and never answers the others
    wedges: bool = False  # a request for a contract makes it `silent`
    changing: bool = False  # plays `ok` and another mode in turn

    @property
    def handshake_verdict(self) -> Verdict:
        """What the port and handshake layers alone should lead to."""
        return self.verdict if self.layer is Layer.HANDSHAKE else Verdict.HEALTHY

    @property
    def session_verdict(self) -> Verdict:
        """What port, handshake and session should lead to."""
        return Verdict.HEALTHY if self.layer is Layer.DOWNLOAD else self.verdict


HTTP_COMPLAINT = (
    b"HTTP/1.1 400 Bad Request\r\nServer: simulated\r\nContent-Type: text/html\r\n"
    b"Content-Length: 26\r\nConnection: close\r\n\r\n<h1>400 Bad Request</h1>\r\n"
)
VNC_BANNER = b"RFB 003.008\n"
SSH_BANNER = b"SSH-2.0-OpenSSH_9.6\r\n"
TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x0a"  # fatal, unexpected message


_TABLE = (
    GatewayMode("ok", "everything works", Verdict.HEALTHY),
    # the port
    GatewayMode(
        "refused", "connection refused; live sessions are reset", Verdict.PORT_CLOSED, port=PortBehaviour.REFUSED
    ),
    GatewayMode(
        "backlog_full",
        "no answer to the TCP connect: the accept queue is full (Linux only)",
        Verdict.UNREACHABLE,
        port=PortBehaviour.FULL,
    ),
    # before the reply
    GatewayMode(
        "silent",
        "connected, then nothing at all; live sessions freeze too",
        Verdict.API_SILENT,
        hello=HelloBehaviour.NOTHING,
        start=StartBehaviour.NOTHING,
        answering=False,
    ),
    GatewayMode(
        "sessions_only",
        "new connections get no answer; live sessions go on",
        Verdict.API_SILENT,
        hello=HelloBehaviour.NOTHING,
    ),
    GatewayMode(
        "wedged_by_library",
        "works until a contract is asked for, which only libraries do; from then on it is `silent`",
        Verdict.HEALTHY,
        wedges=True,
    ),
    GatewayMode(
        "one_connection",
        "serves --connections at a time and never answers those beyond",
        Verdict.HEALTHY,
        limited=True,
    ),
    GatewayMode(
        "close_at_once",
        "connected, then end of stream before anything is read",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        accept=AcceptBehaviour.CLOSE,
    ),
    GatewayMode(
        "reset_at_once",
        "connected, then reset by the peer",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        accept=AcceptBehaviour.RESET,
    ),
    GatewayMode(
        "relay",
        "connected, then end of stream or reset: a relay like socat with no gateway behind it",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        accept=AcceptBehaviour.RELAY,
    ),
    GatewayMode(
        "close_after_hello",
        "the hello is read, then end of stream without a byte",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        hello=HelloBehaviour.CLOSE,
    ),
    # the reply
    GatewayMode("slow", "the reply comes after --slow seconds", Verdict.SLOW, hello=HelloBehaviour.SLOW),
    GatewayMode("bytewise", "everything comes one byte at a time", Verdict.HEALTHY, hello=HelloBehaviour.BYTEWISE),
    GatewayMode(
        "split_reply", "the reply comes in two segments, 0.3 s apart", Verdict.HEALTHY, hello=HelloBehaviour.SPLIT
    ),
    GatewayMode("half_reply", "half a reply, then nothing more", Verdict.API_SILENT, hello=HelloBehaviour.HALF),
    GatewayMode(
        "eof_mid_reply",
        "half a reply, then end of stream",
        Verdict.API_SILENT,
        hello=HelloBehaviour.HALF_CLOSE,
    ),
    GatewayMode("garbage", "a well-framed reply of random bytes", Verdict.NOT_TWS_API, hello=HelloBehaviour.GARBAGE),
    GatewayMode(
        "huge_length", "a length of two gigabytes, then nothing", Verdict.NOT_TWS_API, hello=HelloBehaviour.HUGE_LENGTH
    ),
    GatewayMode("flood", "100 MB of the letter x", Verdict.NOT_TWS_API, hello=HelloBehaviour.FLOOD),
    # other services
    GatewayMode(
        "http",
        "an HTTP server's 400, then end of stream",
        Verdict.NOT_TWS_API,
        hello=HelloBehaviour.FOREIGN,
        banner=HTTP_COMPLAINT,
    ),
    GatewayMode(
        "vnc",
        "a VNC server's banner, unasked",
        Verdict.NOT_TWS_API,
        accept=AcceptBehaviour.BANNER,
        banner=VNC_BANNER,
        hello=HelloBehaviour.NOTHING,
    ),
    GatewayMode(
        "ssh",
        "an SSH server's banner, unasked",
        Verdict.NOT_TWS_API,
        accept=AcceptBehaviour.BANNER,
        banner=SSH_BANNER,
        hello=HelloBehaviour.NOTHING,
    ),
    GatewayMode(
        "tls",
        "a TLS server's alert, then end of stream",
        Verdict.NOT_TWS_API,
        hello=HelloBehaviour.FOREIGN,
        banner=TLS_ALERT,
    ),
    # clear refusals
    GatewayMode(
        "redirect",
        "a reply with version -1 and another address",
        Verdict.SERVER_REDIRECT,
        hello=HelloBehaviour.REDIRECT,
    ),
    GatewayMode("too_old", "a reply with server version 20", Verdict.SERVER_TOO_OLD, hello=HelloBehaviour.TOO_OLD),
    GatewayMode(
        "update_needed",
        "error 503 (the TWS is out of date) instead of a version, then end of stream",
        Verdict.SERVER_TOO_OLD,
        hello=HelloBehaviour.UPDATE_NEEDED,
    ),
    GatewayMode(
        "error_502",
        "error 502 instead of a version, then end of stream",
        Verdict.SESSION_REFUSED,
        hello=HelloBehaviour.ERROR,
        error=502,
    ),
    GatewayMode(
        "error_504",
        "error 504 instead of a version, then end of stream",
        Verdict.SESSION_REFUSED,
        hello=HelloBehaviour.ERROR,
        error=504,
    ),
    GatewayMode(
        "error_326",
        "error 326 instead of a version, then end of stream",
        Verdict.SESSION_REFUSED,
        hello=HelloBehaviour.ERROR,
        error=326,
    ),
    GatewayMode(
        "error_507",
        "error 507 instead of a version, then end of stream",
        Verdict.SESSION_REFUSED,
        hello=HelloBehaviour.ERROR,
        error=507,
    ),
    GatewayMode(
        "version_negative",
        "a reply with server version -5",
        Verdict.NOT_TWS_API,
        hello=HelloBehaviour.VERSION,
        reply=("-5", "20231021 13:28:15 EST"),
    ),
    GatewayMode(
        "version_zero",
        "a reply with server version 0",
        Verdict.NOT_TWS_API,
        hello=HelloBehaviour.VERSION,
        reply=("0", "20231021 13:28:15 EST"),
    ),
    GatewayMode(
        "redirect_to_date",
        "a reply with version -1 and a date instead of an address",
        Verdict.NOT_TWS_API,
        hello=HelloBehaviour.VERSION,
        reply=("-1", "20231021 13:28:15 EST"),
    ),
    # messages before the reply
    GatewayMode("news_first", "a news bulletin before the reply", Verdict.HEALTHY, early=EarlyMessage.NEWS),
    GatewayMode("tick_first", "a tick before the reply", Verdict.HEALTHY, early=EarlyMessage.TICK),
    GatewayMode("notice_first", "error 2104 before the reply", Verdict.HEALTHY, early=EarlyMessage.NOTICE),
    GatewayMode("loss_first", "error 1100 before the reply", Verdict.HEALTHY, early=EarlyMessage.LOSS),
    GatewayMode("protobuf_first", "a protobuf message before the reply", Verdict.HEALTHY, early=EarlyMessage.PROTOBUF),
    GatewayMode(
        "user_info_first",
        "a message before the reply whose id, 107, could be a version",
        Verdict.HEALTHY,
        early=EarlyMessage.USER_INFO,
    ),
    GatewayMode(
        "notice_only",
        "error 2104, and a reply never",
        Verdict.API_SILENT,
        hello=HelloBehaviour.NOTHING,
        early=EarlyMessage.NOTICE,
    ),
    # only the newest hello
    GatewayMode(
        "newest_hello_silent",
        "a hello that announces more than version 187 is not answered",
        Verdict.API_SILENT,
        newest_hello=187,
    ),
    GatewayMode(
        "newest_hello_closed",
        "end of stream after a hello that announces more than version 187",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        hello=HelloBehaviour.REPLY,
        newest_hello=187,
        closes_newest=True,
    ),
    # startApi
    GatewayMode(
        "handshake_then_silence",
        "the hello is answered, startApi is not",
        Verdict.SESSION_SILENT,
        Layer.SESSION,
        start=StartBehaviour.NOTHING,
        answering=False,
    ),
    GatewayMode(
        "id_in_use",
        "error 326, then end of stream",
        Verdict.CLIENT_ID_IN_USE,
        Layer.SESSION,
        start=StartBehaviour.ID_IN_USE,
    ),
    GatewayMode(
        "id_in_use_open",
        "error 326, and the connection stays open",
        Verdict.CLIENT_ID_IN_USE,
        Layer.SESSION,
        start=StartBehaviour.ID_IN_USE_OPEN,
    ),
    GatewayMode(
        "bad_message",
        "error 507, then end of stream",
        Verdict.SESSION_REFUSED,
        Layer.SESSION,
        start=StartBehaviour.BAD_MESSAGE,
    ),
    GatewayMode(
        "close_after_start_api",
        "end of stream after startApi",
        Verdict.SESSION_REFUSED,
        Layer.SESSION,
        start=StartBehaviour.CLOSE,
    ),
    GatewayMode(
        "reset_after_start_api",
        "reset after startApi",
        Verdict.SESSION_REFUSED,
        Layer.SESSION,
        start=StartBehaviour.RESET,
    ),
    GatewayMode(
        "no_accounts",
        "nextValidId comes, managedAccounts never",
        Verdict.SESSION_STALLED,
        Layer.SESSION,
        start=StartBehaviour.NO_ACCOUNTS,
    ),
    GatewayMode(
        "no_next_valid_id",
        "managedAccounts comes, nextValidId never",
        Verdict.SESSION_STALLED,
        Layer.SESSION,
        start=StartBehaviour.NO_NEXT_VALID_ID,
    ),
    GatewayMode(
        "empty_accounts",
        "managedAccounts lists no account",
        Verdict.SESSION_STALLED,
        Layer.SESSION,
        empty_accounts=True,
    ),
    # the session
    GatewayMode(
        "malformed_error",
        "an error message without a number where its code belongs",
        Verdict.HEALTHY,
        Layer.SESSION,
        malformed=Malformed.ERROR,
    ),
    GatewayMode(
        "empty_frame",
        "a frame of no bytes within the session",
        Verdict.HEALTHY,
        Layer.SESSION,
        malformed=Malformed.EMPTY,
    ),
    GatewayMode(
        "contract_details_unanswered",
        "all is answered but reqContractDetails: only libraries see it",
        Verdict.HEALTHY,
        Layer.SESSION,
        contracts=False,
    ),
    GatewayMode(
        "requests_unanswered",
        "startApi is answered, requests are not",
        Verdict.SESSION_STALLED,
        Layer.SESSION,
        answering=False,
    ),
    GatewayMode(
        "upstream_lost",
        "1100: the gateway lost IBKR's servers (1102 when the mode ends)",
        Verdict.UPSTREAM_DOWN,
        Layer.SESSION,
        upstream=UpstreamBehaviour.LOST,
    ),
    GatewayMode(
        "upstream_broken",
        "2110: the gateway's link to IBKR's servers is broken (1102 when the mode ends)",
        Verdict.UPSTREAM_DOWN,
        Layer.SESSION,
        upstream=UpstreamBehaviour.BROKEN,
    ),
    GatewayMode(
        "farm_broken",
        "2103: one market data farm is disconnected (2104 when the mode ends)",
        Verdict.FARM_DOWN,
        Layer.SESSION,
        farm_broken=True,
    ),
    GatewayMode(
        "wrong_account",
        "another account than usual is managed",
        Verdict.ACCOUNT_MISSING,
        Layer.SESSION,
        wrong_account=True,
    ),
    GatewayMode(
        "clock_off", "the gateway's clock is --clock-offset seconds off", Verdict.HEALTHY, Layer.SESSION, clock_off=True
    ),
    # the account download
    GatewayMode(
        "positions_unanswered",
        "positions come, positionEnd never",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        endless=DownloadRequest.POSITIONS,
    ),
    GatewayMode(
        "open_orders_unanswered",
        "openOrderEnd never comes",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        unanswered=DownloadRequest.OPEN_ORDERS,
    ),
    GatewayMode(
        "completed_orders_unanswered",
        "completedOrdersEnd never comes",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        unanswered=DownloadRequest.COMPLETED_ORDERS,
    ),
    GatewayMode(
        "account_updates_unanswered",
        "account values come, accountDownloadEnd never",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        endless=DownloadRequest.ACCOUNT_UPDATES,
    ),
    GatewayMode(
        "executions_unanswered",
        "execDetailsEnd never comes",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        unanswered=DownloadRequest.EXECUTIONS,
    ),
    GatewayMode(
        "account_summary_unanswered",
        "accountSummaryEnd never comes",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        unanswered=DownloadRequest.ACCOUNT_SUMMARY,
    ),
    GatewayMode(
        "account_values_cut",
        "end of stream in the middle of the account values",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        values_cut=True,
    ),
    # the gateway's own settings
    GatewayMode(
        "settings_unanswered",
        "a request for the settings is not answered",
        Verdict.HEALTHY,
        Layer.SESSION,
        settings=SettingsBehaviour.NOTHING,
    ),
    GatewayMode(
        "settings_refused",
        "a request for the settings gets error 10357",
        Verdict.HEALTHY,
        Layer.SESSION,
        settings=SettingsBehaviour.REFUSED,
    ),
    GatewayMode(
        "settings_closed",
        "end of stream after a request for the settings",
        Verdict.HEALTHY,
        Layer.SESSION,
        settings=SettingsBehaviour.CLOSE,
    ),
    # modes that change by themselves
    GatewayMode(
        "freeze_after", "works for --freeze-after seconds, then is `silent`", Verdict.API_SILENT, changing=True
    ),
    GatewayMode(
        "flapping", "`ok` and `refused` in turn, --flap-period seconds each", Verdict.PORT_CLOSED, changing=True
    ),
)

MODES: Mapping[str, GatewayMode] = MappingProxyType({mode.name: mode for mode in _TABLE})


def find_mode(name: str) -> GatewayMode:
    """The mode of that name; hyphens count as underscores. Raises ValueError that names the nearest thing to do."""
    mode = MODES.get(name.strip().lower().replace("-", "_"))
    if mode is None:
        msg = f"no mode is called {name!r}; the modes are {', '.join(MODES)}"
        raise ValueError(msg)
    return mode
