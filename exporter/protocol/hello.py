r"""The opening of a connection: our hello and the gateway's reply to it. No sockets here, no clock.

    client  "API\0" + length + "vMIN..MAX"           the hello
    server  length + "VERSION\0TIME\0"              the reply; VERSION is min(server's, MAX)

A reply has exactly two fields. A gateway may send other messages before it: news, a tick, a notice of its farms. They
are passed over, as IBKR's own client does (docs/facts.md: handshake), up to MAX_PASSED messages and MAX_BYTES in all.
An error that means a refusal ends the handshake.
"""

import re
from dataclasses import dataclass
from functools import cache

from exporter.model import Cause, Hello, ServerHello
from exporter.protocol import error_codes
from exporter.protocol.messages import ApiError, read_error
from exporter.protocol.wire import LENGTH, frame, quoted, shortened

MAX_BYTES = 64 * 1024  # of one message, and of all messages before the reply
MAX_PASSED = 64
LOWER_MAXIMUM = 176  # what ib_insync 0.9.86 announces
REPLY_FIELDS = 2
MAX_MESSAGE_ID = 1000  # of a raw id, with the offset of protobuf

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
FIRST_BYTES = frozenset(banner[:1] for banner, _ in BANNERS)
REDIRECT = -1  # instead of a version: old Java and C++ clients know it, the Python ones take it for a connection
REFUSALS = error_codes.FATAL | {502}  # errors that stand in place of a reply

_DATE = re.compile(r"[0-9]{8}\b")


class NotTheApiError(ValueError):
    """What the peer sent is no reply to the hello. `cause` tells what it looks like; the text holds the first bytes."""

    def __init__(self, cause: Cause, text: str) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer to the hello. `cause` is set when the API answered clearly, but not with a usable version.

    `code` is the number of the error that refused. `rest` are the bytes after the answer.
    """

    server: ServerHello | None
    cause: Cause | None = None
    detail: str = ""
    rest: bytes = b""
    code: int | None = None


def lower_offer(offer: Hello) -> Hello | None:
    """The same offer with the maximum of ib_insync, the oldest library in use; None where it is no higher."""
    return Hello(offer.minimum, LOWER_MAXIMUM) if offer.minimum <= LOWER_MAXIMUM < offer.maximum else None


@cache
def hello(offer: Hello) -> bytes:
    r"""The opening bytes, for example `API\0`, 9, `v100..226`."""
    return b"API\0" + frame(f"v{offer.minimum}..{offer.maximum}".encode("ascii"))


class ReplyReader:
    """Takes the bytes of one connection, in whatever pieces they come, up to the reply.

    `held` is what is not a whole message yet. `passed` counts the messages before the reply; `errors` are the codes of
    the errors among them.
    """

    def __init__(self, offer: Hello) -> None:
        self.held = b""
        self.passed = 0
        self.errors: tuple[int, ...] = ()
        self._offer = offer
        self._size = 0

    def feed(self, data: bytes) -> Reply | None:
        """The answer, once it is complete. Raises NotTheApiError as soon as what came can be none of this API.

        The reader waits for the rest of a banner, so that the evidence is the same however the bytes were cut.
        """
        self.held += data
        while True:
            if not self._size and _begins_as_banner(self.held):
                return None
            payload = self._next()
            if payload is None:
                return None
            reply = self._read(payload)
            if reply is not None:
                return reply
            self.passed += 1
            self._size += LENGTH + len(payload)
            if self.passed >= MAX_PASSED or self._size > MAX_BYTES:
                raise NotTheApiError(Cause.MALFORMED, f"{self.passed} messages, and no version and time among them")

    @property
    def begun_as_message(self) -> bool:
        """What is held can be the beginning of a message of this API."""
        return int.from_bytes(self.held[:LENGTH].ljust(LENGTH, b"\0"), "big") <= MAX_BYTES

    def _next(self) -> bytes | None:
        """The next whole payload, cut off what is held; None while it is incomplete."""
        if len(self.held) < LENGTH:
            return None
        length = int.from_bytes(self.held[:LENGTH], "big")
        if length > MAX_BYTES:
            text = f"a length of {length} bytes where at most {MAX_BYTES} are possible; it said {quoted(self.held)}"
            raise NotTheApiError(Cause.OVERSIZED, text)
        end = LENGTH + length
        _check_beginning(self.held[LENGTH:end], whole=len(self.held) >= end)
        if len(self.held) < end:
            return None
        payload, self.held = self.held[LENGTH:end], self.held[end:]
        return payload

    def _read(self, payload: bytes) -> Reply | None:
        """The answer in one message; None if it is none."""
        error = read_error(payload)
        if error is not None:
            if error.code in REFUSALS:
                return _refusal(error, self.held)
            self.errors = (*self.errors, error.code)
            return None
        *fields, unended = payload.split(b"\0")
        if unended or len(fields) != REPLY_FIELDS or payload.startswith(b"\0\0\0"):
            return None
        return _reply(fields[0], fields[1].decode("latin-1"), self._offer, self.held)


def _reply(first: bytes, second: str, offer: Hello, rest: bytes) -> Reply | None:
    """The answer of two fields. The text of the time may hold anything: Latin-1 never fails."""
    if not _is_integer(first):
        raise NotTheApiError(Cause.MALFORMED, f"a frame that is no version and time: {quoted(first)}")
    version = int(first)
    dated = _DATE.match(second) is not None
    if version == REDIRECT and second and not dated:
        return Reply(None, Cause.REDIRECT, f'sent us to "{shortened(second)}"', rest)
    if version > 0 and second == "1":
        return None  # a message that has only its own version, such as the end of a list
    if version <= 0:
        raise NotTheApiError(Cause.MALFORMED, f"it names version {version}")
    if version > offer.maximum:  # a TWS answers the highest that both sides know, never one above
        text = f"it names version {version}, above the {offer.maximum} that we announced"
        raise NotTheApiError(Cause.MALFORMED, text)
    server = ServerHello(version, second)
    if version < offer.minimum:
        detail = f"server version {version}, and we offered {offer.minimum} to {offer.maximum}"
        return Reply(server, Cause.TOO_OLD, detail, rest)
    return Reply(server, rest=rest)


def _refusal(error: ApiError, rest: bytes) -> Reply:
    cause = Cause.TOO_OLD if error.code == error_codes.OUT_OF_DATE else Cause.API_ERROR
    return Reply(None, cause, f"error {error.code}: {shortened(error.text)}", rest, error.code)


def _begins_as_banner(data: bytes) -> bool:
    """Whether further bytes may make this a banner. Raises NotTheApiError if it is one already."""
    if data[:1] not in FIRST_BYTES:
        return False
    for banner, cause in BANNERS:
        if data.startswith(banner):
            raise NotTheApiError(cause, f"it said {quoted(data)}")
    return any(banner.startswith(data) for banner, _ in BANNERS)


def _check_beginning(start: bytes, *, whole: bool) -> None:
    """Raise if a payload's first bytes rule out a message of this API: an integer as text, or a raw message id."""
    digits, nul, _ = start.partition(b"\0")
    undecided = not nul and (not digits or (digits == b"-" and not whole))
    if not (undecided or _is_integer(digits) or _is_raw_id(start, whole=whole)):
        raise NotTheApiError(Cause.MALFORMED, f"a frame that starts with {quoted(start)} instead of a version")


def _is_raw_id(start: bytes, *, whole: bool) -> bool:
    """The payload starts with a message id of four bytes, or may still."""
    if len(start) < LENGTH:
        return not whole and int.from_bytes(start.ljust(LENGTH, b"\0"), "big") <= MAX_MESSAGE_ID
    return 0 < int.from_bytes(start[:LENGTH], "big") <= MAX_MESSAGE_ID


def _is_integer(digits: bytes) -> bool:
    """An optional minus and at most nine ASCII digits (int() would take far more: spaces, underscores, a megabyte)."""
    bare = digits.removeprefix(b"-")
    return 0 < len(bare) <= 9 and bare.isdigit()  # noqa: PLR2004 - 32 bits, as every client reads it
