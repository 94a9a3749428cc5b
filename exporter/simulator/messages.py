"""The server's side of the protocol: what a TWS reads and sends, in the three framings. Bytes to values, no I/O.

The framing of a message depends on the negotiated version, message by message (docs/facts.md: framings; the
thresholds are those at which ibapi 10.37.2 to 10.51.1 ask in protobuf, and the answers follow the requests):

    message                 up to 200    201 to ...   protobuf from
    error                   text         raw id       203
    contract details        text         raw id       205
    managed accounts        text         raw id       207
    next valid id           text         raw id       213
    current time            text         raw id       213

Clients decode either framing from 201 on: a raw id above 200 announces protobuf.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.protocol import protobuf
from exporter.protocol.wire import LENGTH, PROTOBUF_OFFSET, RAW_IDS_FROM, Answer, frame, split_frame

SIGNATURE = b"API\0"
MAX_HELLO = 4096  # bytes; connect options are a few words
MAX_REQUEST = 64 * 1024  # bytes; the longest honest request is a few hundred
ERROR_VERSION_FIELD_UNTIL = 194  # from here on an error carries its time, and no longer a version field
ADVANCED_REJECT_FROM = 166
NEVER = 2**31  # a server version that does not come
NO_REQUEST = -1  # the id of an error that belongs to no request

_HELLO = re.compile(rb"v(\d{1,9})\.\.(\d{1,9})(?: (.*))?", re.DOTALL)


# The first server version at which each message is protobuf; those that are not here stay text.
PROTOBUF_FROM: Mapping[int, int] = {
    **dict.fromkeys((11, 59, 55), 201),  # executions, commissions, their end
    Answer.ERROR: 203,
    **dict.fromkeys((5, 3, 53, 101, 102), 204),  # open and completed orders, their ends
    Answer.CONTRACT_DETAILS: 205,
    Answer.CONTRACT_DETAILS_END: 205,
    Answer.MANAGED_ACCOUNTS: 207,
    **dict.fromkeys((6, 7, 8, 54, 61, 62, 63, 64, 73, 74), 207),  # account values, positions, summary, their ends
    Answer.NEXT_VALID_ID: 213,
    Answer.CURRENT_TIME: 213,
}


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers: a range of versions, and its connect options as text (mostly empty)."""

    minimum: int
    maximum: int
    options: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a client. `fields` holds the texts after the id, or `body` the protobuf message."""

    id: int
    fields: tuple[str, ...] = ()
    body: bytes | None = None


def read_hello(data: bytes) -> tuple[ClientHello, bytes] | None:
    """The hello at the start of `data` and what follows it; None while it is incomplete.

    Raises ValueError as soon as it cannot become one.
    """
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        msg = f"{data[:16]!r} is not the start of a hello"
        raise ValueError(msg)
    split = split_frame(data[len(SIGNATURE) :], MAX_HELLO)
    if split is None:
        return None
    payload, rest = split
    match = _HELLO.fullmatch(payload)
    if match is None:
        msg = f"{payload[:32]!r} is no range of versions"
        raise ValueError(msg)
    return ClientHello(int(match[1]), int(match[2]), (match[3] or b"").decode("latin-1")), rest


def read_message(payload: bytes, version: int) -> Message:
    """The message in one frame of a client. Raises ValueError if it has no id."""
    if version < RAW_IDS_FROM:
        number, *fields = _texts(payload)
        if not number.isascii() or not number.isdigit() or len(number) > 9:  # noqa: PLR2004 - 32 bits
            msg = f"{payload[:16]!r} does not start with a message id"
            raise ValueError(msg)
        return Message(int(number), tuple(fields))
    if len(payload) < LENGTH:
        msg = f"{payload!r} is too short for a message id"
        raise ValueError(msg)
    identity, body = int.from_bytes(payload[:LENGTH], "big"), payload[LENGTH:]
    if identity > PROTOBUF_OFFSET:
        return Message(identity - PROTOBUF_OFFSET, body=body)
    return Message(identity, tuple(_texts(body)))


def integer(message: Message, place: int, number: int) -> int:
    """An integer of a message: the text field at `place`, or the protobuf field `number`; absent or empty it is 0.

    Raises ValueError if it is something else.
    """
    if message.body is not None:
        return protobuf.integer(protobuf.decode(message.body), number)
    return int(text(message, place, number)[:20] or 0)


def text(message: Message, place: int, number: int) -> str:
    """A text of a message: the field at `place`, or the protobuf field `number`; absent it is empty.

    Raises ValueError if the message is no protobuf.
    """
    if message.body is not None:
        value = protobuf.decode(message.body).get(number, b"")
        return value.decode("latin-1") if isinstance(value, bytes) else ""
    return message.fields[place] if place < len(message.fields) else ""


def client_id(message: Message) -> int:
    """The client id in a startApi: its second text field, after the version 2, or protobuf field 1."""
    return integer(message, 1, 1)


def reply(version: int, time_text: str) -> bytes:
    """The answer to the hello."""
    return frame(f"{version}\0{time_text}\0".encode("latin-1", "replace"))


def say(version: int, answer: int, texts: Sequence[object], fields: Mapping[int, protobuf.Field]) -> bytes:
    """One framed message to a client at this version: `texts` in the older framings, `fields` in protobuf."""
    if version >= PROTOBUF_FROM.get(answer, NEVER):
        return frame((answer + PROTOBUF_OFFSET).to_bytes(LENGTH, "big") + protobuf.encode(fields))
    body = "".join(f"{entry}\0" for entry in texts).encode("latin-1", "replace")
    if version >= RAW_IDS_FROM:
        return frame(answer.to_bytes(LENGTH, "big") + body)
    return frame(f"{int(answer)}\0".encode() + body)


def managed_accounts(version: int, accounts: Sequence[str]) -> bytes:
    """The accounts of this login. In text: version 1, then a comma list."""
    listed = ",".join(accounts)
    return say(version, Answer.MANAGED_ACCOUNTS, (1, listed), {1: listed})


def next_valid_id(version: int, order_id: int) -> bytes:
    """The first order id that the client may use."""
    return say(version, Answer.NEXT_VALID_ID, (1, order_id), {1: order_id})


def current_time(version: int, seconds: int) -> bytes:
    """The gateway's clock, in unix seconds."""
    return say(version, Answer.CURRENT_TIME, (1, seconds), {1: seconds})


def error(version: int, request: int, code: int, words: str, at_ms: int) -> bytes:
    """An error, warning or notice; `request` is -1 for those that belong to none, `at_ms` unix milliseconds."""
    texts: tuple[object, ...] = (request, code, words)
    if version >= ERROR_VERSION_FIELD_UNTIL:
        texts = (*texts, "", at_ms)
    else:
        texts = (2, *texts, "") if version >= ADVANCED_REJECT_FROM else (2, *texts)
    return say(version, Answer.ERROR, texts, {1: request, 2: at_ms, 3: code, 4: words})


def malformed_error(version: int) -> bytes:
    """An error in text whose code is empty."""
    fields = b"-1\0\0a text\0" if version >= ERROR_VERSION_FIELD_UNTIL else b"2\0-1\0\0a text\0"
    return frame((Answer.ERROR.to_bytes(LENGTH, "big") if version >= RAW_IDS_FROM else b"4\0") + fields)


def _texts(body: bytes) -> list[str]:
    """The zero-terminated texts of a body; one without its terminator counts too."""
    texts = body.decode("latin-1").split("\0")
    return texts[:-1] if texts[-1] == "" and len(texts) > 1 else texts
