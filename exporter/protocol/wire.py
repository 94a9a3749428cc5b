r"""The framing of the TWS API: bytes to payloads and back. No sockets here, no clock.

A message is a length of four bytes, big endian, and so many bytes of payload. The negotiated version chooses one of
three framings for the payload:

    up to 200   "ID\0FIELD\0..."                    text
    201..212    four-byte ID + "FIELD\0..."          raw ids
    213 on      four-byte ID + 200, then protobuf     protobuf, message by message: startApi, reqCurrentTime, reqIds
"""

from enum import IntEnum

LENGTH = 4  # bytes of a length prefix, and of a raw message id
MAX_MESSAGE = 0xFFFFFF  # ibapi's own MAX_MSG_LEN
MAX_SHOWN = 200  # characters of a peer's text in evidence
RAW_IDS_FROM = 201
PROTOBUF_FROM = 213
PROTOBUF_OFFSET = 200  # message ids above this announce protobuf


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


def frame(payload: bytes) -> bytes:
    """The payload with its length in front."""
    return len(payload).to_bytes(LENGTH, "big") + payload


def split_frame(data: bytes, limit: int = MAX_MESSAGE) -> tuple[bytes, bytes] | None:
    """The first whole payload in `data` and the bytes after it; None while it is incomplete.

    Raises ValueError as soon as the length prefix exceeds `limit`, and does not wait for bytes that never come.
    """
    if len(data) < LENGTH:
        return None
    length = int.from_bytes(data[:LENGTH], "big")
    if length > limit:
        msg = f"a length of {length} bytes where at most {limit} are possible"
        raise ValueError(msg)
    end = LENGTH + length
    return (data[LENGTH:end], data[end:]) if len(data) >= end else None


def quoted(data: bytes, most: int = 48) -> str:
    """Bytes of a peer, short and printable, for evidence."""
    text = data[:most].decode("latin-1").encode("unicode_escape").decode("ascii")
    return f'"{text}"' + (f" and {len(data) - most} bytes more" if len(data) > most else "")


def shortened(text: str) -> str:
    """A peer's text, short and escaped, for evidence."""
    return text[:MAX_SHOWN].encode("unicode_escape").decode("ascii")
