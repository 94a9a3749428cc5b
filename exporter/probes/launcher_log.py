"""Read the end of a gateway's launcher.log at each tick, in bounded memory and time.

    launcher.log               the file that is configured
    launcher.<8 digits>.log    where the gateway moves it when it begins a new one

The login is what the last MOST bytes say. While the file is shorter than that, the end of the newest rotated one counts
as what came before it. A file that has not changed is not read again. Only regular files are opened. `read_log` waits
for the disk; `LogFollower` calls it in a thread.
"""

import asyncio
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exporter.probes.threads import in_daemon_thread
from exporter.protocol.launcher_log import Login, LogProblem, follow, unreadable

MOST = 256 * 1024  # bytes; idling writes some 30 KB a day
PATIENCE = 1.0  # seconds that a tick waits for the disk
# Never wait for the other end of a pipe; Windows knows none of these.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The login by one version of the file: device, inode, size and time of change; None: it could not be read."""

    login: Login
    version: tuple[int, int, int, int] | None = None


NOTHING = Snapshot(Login())

ReadLog = Callable[[Path, Snapshot], Snapshot]


class NotRegularError(OSError):
    """A directory, a pipe, a device."""


def read_log(path: Path, before: Snapshot = NOTHING) -> Snapshot:
    """The login as the log says it now. `before` saves the reading where the file is unchanged.

    Raises nothing for what the file is or is not: that is the login's `problem`.
    """
    try:
        return _read(path, before)
    except FileNotFoundError:
        problem = LogProblem.MISSING
    except NotRegularError:
        problem = LogProblem.NOT_A_FILE
    except PermissionError:
        problem = LogProblem.FORBIDDEN
    except (OSError, ValueError):  # ValueError: a path that no system call takes
        problem = LogProblem.UNREADABLE
    return Snapshot(unreadable(before.login, problem))


class LogFollower:
    """Reads one log at each tick. A read that hangs costs one thread, and one tick PATIENCE seconds."""

    def __init__(self, path: str, patience: float = PATIENCE, read: ReadLog = read_log) -> None:
        self._path = Path(path)
        self._snapshot = NOTHING
        self._patience = patience
        self._read = read
        self._reading: asyncio.Future[Snapshot] | None = None
        self._hung = False

    async def login(self) -> Login:
        """The login as the log says it now. One read runs at a time; a tick waits only if the last did not hang."""
        if self._reading is None:
            path, before, read = self._path, self._snapshot, self._read
            self._reading = in_daemon_thread(lambda: read(path, before), f"read {path}")
        reading = self._reading
        await asyncio.wait({reading}, timeout=0.0 if self._hung else self._patience)
        self._hung = not reading.done()
        if self._hung:
            return unreadable(self._snapshot.login, LogProblem.STUCK)
        self._reading = None
        self._snapshot = reading.result()
        return self._snapshot.login


async def read_login(path: str | None) -> Login | None:
    """The login as the log says it, read once; None without a path."""
    return None if path is None else await LogFollower(path).login()


def _read(path: Path, before: Snapshot) -> Snapshot:
    try:
        status = path.stat()
    except FileNotFoundError:
        rotated = _rotated_login(path)
        if rotated is None:
            raise
        return Snapshot(rotated)  # the gateway is about to begin a new one
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError
    version = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    if version == before.version:
        return before
    login = _rotated_login(path) if status.st_size < MOST else None
    return Snapshot(_followed(login or Login(), path), version)


def _rotated_login(path: Path) -> Login | None:
    """The login at the end of the newest rotated log; None where there is none that can be read."""
    name = re.compile(re.escape(path.stem) + r"\.[0-9]{8}" + re.escape(path.suffix))
    with suppress(OSError), os.scandir(path.parent) as entries:
        rotated = [entry for entry in entries if name.fullmatch(entry.name) and entry.is_file()]
        newest = max(rotated, key=lambda entry: (entry.stat().st_mtime, entry.name), default=None)
        return None if newest is None else _followed(Login(), Path(newest.path))
    return None


def _followed(login: Login, path: Path) -> Login:
    """The login after the lines at the end of this file. A last line without its end waits for the next read."""
    descriptor = os.open(path, FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):  # it was one a moment ago
            raise NotRegularError
        start = max(0, status.st_size - MOST)
        data = os.pread(descriptor, MOST, start)
    finally:
        os.close(descriptor)
    lines = data.split(b"\n")[:-1]
    return follow(login, lines[1:] if start else lines, status.st_mtime)  # the first of a long file is cut
