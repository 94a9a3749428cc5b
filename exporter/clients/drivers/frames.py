"""The bytes of the API as a driver needs them: frames, message ids. Standard library, Python 3.8; no sockets here."""

import re

LARGEST_REPLY = 4096
PROTOBUF = 200  # message ids above this announce protobuf


def sent_id(data):
    """The id of the one message in `data`, as text or as four bytes; None for the hello, -1 for what has no id."""
    if data.startswith(b"API\0"):
        return None
    text, number = data[4:].split(b"\0", 1)[0], int.from_bytes(data[4:8], "big")
    if text.isdigit():
        return int(text)
    if len(data) < 8 or text:
        return -1
    return number - PROTOBUF if number > PROTOBUF else number


def complete_frames(head):
    """The fields of each complete frame."""
    while len(head) >= 4:
        end = 4 + int.from_bytes(head[:4], "big")
        if len(head) < end:
            return
        fields = bytes(head[4:end]).split(b"\0")
        yield fields[:-1] if not fields[-1] else fields
        head = head[end:]


def error_in(fields):
    """The code and the text of an error in text; (0, b"") if the frame is none.

    The fields are 4, 2, request, code, text; from server version 194 on the 2 is not there.
    """
    if len(fields) < 3 or fields[0] != b"4":
        return 0, b""
    rest = fields[2:] if len(fields) > 4 and fields[1] == b"2" and fields[3].isdigit() else fields[1:]
    return (int(rest[1]), rest[2] if len(rest) > 2 else b"") if rest[1].isdigit() else (0, b"")


def is_foreign(head):
    """Whether the bytes rule out a reply to the hello, whatever may follow."""
    if len(head) >= 4 and int.from_bytes(head[:4], "big") > LARGEST_REPLY:
        return True
    return re.fullmatch(b"-?[0-9]{0,9}", head[4:].split(b"\0", 1)[0]) is None


def quoted(data, most=48):
    """Bytes as short printable text."""
    return '"%s"' % bytes(data[:most]).decode("latin-1").encode("unicode_escape").decode("ascii")
