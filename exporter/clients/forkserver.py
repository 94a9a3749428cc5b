"""The process that has imported a library and forks a copy of itself for each probe.

drivers/serve.py has the protocol. One Unix socket carries it, with the descriptors of a probe's pipes; when that
socket closes, even because we died, the fork server kills its copies and ends.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

from exporter.clients.driver_result import describe_status, last_lines, read_line
from exporter.clients.libraries import RUNNER, Library
from exporter.clients.output import CHUNK, LineSplitter, Pipe, Tail
from exporter.model import InstalledVersion

CAN_FORK = hasattr(os, "fork") and hasattr(socket, "AF_UNIX") and not sys.platform.startswith("win")
GRACE = 1.0  # seconds for an ordinary answer of a process of ours
REAPED = 5.0  # seconds for the end of a probe; to kill a process that is only slow would lose every probe in it
# What a foreign interpreter needs to start. A library does not get our own settings and secrets.
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


class UnusableError(Exception):
    """The interpreter does not start or the library does not import. Says nothing about any target."""


class ForkServer:
    """One started process and the requests that it has not yet answered. `start_fork_server` makes it.

    `lazy`: its library starts threads at import and must not be forked, so each copy imports it.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, channel: socket.socket, pipe: Pipe, printed: Tail, *, lazy: bool
    ) -> None:
        self.process = process
        self.printed = printed
        self.lazy = lazy
        self.alive = True
        self.hello: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._channel = channel
        self._pipe = pipe
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._pids: dict[int, int] = {}
        self._splitter = LineSplitter(self._on_line, self._on_end)
        asyncio.get_running_loop().add_reader(channel, self._read)

    def start_probe(self, number: int, request: Mapping[str, Any], lines: int, printed: int) -> None:
        """Start probe `number`; it writes to these two descriptors. Raises OSError if the process is gone."""
        message = json.dumps({"probe": number, **request}).encode() + b"\n"
        socket.send_fds(self._channel, [message], [lines, printed])

    async def reap(self, number: int) -> Mapping[str, Any]:
        """End probe `number` and all its children. Returns {"status", "cpu", "orphans"}, or {} if it is gone."""
        future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._channel.send(json.dumps({"reap": number}).encode() + b"\n")
            async with asyncio.timeout(REAPED):
                return await future
        except (OSError, TimeoutError):
            self.kill()
            return {}
        finally:
            self._waiting.pop(number, None)
            self._pids.pop(number, None)

    def kill(self) -> None:
        """Kill the process and its copies."""
        for pid in (*self._pids.values(), self.process.pid):
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        self._on_end()

    async def stop(self) -> None:
        """Close the channel, on which it ends its copies and itself; kill it if it does not."""
        self._on_end()
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
        self._splitter.feed(data)

    def _on_line(self, raw: bytes) -> None:
        line = read_line(raw) or {}
        if "hello" in line or "unavailable" in line:
            if not self.hello.done():
                self.hello.set_result(line)
        elif "started" in line:
            self._pids[line["started"]] = line["pid"]
        elif "reaped" in line and (future := self._waiting.get(line["reaped"])) and not future.done():
            future.set_result(line)

    def _on_end(self) -> None:
        """The channel has ended: answer every open request with {}."""
        if not self.alive:
            return
        self.alive = False
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        self._pipe.close()
        for future in (self.hello, *self._waiting.values()):
            if not future.done():
                future.set_result({})


async def start_fork_server(
    python: str, library: Library, limit: float, *, lazy: bool = False
) -> tuple[ForkServer, InstalledVersion]:
    """Start an interpreter with a library in it and wait until the import is done, `limit` seconds at most.

    Raises UnusableError with the reason in words.
    """
    fork_server = await _spawn(python, library, lazy=lazy)
    try:
        async with asyncio.timeout(limit):
            line = await fork_server.hello
            status = 0 if line else await fork_server.process.wait()
    except TimeoutError:
        fork_server.kill()
        await fork_server.process.wait()
        msg = f"import {library.name} did not end within {limit:g} s"
        raise UnusableError(msg) from None
    except asyncio.CancelledError:
        fork_server.kill()
        await fork_server.process.wait()
        raise
    if not line:
        wait_status = -status if status < 0 else status << 8
        printed = last_lines(fork_server.printed.text)
        msg = f"{python} {describe_status(wait_status)} before {library.name} was imported" + (
            f": {printed}" if printed else ""
        )
        raise UnusableError(msg)
    if "unavailable" in line:
        await fork_server.stop()
        raise UnusableError(line["unavailable"])
    hello = line["hello"]
    if not hello["forks"]:  # its import started threads, and a process with threads cannot be copied safely
        await fork_server.stop()
        fork_server, _ = await start_fork_server(python, library, limit, lazy=True)
    version = str(hello["version"] or "")
    seconds = float(hello["import_seconds"])
    return fork_server, InstalledVersion(library.name, version, str(hello["python"]), import_seconds=seconds)


async def _spawn(python: str, library: Library, *, lazy: bool) -> ForkServer:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - a method of the standard library
    printed = Tail()
    pipe = Pipe(printed.feed)
    command = [python, "-I", str(RUNNER), str(library.driver), str(theirs.fileno()), *(["--lazy"] if lazy else [])]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe.write_end,
            stderr=pipe.write_end,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env=environment(),
        )
    except OSError as error:
        pipe.close()
        ours.close()
        msg = f"{python} does not start: {error.strerror or error}"
        raise UnusableError(msg) from None
    finally:
        theirs.close()
    pipe.close_write_end()
    return ForkServer(process, ours, pipe, printed, lazy=lazy)


def environment() -> dict[str, str]:
    """The variables that a foreign interpreter gets."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
