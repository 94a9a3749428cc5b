"""The part of the protobuf wire format that the API's messages need: scalars, texts, nested messages. No I/O.

A field is its key (number * 8 + wire type) and its value. Wire types: 0 a varint, 1 eight bytes, 2 a length and bytes,
5 four bytes. A negative int32 is a varint of ten bytes: it is sign-extended to 64 bits first (docs/facts.md: framings,
the vector of an error with id -1).
"""

import struct
from collections.abc import Iterator, Mapping

VARINT, DOUBLE, BYTES = 0, 1, 2
FIXED = {1: 8, 5: 4}  # wire types of a fixed width, in bytes
MAX_VARINT = 10  # bytes of 64 bits, seven a byte

_64_BITS = (1 << 64) - 1

Field = int | float | str | bytes  # of a message to be written
Fields = Mapping[int, int | bytes]  # of a message that was read, by number


def encode(fields: Mapping[int, Field]) -> bytes:
    """A message in the order given: integers as varints, floats as doubles, texts and messages with their length."""
    return b"".join(_field(number, value) for number, value in fields.items())


def decode(message: bytes) -> Fields:
    """The varint and bytes fields by number; the last one wins, and those of a fixed width are left out.

    Raises ValueError if the bytes are no such message.
    """
    return dict(_read_fields(message))


def occurrences(message: bytes, number: int) -> int:
    """How often a field occurs. Raises ValueError if the bytes are no message."""
    return sum(1 for field, _ in _read_fields(message) if field == number)


def every(message: bytes, number: int) -> Iterator[bytes]:
    """Yield the bytes of each occurrence of a field. Raises ValueError if the bytes are no message."""
    return (value for field, value in _read_fields(message) if field == number and isinstance(value, bytes))


def _read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        key, at = read_varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = read_varint(message, at)
            yield number, value
            continue
        if kind == BYTES:
            length, at = read_varint(message, at)
        elif kind in FIXED:
            length = FIXED[kind]
        else:
            msg = f"an unknown protobuf wire type {kind}"
            raise ValueError(msg)
        end = at + length
        if end > len(message):
            msg = "a protobuf field longer than its message"
            raise ValueError(msg)
        if kind == BYTES:
            yield number, message[at:end]
        at = end


def integer(fields: Fields, number: int) -> int:
    """A signed integer; absent it is 0. Raises ValueError if the field is bytes."""
    value = fields.get(number, 0)
    if not isinstance(value, int):
        msg = f"protobuf field {number} is no number"
        raise ValueError(msg)  # noqa: TRY004 - what a peer sends is a bad value, not a bad call
    return value - (1 << 64) if value >> 63 else value


def data(fields: Fields, number: int) -> bytes:
    """The bytes of a text or a nested message; absent it is empty. Raises ValueError if the field is a number."""
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        msg = f"protobuf field {number} is no text"
        raise ValueError(msg)  # noqa: TRY004 - as above
    return value


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative value as its 64 bit two's complement."""
    value &= _64_BITS
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - what fits into seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def read_varint(message: bytes, at: int) -> tuple[int, int]:
    """The varint at `at`, unsigned, and where it ends. Raises ValueError if it does not end."""
    value = 0
    for place, byte in enumerate(message[at : at + MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follow
            return value & _64_BITS, at + place + 1
    msg = "a protobuf number without an end"
    raise ValueError(msg)


def _field(number: int, value: Field) -> bytes:
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | DOUBLE) + struct.pack("<d", value)
    payload = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(payload)) + payload
