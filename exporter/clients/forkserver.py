"""The process that has imported a library and is copied for each probe: started, asked, listened to, ended.

What it and we say to each other stands in drivers/serve.py. One Unix socket carries it, with the descriptors of a
probe's pipes; when that socket closes, by our death too, the fork_server kills its copies and ends.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.clients.driver_result import describe_status, last_lines, read_line
from exporter.clients.libraries import RUNNER, Library
from exporter.clients.pipes import CHUNK, Lines, Pipe, Tail

CAN_FORK = hasattr(os, "fork") and hasattr(socket, "AF_UNIX") and not sys.platform.startswith("win")
GRACE = 1.0  # seconds for an ordinary answer of a process of ours
# What a foreign interpreter needs to start. Our own settings and secrets are none of a library's business.
ENVIRONMENT = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "PATH",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "TZ",
    "USERPROFILE",
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What a client turned out to be: the library's version, its Python, and what its import took.

    `copied`: imported once and copied for each probe; otherwise it is imported anew each time.
    """

    library: str
    version: str
    python: str
    import_seconds: float
    copied: bool


class UnusableError(Exception):
    """The interpreter does not start or the library does not import. Says nothing about any target."""


class ForkServer:
    """One started process and the questions that are open with it."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket, noise: Pipe, tail: Tail) -> None:
        """Made by `start_fork_server`."""
        self.process = process
        self.tail = tail
        self.alive = True
        self.hello: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._channel = channel
        self._noise = noise
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._pids: dict[int, int] = {}
        self._lines = Lines(self._hear, self._lose)
        asyncio.get_running_loop().add_reader(channel, self._read)

    def ask(self, number: int, request: Mapping[str, Any], lines: int, noise: int) -> None:
        """Start probe `number`, its lines and its noise going to these descriptors. Raises OSError if it is gone."""
        message = json.dumps({"probe": number, **request}).encode() + b"\n"
        socket.send_fds(self._channel, [message], [lines, noise])

    async def reap(self, number: int) -> Mapping[str, Any]:
        """End probe `number` and all its children. Returns {"status", "cpu", "strays"}, or {} if it is gone."""
        future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._channel.send(json.dumps({"reap": number}).encode() + b"\n")
            async with asyncio.timeout(GRACE):
                return await future
        except (OSError, TimeoutError):
            self.kill()
            return {}
        finally:
            self._waiting.pop(number, None)
            self._pids.pop(number, None)

    def kill(self) -> None:
        """End it and its copies now; a fork_server that does not answer is of no more use."""
        for pid in (*self._pids.values(), self.process.pid):
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        self._lose()

    async def stop(self) -> None:
        """Let it end, which takes its copies along; kill it if it does not."""
        self._lose()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await self.process.wait()
        if self.process.returncode is None:
            self.kill()
            await self.process.wait()

    def _read(self) -> None:
        try:
            data = self._channel.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._lines.take(data)

    def _hear(self, raw: bytes) -> None:
        line = read_line(raw) or {}
        if "hello" in line or "unavailable" in line:
            if not self.hello.done():
                self.hello.set_result(line)
        elif "started" in line:
            self._pids[line["started"]] = line["pid"]
        elif "reaped" in line and (future := self._waiting.get(line["reaped"])) and not future.done():
            future.set_result(line)

    def _lose(self) -> None:
        """The channel has ended: no answer will come any more."""
        if not self.alive:
            return
        self.alive = False
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        self._noise.__exit__(None, None, None)
        for future in (self.hello, *self._waiting.values()):
            if not future.done():
                future.set_result({})


async def start_fork_server(
    python: str, library: Library, limit: float, *, lazy: bool = False
) -> tuple[ForkServer, Imported]:
    """Start an interpreter with a library in it and wait until the import is done, `limit` seconds at most.

    Raises UnusableError with the reason in words.
    """
    fork_server = await _spawn(python, library, lazy=lazy)
    try:
        async with asyncio.timeout(limit):
            said = await fork_server.hello
            status = 0 if said else await fork_server.process.wait()
    except TimeoutError:
        fork_server.kill()
        await fork_server.process.wait()
        msg = f"import {library.name} did not end within {limit:g} s"
        raise UnusableError(msg) from None
    except asyncio.CancelledError:
        fork_server.kill()
        await fork_server.process.wait()
        raise
    if not said:
        wait_status = -status if status < 0 else status << 8
        said_last = last_lines(fork_server.tail.text)
        msg = f"{python} {describe_status(wait_status)} before {library.name} was imported" + (
            f": {said_last}" if said_last else ""
        )
        raise UnusableError(msg)
    if "unavailable" in said:
        await fork_server.stop()
        raise UnusableError(said["unavailable"])
    hello = said["hello"]
    if not hello["forks"]:  # its import started threads, and a process with threads cannot be copied safely
        await fork_server.stop()
        fork_server, _ = await start_fork_server(python, library, limit, lazy=True)
    version = str(hello["version"] or "")
    return fork_server, Imported(
        library.name, version, str(hello["python"]), float(hello["import_seconds"]), bool(hello["forks"]) and not lazy
    )


async def _spawn(python: str, library: Library, *, lazy: bool) -> ForkServer:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - a method of the standard library
    tail = Tail()
    noise = Pipe(tail.take)
    noise.__enter__()
    command = [python, "-I", str(RUNNER), str(library.driver), str(theirs.fileno()), *(["--lazy"] if lazy else [])]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=noise.inlet,
            stderr=noise.inlet,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env=environment(),
        )
    except OSError as error:
        noise.__exit__(None, None, None)
        ours.close()
        msg = f"{python} does not start: {error.strerror or error}"
        raise UnusableError(msg) from None
    finally:
        theirs.close()
    noise.close_inlet()
    return ForkServer(process, ours, noise, tail)


def environment() -> dict[str, str]:
    """The variables that a foreign interpreter gets."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
