"""As much of the protobuf wire format as a scripted server needs: scalars, strings, nested messages. No library.

A field is its key (number * 8 + wire type) and its value. Wire types: 0 a varint, 1 eight bytes, 2 a length and bytes,
5 four bytes. A negative int32 is a varint of ten bytes: it is sign-extended to 64 bits first (docs/facts.md: framings,
the vector of an error with id -1).
"""

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
VARINT_MOST = 10  # bytes of a 64 bit varint
_SKIPPED = {EIGHT_BYTES: 8, FOUR_BYTES: 4}
_64_BITS = (1 << 64) - 1

Field = int | str | bytes


def encode(fields: dict[int, Field]) -> bytes:
    """A message: integers as varints, texts and nested messages with their length in front, in the order given."""
    return b"".join(_field(number, value) for number, value in fields.items())


def decode(data: bytes) -> dict[int, int | bytes]:
    """The varint and bytes fields of a message by number, the last one winning; fixed-width fields are passed over.

    Raises ValueError if the bytes are no such message.
    """
    fields: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            fields[number], at = read_varint(data, at)
            continue
        if kind == BYTES:
            length, at = read_varint(data, at)
        elif kind in _SKIPPED:
            length = _SKIPPED[kind]
        else:
            msg = f"wire type {kind} at byte {at}"
            raise ValueError(msg)
        end = at + length
        if end > len(data):
            msg = f"field {number} is longer than the message"
            raise ValueError(msg)
        if kind == BYTES:
            fields[number] = data[at:end]
        at = end
    return fields


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative value as its 64 bit two's complement."""
    value &= _64_BITS
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - what fits into seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint at `at`, unsigned, and where it ends. Raises ValueError if it does not end."""
    value = 0
    for place, byte in enumerate(data[at : at + VARINT_MOST]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follow
            return value & _64_BITS, at + place + 1
    msg = f"a number without an end at byte {at}"
    raise ValueError(msg)


def signed(value: int) -> int:
    """An unsigned 64 bit varint read as the signed number it stands for."""
    return value - (1 << 64) if value >> 63 else value


def _field(number: int, value: Field) -> bytes:
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(data)) + data
