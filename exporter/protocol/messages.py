"""The messages of a session: the requests that we send and the few answers that we read. Bytes and values, no I/O.

Which framing a request has depends on the negotiated version, request by request (docs/facts.md: framings; the bytes
of each were captured):

    request             up to 200            201 to 212              213 on
    startApi            71, 2, id, options   raw id 71, same texts   protobuf: 1 client id
    reqCurrentTime      49, 1                raw id 49, 1            protobuf: empty

An answer names its own framing from 201 on: a raw id above 200 is protobuf of the id less 200. What cannot be read is
a value too, for the gateway's faults are no exceptions.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from exporter.protocol import protobuf, settings
from exporter.protocol.protobuf import Fields
from exporter.protocol.settings import GatewayConfig
from exporter.protocol.wire import (
    LENGTH,
    MAX_MESSAGE,
    PROTOBUF_FROM,
    PROTOBUF_OFFSET,
    RAW_IDS_FROM,
    Answer,
    Request,
    frame,
)

KNOWN_VERSION = 226  # the highest server version whose messages we know
MAX_READ = 256 * 1024  # bytes; the accounts of an adviser with 20,000 clients. A longer message is passed over unread
MAX_TEXT = 500  # characters of an error's text
UNPRINTABLE = "?"  # for an account whose characters must not reach a terminal
ERROR_VERSION_FIELD_UNTIL = 194  # from here on a text error has no version field

_INTEGER = re.compile(rb"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class NextValidId:
    """The first order id that this client could use: the gateway has accepted the session."""

    order_id: int


@dataclass(frozen=True, slots=True)
class ManagedAccounts:
    """The accounts of the gateway's login."""

    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CurrentTime:
    """The gateway's clock in whole unix seconds."""

    seconds: int


@dataclass(frozen=True, slots=True)
class ApiError:
    """An error, warning or notice. `request` is -1 where it belongs to none. No rule reads `text`, only names in it."""

    request: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Other:
    """A message of which nothing is read but its id."""

    id: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that we should know and could not read. `final`: nothing after it can be read either."""

    reason: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class ConfigMessage:
    """The gateway's settings, in answer to reqConfig."""

    config: GatewayConfig


Message = NextValidId | ManagedAccounts | CurrentTime | ApiError | Unreadable | ConfigMessage | Other


def start_api(version: int, client_id: int) -> bytes:
    """Begin a session as this client. Raises ValueError for id 0, which would bind the orders placed by hand."""
    if client_id < 1:
        msg = f"no session of ours has the client id {client_id}"
        raise ValueError(msg)
    return _request(version, Request.START_API, (b"2", str(client_id).encode(), b""), protobuf.encode({1: client_id}))


def request_current_time(version: int) -> bytes:
    """Ask for the gateway's clock, at most once in 1.1 s: sooner it is ignored (docs/facts.md: messages)."""
    return _request(version, Request.REQ_CURRENT_TIME, (b"1",), b"")


class Inbox:
    """Takes the bytes of one session, in whatever pieces they come, and gives the messages that are complete.

    Holds less than MAX_READ and one piece; a longer message passes through without being kept, an impossible length
    ends the reading. Never raises for what the peer sent.
    """

    def __init__(self, version: int) -> None:
        """Nothing has come yet in a session at this server version."""
        self._version = version
        self._held = bytearray()
        self._passing = 0  # bytes still to come of a message that is not kept
        self._final = False

    @property
    def unfinished(self) -> bool:
        """Part of a message has come."""
        return bool(self._held or self._passing)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete."""
        if self._final:
            return []
        messages: list[Message] = []
        self._held += data
        while (part := self._next()) is not None:
            messages.append(part if isinstance(part, Unreadable) else read_message(part, self._version))
        return messages

    def _next(self) -> bytes | Unreadable | None:
        """The next whole payload, cut off what is held; None while it is incomplete."""
        while True:
            passed = min(self._passing, len(self._held))
            del self._held[:passed]
            self._passing -= passed
            if self._passing or len(self._held) < LENGTH:
                return None
            length = int.from_bytes(self._held[:LENGTH], "big")
            end = LENGTH + length
            if length > MAX_MESSAGE:
                self._final = True
                self._held.clear()
                return Unreadable("a length that no message of this API has", final=True)
            if length <= MAX_READ:
                break
            self._passing = end
        if len(self._held) < end:
            return None
        payload = bytes(self._held[LENGTH:end])
        del self._held[:end]
        return payload


def read_message(payload: bytes, version: int) -> Message:
    """The message in one frame."""
    try:
        if version < RAW_IDS_FROM:
            number, _, body = payload.partition(b"\0")
            return _from_text(_integer(number), body, version)
        if len(payload) < LENGTH:
            return Unreadable("a frame too short for a message id")
        identity, body = int.from_bytes(payload[:LENGTH], "big"), payload[LENGTH:]
        if identity > PROTOBUF_OFFSET:
            return _from_protobuf(identity - PROTOBUF_OFFSET, body)
        return _from_text(identity, body, version)
    except ValueError as error:
        return Unreadable(str(error))


def read_error(payload: bytes) -> ApiError | None:
    """The error in a frame of which the version is not known yet, in any of the three framings; None if it is none."""
    try:
        if payload[:1] != b"\0":
            number, _, body = payload.partition(b"\0")
            return _error_from_text(body.split(b"\0"), 0) if number == b"%d" % Answer.ERROR else None
        identity, body = int.from_bytes(payload[:LENGTH], "big"), payload[LENGTH:]
        if identity == Answer.ERROR:
            return _error_from_text(body.split(b"\0"), ERROR_VERSION_FIELD_UNTIL)
        if identity == Answer.ERROR + PROTOBUF_OFFSET:
            return _error_from_protobuf(protobuf.decode(body))
    except ValueError:
        pass
    return None


def _request(version: int, request: Request, texts: Sequence[bytes], body: bytes) -> bytes:
    if version >= PROTOBUF_FROM:
        return frame((request + PROTOBUF_OFFSET).to_bytes(LENGTH, "big") + body)
    fields = b"".join(text + b"\0" for text in texts)
    if version >= RAW_IDS_FROM:
        return frame(request.to_bytes(LENGTH, "big") + fields)
    return frame(b"%d\0" % request + fields)


# --- text


def _from_text(identity: int, body: bytes, version: int) -> Message:
    if identity == Answer.ERROR:
        return _error_from_text(body.split(b"\0"), version)
    make = _OF_TEXT.get(identity)
    if make is None:
        return Other(identity)
    fields = body.split(b"\0", 2)
    if len(fields) < 2:  # noqa: PLR2004 - the message's own version, then its one value
        msg = f"message {identity} without a value"
        raise ValueError(msg)
    return make(fields[1])


def _error_from_text(fields: Sequence[bytes], version: int) -> ApiError:
    """`2, request, code, text` before server version 194, `request, code, text` from there on; read by what fits."""
    layouts = (0, 1) if version >= ERROR_VERSION_FIELD_UNTIL else (1, 0)
    for first in layouts:
        request, code, text = (*fields[first : first + 3], b"", b"", b"")[:3]
        if _INTEGER.fullmatch(request) and _INTEGER.fullmatch(code) and int(code) > 0 and len(fields) > first + 2:
            return ApiError(int(request), int(code), _text(text))
    msg = "an error of an unknown layout"
    raise ValueError(msg)


def _integer(digits: bytes) -> int:
    if not _INTEGER.fullmatch(digits):
        msg = "a text where a number belongs"
        raise ValueError(msg)
    return int(digits)


def _text(data: bytes) -> str:
    return data[: 4 * MAX_TEXT].decode("utf-8", "replace")[:MAX_TEXT]


def _accounts(listed: bytes) -> ManagedAccounts:
    """A comma list, with or without a comma at its end. A name that is not printable becomes `?`."""
    names = (name.strip() for name in listed.decode("latin-1").split(","))
    return ManagedAccounts(tuple(name if name.isprintable() else UNPRINTABLE for name in names if name))


_OF_TEXT: Mapping[int, Callable[[bytes], Message]] = {
    Answer.NEXT_VALID_ID: lambda field: NextValidId(_integer(field)),
    Answer.MANAGED_ACCOUNTS: _accounts,
    Answer.CURRENT_TIME: lambda field: CurrentTime(_integer(field)),
}


# --- protobuf


def _from_protobuf(identity: int, body: bytes) -> Message:
    if identity == settings.RESPONSE:
        return ConfigMessage(settings.read_response(body))
    make = _OF_PROTOBUF.get(identity)
    return Other(identity) if make is None else make(protobuf.decode(body))


def _error_from_protobuf(fields: Fields) -> ApiError:
    return ApiError(protobuf.integer(fields, 1), protobuf.integer(fields, 3), _text(protobuf.data(fields, 4)))


_OF_PROTOBUF: Mapping[int, Callable[[Fields], Message]] = {
    Answer.ERROR: _error_from_protobuf,
    Answer.NEXT_VALID_ID: lambda fields: NextValidId(protobuf.integer(fields, 1)),
    Answer.MANAGED_ACCOUNTS: lambda fields: _accounts(protobuf.data(fields, 1)),
    Answer.CURRENT_TIME: lambda fields: CurrentTime(protobuf.integer(fields, 1)),
}
