"""Follow a gateway's launcher.log: through growth, rotation, truncation and absence, in bounded memory and time.

    launcher.log               the file that is configured
    launcher.<8 digits>.log    where the gateway moves it when it begins a new one

At most MOST bytes are read in one look: of a long log, or of what was written since the last look, the end. Nothing but
a regular file is opened. `look` waits for the disk; `Follower` has it done in a thread.
"""

import asyncio
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.protocol.launcher_log import Login, LogProblem, follow, unreadable

MOST = 256 * 1024  # bytes; idling writes some 30 KB a day
TRACE = 64  # bytes before a place, by which the file is recognised
PATIENCE = 1.0  # seconds that a tick waits for the disk
# Never wait for the other end of a pipe; Windows knows none of these.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)

NOTHING = Login()

Identity = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class Place:
    """How far a log has been read, and the login as it is known from that.

    `trace` are the last bytes before `offset`: if others stand there now, the file was written anew. `absent`: it was
    missing at the last look; once is no problem yet, because a rotation looks like that.
    """

    path: Path
    login: Login = NOTHING
    identity: Identity | None = None
    offset: int = 0
    trace: bytes = b""
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read of a file: whole lines, when the file was last changed, and the place after the lines."""

    lines: list[bytes]
    changed: float
    identity: Identity
    offset: int
    trace: bytes


Look = Callable[[Place], Place]


class NotAFileError(OSError):
    """A directory, a pipe, a device."""


def read_tail(place: Place) -> Place:
    """Read what is new. What the file is or is not raises nothing: it is in the login's `problem`."""
    try:
        return _advanced(place)
    except FileNotFoundError:
        if place.identity is not None and not place.absent:
            return replace(place, absent=True)
        problem = LogProblem.MISSING
    except NotAFileError:
        problem = LogProblem.NOT_A_FILE
    except PermissionError:
        problem = LogProblem.FORBIDDEN
    except (OSError, ValueError):  # ValueError: a path that no system call takes
        problem = LogProblem.UNREADABLE
    return Place(place.path, unreadable(place.login, problem))


class LogFollower:
    """Follows one log, a look at each tick. A look that hangs costs one thread, and one tick PATIENCE seconds."""

    def __init__(self, path: str, patience: float = PATIENCE, read_tail: Look = read_tail) -> None:
        """Open nothing yet."""
        self._place = Place(Path(path))
        self._patience = patience
        self._look = read_tail
        self._looking: asyncio.Future[Place] | None = None
        self._hung = False

    async def login(self) -> Login:
        """The login as the log tells it now. There are never two looks; for one that has hung before nobody waits."""
        if self._looking is None:
            self._looking = _in_thread(self._look, self._place)
        looking = self._looking
        await asyncio.wait({looking}, timeout=0.0 if self._hung else self._patience)
        self._hung = not looking.done()
        if self._hung:
            return unreadable(self._place.login, LogProblem.STUCK)
        self._looking = None
        self._place = looking.result()
        return self._place.login


async def read_login(path: str | None) -> Login | None:
    """The login as the log tells it, for one look; None without a path."""
    return None if path is None else await LogFollower(path).login()


def _in_thread(read_tail: Look, place: Place) -> asyncio.Future[Place]:
    """A look in a thread of its own, which may be left behind: a dead network mount cannot be told to give up."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Place] = loop.create_future()

    def settle(found: Place | Exception) -> None:
        if answer.done():  # cancelled
            return
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def run() -> None:
        try:
            found: Place | Exception = read_tail(place)
        except Exception as error:  # noqa: BLE001 - our own fault; whoever waits gets it
            found = error
        with suppress(RuntimeError):  # the loop has been closed: nobody asks any more
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=run, name=f"look at {place.path}", daemon=True).start()
    return answer


def _advanced(place: Place) -> Place:
    found = place.path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise NotAFileError
    same = place.identity == _identity(found)
    if same and found.st_size == place.offset:
        return replace(place, absent=False)
    login, piece = place.login, _rest(place.path, place) if same else None
    if piece is None:  # another file, or this one written anew
        login, piece = _finished(place), _end(place.path)
    login = follow(login, piece.lines, piece.changed)
    return Place(place.path, login, piece.identity, piece.offset, piece.trace)


def _finished(place: Place) -> Login:
    """The login after the rest of the log that was moved away, and after the newest of those moved away since.

    Where none was read before, the newest alone counts.
    """
    login = place.login
    with suppress(OSError):  # moved or removed meanwhile: then the new log alone must do
        rotated = sorted(_rotated(place.path), key=lambda entry: (entry.stat().st_mtime, entry.name))
        ours = next((index for index, entry in enumerate(rotated) if _identity(entry.stat()) == place.identity), None)
        pieces = []
        if ours is not None:
            path = Path(rotated[ours].path)
            pieces.append(_rest(path, place) or _end(path))
        if place.identity is None or ours is not None:
            pieces += [_end(Path(entry.path)) for entry in rotated[0 if ours is None else ours + 1 :][-1:]]
        for piece in pieces:
            login = follow(login, piece.lines, piece.changed)
    return login


def _rotated(path: Path) -> list[os.DirEntry[str]]:
    name = re.compile(re.escape(path.stem) + r"\.[0-9]{8}" + re.escape(path.suffix))
    with os.scandir(path.parent) as entries:
        return [entry for entry in entries if name.fullmatch(entry.name) and entry.is_file()]


def _rest(path: Path, place: Place) -> Piece | None:
    """What follows the place; None if the file was written anew since then."""
    with _opened(path) as (descriptor, found):
        before = os.pread(descriptor, len(place.trace), place.offset - len(place.trace))
        return _piece(descriptor, found, place.offset) if before == place.trace else None


def _end(path: Path) -> Piece:
    """The end of the file, or all of it."""
    with _opened(path) as (descriptor, found):
        return _piece(descriptor, found, 0)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    descriptor = os.open(path, FLAGS)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):  # it was one a moment ago
            raise NotAFileError
        yield descriptor, found
    finally:
        os.close(descriptor)


def _piece(descriptor: int, found: os.stat_result, offset: int) -> Piece:
    """The whole lines from `offset` on, or only the last MOST bytes of that.

    A last line without its end is left for the next look, unless it fills all that may be read.
    """
    start = max(offset, found.st_size - MOST)
    before = os.pread(descriptor, min(start, TRACE), start - min(start, TRACE))
    data = os.pread(descriptor, max(0, found.st_size - start), start)
    whole = data.rfind(b"\n") + 1
    if not whole and len(data) == MOST:
        whole = len(data)
    lines = data[:whole].split(b"\n")[:-1]
    torn = start > 0 and not before.endswith(b"\n")  # the first is the end of a line that began before
    return Piece(
        lines=lines[1:] if torn else lines,
        changed=found.st_mtime,
        identity=_identity(found),
        offset=start + whole,
        trace=(before + data[:whole])[-TRACE:],
    )


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino
