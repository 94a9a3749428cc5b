"""Reading a file that may be anything: never more than asked for, never waiting for long, whatever the path names."""

import os
import select
import stat
import time
from pathlib import Path

PIPE_SECONDS = 5.0  # for whoever writes into a pipe: `check-config <(decrypt secret.yaml)`
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # to open a pipe without it is to wait for a writer


class NotAFileError(OSError):
    """The path names something that has no text to give: a device, or a pipe that nobody writes to its end."""


def read_bytes(path: Path, most: int, patience: float = PIPE_SECONDS) -> bytes:
    """The first `most` bytes of the file; of a pipe, what comes within `patience` seconds.

    Raises OSError where it cannot be read, NotAFileError where it would never end.
    """
    kind = path.stat().st_mode
    if stat.S_ISREG(kind):
        with path.open("rb") as stream:
            return stream.read(most)
    if stat.S_ISFIFO(kind):
        opened = os.open(path, FLAGS)
        try:
            return _read_pipe(opened, most, time.monotonic() + patience)
        finally:
            os.close(opened)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError
    msg = "this is a device or a socket, not a file"
    raise NotAFileError(msg)


def _read_pipe(opened: int, most: int, until: float) -> bytes:
    """All that is written until the end of the stream. A pipe that nobody has open looks ended, but never readable."""
    taken = bytearray()
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    while len(taken) < most:
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            msg = "this is a pipe that nobody writes to its end"
            raise NotAFileError(msg)
        piece = os.read(opened, most - len(taken))
        if not piece:
            break
        taken += piece
    return bytes(taken)
