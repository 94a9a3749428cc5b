r"""The TWS API protocol: bytes to values and back. No sockets here, no clock, nothing that waits.

The opening handshake (docs/facts.md: handshake; the bytes of every client were captured):

    client  "API\0" + length + "vMIN..MAX"           the hello
    server  length + "VERSION\0TIME\0"              the reply; VERSION is min(server's, MAX)

A length is four bytes, big endian, and counts what follows it. After the handshake every message is framed the same
way, its payload in one of three framings, chosen by the negotiated version:

    up to 200   "ID\0FIELD\0..."                    text
    201..212    four-byte ID + "FIELD\0..."          raw ids
    213 on      four-byte ID + 200, then protobuf     protobuf, message by message; these are the ones from 213 on:
                                                      startApi, reqCurrentTime, reqIds
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from exporter.model import Cause, Hello, ServerHello

LENGTH = 4  # bytes of a length prefix, and of a raw message id
MAX_REPLY = 4096  # a reply to the hello is under 100 bytes; more than this is another protocol's text read as a length
MAX_MESSAGE = 0xFFFFFF  # ibapi's own MAX_MSG_LEN
RAW_IDS_FROM = 201
PROTOBUF_FROM = 213
PROTOBUF_OFFSET = 200  # message ids above this announce protobuf

# What other services say first when they are sent a hello, or unasked. The first four bytes would be a length
# of a gigabyte in this API, so none of them can be mistaken for a reply.
BANNERS = (
    (b"HTTP/", Cause.HTTP),
    (b"RFB ", Cause.VNC),
    (b"SSH-", Cause.SSH),
    (b"\x15\x03", Cause.TLS),  # a TLS alert record
    (b"<htm", Cause.HTTP),
    (b"<HTM", Cause.HTTP),
    (b"<!DO", Cause.HTTP),
    (b"<!do", Cause.HTTP),
)


class Framing(StrEnum):
    """How the messages after the handshake are written."""

    TEXT = "text"
    RAW_IDS = "raw_ids"
    PROTOBUF = "protobuf"


class Request(IntEnum):
    """The only messages this program ever sends after the hello (design rule 1)."""

    REQ_IDS = 8
    REQ_CONTRACT_DETAILS = 9
    REQ_MANAGED_ACCOUNTS = 17
    REQ_CURRENT_TIME = 49
    START_API = 71


class Answer(IntEnum):
    """The messages of a gateway that we read; every other is passed over."""

    ERROR = 4
    NEXT_VALID_ID = 9
    CONTRACT_DETAILS = 10
    MANAGED_ACCOUNTS = 15
    CURRENT_TIME = 49
    CONTRACT_DETAILS_END = 52


class NotTheApiError(ValueError):
    """What the peer sent is no reply to the hello. `cause` tells what it looks like; the text holds the first bytes."""

    def __init__(self, cause: Cause, text: str) -> None:
        """Keep the cause beside the text."""
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer to the hello. `cause` is set when the API answered clearly, but not with a usable version."""

    server: ServerHello | None
    cause: Cause | None = None
    detail: str = ""
    rest: bytes = b""


def hello(offer: Hello) -> bytes:
    r"""The opening bytes, for example `API\0`, 9, `v100..226`."""
    return b"API\0" + frame(f"v{offer.minimum}..{offer.maximum}".encode("ascii"))


def frame(payload: bytes) -> bytes:
    """The payload with its length in front."""
    return len(payload).to_bytes(LENGTH, "big") + payload


def split_frame(data: bytes, limit: int = MAX_MESSAGE) -> tuple[bytes, bytes] | None:
    """The first whole payload in `data` and the bytes after it; None while it is incomplete.

    Raises ValueError as soon as the length prefix exceeds `limit`, so that nobody waits for bytes that never come.
    """
    if len(data) < LENGTH:
        return None
    length = int.from_bytes(data[:LENGTH], "big")
    if length > limit:
        msg = f"a length of {length} bytes where at most {limit} are possible"
        raise ValueError(msg)
    end = LENGTH + length
    return (data[LENGTH:end], data[end:]) if len(data) >= end else None


def framing(version: int) -> Framing:
    """The framing of startApi and reqCurrentTime at a negotiated server version."""
    if version >= PROTOBUF_FROM:
        return Framing.PROTOBUF
    return Framing.RAW_IDS if version >= RAW_IDS_FROM else Framing.TEXT


def read_reply(data: bytes, offer: Hello) -> Reply | None:
    """The answer to the hello in the bytes received so far; None while it is incomplete.

    The text of the time may hold anything (zone names with spaces, any encoding): it is kept as Latin-1, which never
    fails. Raises NotTheApiError as soon as the length or the version rules a reply out; a banner that has begun is
    waited for, so that the evidence is the same however the bytes were cut.
    """
    if not data.startswith(b"\0") and _begins_as_banner(data):
        return None
    try:
        split = split_frame(data, MAX_REPLY)
    except ValueError as error:
        raise NotTheApiError(Cause.OVERSIZED, f"{error}; it said {quoted(data)}") from None
    if split is None:
        _check_beginning(data, offer)
        return None
    payload, rest = split
    fields = payload.split(b"\0")
    if len(fields) < 2 or not _is_integer(fields[0]):  # noqa: PLR2004 - a version and a time
        raise NotTheApiError(Cause.MALFORMED, f"a frame that is no version and time: {quoted(payload)}")
    _check_version(int(fields[0]), offer)
    return _interpreted(fields, rest, offer)


def quoted(data: bytes, most: int = 48) -> str:
    """Bytes of a peer, short and printable, for evidence."""
    text = data[:most].decode("latin-1").encode("unicode_escape").decode("ascii")
    return f'"{text}"' + (f" and {len(data) - most} bytes more" if len(data) > most else "")


def _begins_as_banner(data: bytes) -> bool:
    """More bytes may make a banner of this. Raises NotTheApiError if it is one already."""
    for banner, cause in BANNERS:
        if data.startswith(banner):
            raise NotTheApiError(cause, f"it said {quoted(data)}")
    return any(banner.startswith(data) for banner, _ in BANNERS)


def _interpreted(fields: list[bytes], rest: bytes, offer: Hello) -> Reply:
    version, second = int(fields[0]), fields[1].decode("latin-1")
    if version == -1:  # a redirect: old Java and C++ clients know it, the Python ones take it for a connection
        return Reply(None, Cause.REDIRECT, f'sent us to "{_printable(second)}"', rest)
    if version == Answer.ERROR and len(fields) >= 5:  # noqa: PLR2004 - an error message: 4, version, id, code, text
        code = fields[3].decode("latin-1")
        text = fields[4].decode("latin-1")
        cause = Cause.TOO_OLD if code == "503" else Cause.API_ERROR
        return Reply(None, cause, f"error {_printable(code)}: {_printable(text)}", rest)
    server = ServerHello(version, second)
    if version < offer.minimum:
        detail = f"server version {version}, and we offered {offer.minimum} to {offer.maximum}"
        return Reply(server, Cause.TOO_OLD, detail, rest)
    return Reply(server, rest=rest)


def _check_beginning(data: bytes, offer: Hello) -> None:
    """Raise if the payload's first bytes already rule out a version number that could be an answer."""
    start = data[LENGTH:]
    digits, nul, _ = start.partition(b"\0")
    undecided = not nul and digits in (b"", b"-")
    if not undecided and not _is_integer(digits):
        raise NotTheApiError(Cause.MALFORMED, f"a frame that starts with {quoted(start)} instead of a version")
    if nul:
        _check_version(int(digits), offer)


def _check_version(version: int, offer: Hello) -> None:
    """Raise if it is above all that we announced: a TWS answers the highest that both sides know, never one above."""
    if version > offer.maximum:
        text = f"it names version {version}, above the {offer.maximum} that we announced"
        raise NotTheApiError(Cause.MALFORMED, text)


def _is_integer(digits: bytes) -> bool:
    """An optional minus and at most nine ASCII digits (int() would take far more: spaces, underscores, a megabyte)."""
    bare = digits.removeprefix(b"-")
    return 0 < len(bare) <= 9 and bare.isdigit()  # noqa: PLR2004 - 32 bits, as every client reads it


def _printable(text: str, most: int = 200) -> str:
    return text[:most].encode("unicode_escape").decode("ascii")
