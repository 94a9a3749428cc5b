"""Libraries that misbehave: drivers written as files and run by a real interpreter, or a session in our own loop."""

import asyncio
import struct
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from exporter.clients.libraries import Library
from exporter.clients.worker import Worker, WorkerResult
from exporter.model import Cause, InstalledVersion, Layer, LayerResult, Outcome, ServerHello, Stage
from tests.shell.support import PATIENCE

GOOD = """
import os, signal, subprocess, sys, threading, time
LIBRARY, PYTHONS = "fake", ((3, 8), (3, 99))

def load():
    return {"version": "1.2.3"}

class Session:
    def __init__(self, observer):
        self.observer = observer
        observer.opened = True
    def ask_time(self):
        self.observer.reach("time", 1)
    def ask_contract(self):
        self.observer.reach("contract", "")
    def close(self, seconds):
        pass

def begin(host, port, client_id, observer):
    observer.reach("connected", 176)
    observer.reach("ready")
    observer.reach("accounts", ["DU1234567"])
    return Session(observer)
"""

# What a library does in its session.
Then = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

# Keeps a process alive that has left its session and holds every descriptor; its number goes to the file in {path}.
ESCAPE = """
def escape(path):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open(path, "w").write(str(os.getpid()))
            time.sleep(1000)
        os._exit(0)
    while not (os.path.exists(path) and open(path).read()):
        time.sleep(0.01)
"""


def write_driver(folder: Path, extra: str = "", name: str = "fake") -> Library:
    """A driver that works, with `extra` behind it to change that."""
    path = folder / f"{name}_driver.py"
    path.write_text(textwrap.dedent(GOOD) + textwrap.dedent(extra), "utf-8")
    return Library(name, path, (3, 8), (3, 99))


def make_worker(folder: Path, extra: str = "", *, fork: bool = True, import_limit: float = PATIENCE) -> Worker:
    """A client with such a driver, in this very interpreter."""
    library = write_driver(folder, extra)
    return Worker("fake-client", library, sys.executable, fork=fork, import_limit=import_limit)


class InLoopWorker(Worker):
    """A library without a process, for a clock that is turned: hello, startApi and what `then` does, if anything.

    Its import takes `importing` seconds. An exception that `then` raises is a crash; EOFError is an end by the peer.
    """

    def __init__(self, client: str, then: Then | None = None, *, importing: float = 0.0) -> None:
        super().__init__(client, Library("fake", Path("none"), (3, 8), (3, 99)), sys.executable)
        self._then = then
        self._importing = importing

    async def start(self) -> InstalledVersion:
        if self.installed is None:
            await asyncio.sleep(self._importing)
        self.installed = InstalledVersion(self.client, "1.2.3", "3.12.1")
        return self.installed

    async def stop(self) -> None:
        pass

    async def probe(self, host: str, port: int, client_id: int, deadline: float, *_: Any, **__: Any) -> WorkerResult:
        """It keeps no pause, and downloads nothing."""
        began, stages = asyncio.get_running_loop().time(), list[tuple[Stage, float]]()
        outcome, cause = Outcome.OK, None
        try:
            async with asyncio.timeout(0.75 * deadline):
                await self._connect(host, port, client_id, stages)
        except TimeoutError:
            outcome, cause = Outcome.TIMEOUT, Cause.SILENCE
        except EOFError:
            outcome, cause = Outcome.CLOSED, Cause.EOF
        except ConnectionError:
            outcome, cause = Outcome.CLOSED, Cause.RESET
        except ValueError:
            outcome = Outcome.CRASHED
        result = LayerResult(
            layer=Layer.CLIENT,
            outcome=outcome,
            cause=cause,
            stage=None if outcome is Outcome.OK else Stage.CONNECT,
            seconds=asyncio.get_running_loop().time() - began,
            stages=tuple(stages),
            server=ServerHello(176, "") if stages else None,
            client=self.client,
        )
        return WorkerResult(result, 1)

    async def _connect(self, host: str, port: int, client_id: int, stages: list[tuple[Stage, float]]) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(b"API\0" + framed(b"v100..176"))
            await read_frame(reader)
            stages.append((Stage.CONNECTED, 0.0))
            writer.write(framed(b"71\x002\x00%d\x00\x00" % client_id))
            if self._then is not None:
                await self._then(reader, writer)
            stages += [(stage, 0.0) for stage in (Stage.READY, Stage.TIME, Stage.ACCOUNTS, Stage.CONTRACT)]
        finally:
            writer.close()


async def ask_for_a_contract(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What every library's probe does at its end."""
    await asyncio.sleep(0.2)
    writer.write(framed(CONTRACT))
    while b"EUR" not in await read_frame(reader):
        pass


CONTRACT = b"\0".join(
    (b"9", b"8", b"1", b"0", b"EUR", b"CASH", b"", b"0.0", b"", b"", b"IDEALPRO", b"", b"USD", *[b""] * 6, b"")
)


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(struct.unpack(">I", await reader.readexactly(4))[0])
