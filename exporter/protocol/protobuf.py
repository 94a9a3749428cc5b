"""As much of the protobuf wire format as the few messages of a session need: varints and bytes. No library, no I/O.

A field is its key (number * 8 + wire type) and its value. Wire types: 0 a varint, 1 eight bytes, 2 a length and bytes,
5 four bytes. A negative int32 is a varint of ten bytes: it is sign-extended to 64 bits first (docs/facts.md: framings,
the vector of an error with id -1).
"""

from collections.abc import Mapping

VARINT, BYTES = 0, 2
FIXED = {1: 8, 5: 4}  # wire types of a fixed width, in bytes
VARINT_MOST = 10  # bytes of 64 bits, seven a byte

_64_BITS = (1 << 64) - 1

Fields = Mapping[int, int | bytes]  # of one message, by number


def fields(message: bytes) -> Fields:
    """The varint and bytes fields by number, the last one winning; those of a fixed width are passed over.

    Raises ValueError if the bytes are no such message.
    """
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            found[number], at = _read_varint(message, at)
            continue
        if kind == BYTES:
            length, at = _read_varint(message, at)
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
            found[number] = message[at:end]
        at = end
    return found


def whole(values: Fields, number: int) -> int:
    """A signed integer; absent it is 0. Raises ValueError if the field is bytes."""
    value = values.get(number, 0)
    if not isinstance(value, int):
        msg = f"protobuf field {number} is no number"
        raise ValueError(msg)  # noqa: TRY004 - what a peer sends is a bad value, not a bad call
    return value - (1 << 64) if value >> 63 else value


def data(values: Fields, number: int) -> bytes:
    """The bytes of a text; absent it is empty. Raises ValueError if the field is a number."""
    value = values.get(number, b"")
    if not isinstance(value, bytes):
        msg = f"protobuf field {number} is no text"
        raise ValueError(msg)  # noqa: TRY004 - as above
    return value


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first. For what is not negative."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - what fits into seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """The varint at `at`, unsigned, and where it ends."""
    value = 0
    for place, byte in enumerate(message[at : at + VARINT_MOST]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follow
            return value & _64_BITS, at + place + 1
    msg = "a protobuf number without an end"
    raise ValueError(msg)
