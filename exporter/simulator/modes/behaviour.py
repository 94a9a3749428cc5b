"""What a simulated gateway can do at each moment of a connection, and the row that puts it together: `GatewayMode`."""

from dataclasses import dataclass
from enum import StrEnum

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
    banner: bytes = b""  # sent at `accept` BANNER or at `hello` FOREIGN
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
