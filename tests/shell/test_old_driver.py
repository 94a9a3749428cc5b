"""The ib_insync driver with a library of the shape of ib_insync 0.9.64: it has no Connection before it connects."""

import sys
import textwrap
from pathlib import Path

from exporter.clients.libraries import Library
from exporter.clients.worker import Worker, WorkerResult
from exporter.model import Cause, Outcome, Stage
from exporter.simulator.gateway import Gateway
from tests.shell.support import PATIENCE

CLIENT = """
import asyncio
import struct

class Connection(asyncio.Protocol):
    def __init__(self, host, port):
        self.host, self.port, self.transport = host, port, None

    async def connectAsync(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_connection(lambda: self, self.host, self.port)

    def disconnect(self):
        self.transport.close()

    def sendMsg(self, data):
        self.transport.write(data)

    def connection_lost(self, error):
        self.hasError(str(error)) if error else self.disconnected()

    def data_received(self, data):
        self.hasData(data)

class Client:
    def __init__(self, ib):
        self.ib, self.conn, self.data, self.version, self.accounts = ib, None, b"", 0, []
        self.apiError = Event()

    async def connectAsync(self, host, port, client_id, timeout):
        self.client_id, self.ready = client_id, asyncio.Event()
        self.conn = Connection(host, port)
        self.conn.hasData, self.conn.disconnected, self.conn.hasError = self.received, lambda: None, lambda text: None
        await self.conn.connectAsync()
        self.conn.sendMsg(b"API\\0" + self.prefixed(b"v100..151"))
        await self.ready.wait()

    def prefixed(self, data):
        return struct.pack(">I", len(data)) + data

    def send(self, *fields):
        self.conn.sendMsg(self.prefixed(b"".join(str(field).encode() + b"\\0" for field in fields)))

    def received(self, data):
        self.data += data
        while len(self.data) >= 4 and len(self.data) >= 4 + struct.unpack(">I", self.data[:4])[0]:
            end = 4 + struct.unpack(">I", self.data[:4])[0]
            fields, self.data = self.data[4:end].decode().split("\\0")[:-1], self.data[end:]
            self.take(fields)

    def take(self, fields):
        if not self.version:
            self.version = int(fields[0])
            self.startApi()
        elif fields[0] == "15":
            self.accounts = fields[2].split(",")
            self.ready.set()
        else:
            self.ib.answers.pop(fields[0], asyncio.Future()).set_result(fields)

    def startApi(self):
        self.send(71, 2, self.client_id, "")

    def serverVersion(self):
        return self.version

    def getAccounts(self):
        return self.accounts

    def disconnect(self):
        self.conn.disconnect()

class Event:
    def __iadd__(self, listener):
        return self
"""
LIBRARY = """
import asyncio
from types import SimpleNamespace
from .client import Client, Event

__version__ = "0.9.64"
Forex = str

class IB:
    def __init__(self):
        self.client, self.wrapper, self.errorEvent = Client(self), SimpleNamespace(), Event()
        self.answers = {}

    def ask(self, answer, *fields):
        self.answers[answer] = asyncio.get_running_loop().create_future()
        self.client.send(*fields)
        return self.answers[answer]

    def reqCurrentTimeAsync(self):
        return self.ask("49", 49, 1)

    async def qualifyContractsAsync(self, contract):
        forex = ("EUR", "CASH", "", 0, "", "", "IDEALPRO", "", "USD", "", "", 0, "", "")
        return [await self.ask("10", 9, 8, 1, 0, *forex)]
"""
DRIVER = """
import sys
from functools import partial
from .ib_insync_driver import begin_library, load_library

LIBRARY, PYTHONS = "old_library", ((3, 8), (3, 99))
sys.path.insert(0, {folder!r})
load, begin = partial(load_library, LIBRARY), partial(begin_library, LIBRARY)
"""


async def probe_old(folder: Path, mode: str) -> WorkerResult:
    """One probe with the old library against the simulator in this mode."""
    package = folder / "old_library"
    package.mkdir()
    (package / "client.py").write_text(textwrap.dedent(CLIENT), "utf-8")
    (package / "__init__.py").write_text(textwrap.dedent(LIBRARY), "utf-8")
    driver = folder / "old_library_driver.py"
    driver.write_text(DRIVER.format(folder=str(folder)), "utf-8")
    worker = Worker("old", Library("old_library", driver, (3, 8), (3, 99)), sys.executable)
    async with Gateway(mode) as gateway:
        try:
            return await worker.probe(gateway.host, gateway.port, client_id=9001, deadline=PATIENCE, spacing=0.0)
        finally:
            await worker.stop()


async def test_a_library_without_a_connection_before_its_connect_is_probed_to_the_end(tmp_path: Path) -> None:
    result = (await probe_old(tmp_path, "ok")).result
    assert (result.outcome, result.detail) == (Outcome.OK, "1 managed account, EUR.USD qualified")
    assert [each.name for each in result.exchange][:2] == ["hello", "server version"]


async def test_the_end_of_such_a_librarys_connection_is_seen(tmp_path: Path) -> None:
    result = (await probe_old(tmp_path, "close_after_start_api")).result
    assert (result.outcome, result.stage, result.cause) == (Outcome.CLOSED, Stage.READY, Cause.EOF)
