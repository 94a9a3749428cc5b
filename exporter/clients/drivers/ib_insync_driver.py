"""ib_insync, by its low-level client: `IB.connect` asks for positions, account values and executions, read-only or not.

With the account download it is `IB.connect`, read-only, and then the orders, which that leaves out.
"""

import asyncio
import contextlib
import importlib
import threading
from functools import partial

from .versions import distribution_version

LIBRARY = "ib_insync"
PYTHONS = ((3, 8), (3, 13))  # 3.14 has no event loop outside a coroutine, and eventkit asks for one at import
MESSAGE = "TWS/gateway version must be"


def load_library(name):
    """Import the library, and all that its connect would import later."""
    library = importlib.import_module(name)
    importlib.import_module("encodings.idna")
    return {"version": distribution_version(name) or library.__version__}


def begin_library(name, host, port, client_id, observer):
    """Connect in a thread with an event loop of its own."""
    session = Session(importlib.import_module(name), observer)
    threading.Thread(target=session.run, args=(host, port, client_id), daemon=True).start()
    return session


class Session:
    """One IB whose events go to the observer."""

    def __init__(self, library, observer):
        self.library, self.observer = library, observer
        self.loop = asyncio.new_event_loop()
        self.ib = None
        self.done = threading.Event()
        self.closed = None  # an asyncio.Event: the connection is over
        self.connected = None  # the task of connect()

    def run(self, host, port, client_id):
        """The thread: connect, then turn the loop until close()."""
        asyncio.set_event_loop(self.loop)
        try:
            self.observe_connection()
            self.ib = self.listen(self.library.IB())
            self.ib.wrapper.clientId = client_id
            self.connected = self.loop.create_task(self.connect(host, port, client_id))
            self.loop.run_forever()
        except Exception as error:
            self.observer.fail(error)

    async def connect(self, host, port, client_id):
        """Connect with no timeout of the library: the connect ends by an event or by our deadline."""
        self.observer.begin()
        try:
            if self.observer.downloads:
                self.ib.client.apiStart += self.on_ready
                account = self.observer.account or ""
                await self.ib.connectAsync(host, port, client_id, 0, readonly=True, account=account)
            else:
                await self.ib.client.connectAsync(host, port, client_id, 0)
                self.on_ready()
        except Exception as error:
            self.observer.fail(error)

    def on_ready(self):
        self.observer.reach("accounts", self.ib.client.getAccounts())
        self.observer.reach("ready")

    def listen(self, ib):
        """Hook the events: the library keeps most of them to itself until its timeout."""
        observer, client = self.observer, ib.client
        start_api = client.startApi

        def started():
            start_api()
            observer.reach("connected", client.serverVersion())

        client.startApi = started  # called when the answer to the hello has been taken
        client.apiError += lambda text: observer.finish("too_old", text) if text.startswith(MESSAGE) else None
        ib.errorEvent += lambda request, code, text, *_: observer.error(code, text)
        return ib

    def observe_connection(self):
        """Have the library use a Connection that reports here; before 0.9.70 it makes one only when it connects."""
        module = importlib.import_module(self.library.__name__ + ".client")
        self.closed = asyncio.Event()  # here, in the loop's own thread, for the sake of Python 3.8
        module.Connection = _observed_connection(module.Connection, self.observer, self.closed)

    def ask_time(self):
        """Send reqCurrentTime; its answer is the stage `time`."""
        self.ask(self.ib.reqCurrentTimeAsync, "time", lambda time: time)

    def ask_contract(self):
        """Send reqContractDetails for EUR.USD; the library calls this "qualify"."""
        forex = self.library.Forex("EURUSD")

        def complaint(contracts):
            return "" if any(contracts) else "EUR.USD: %s" % (self.observer.last_error or "not qualified")

        self.ask(lambda: self.ib.qualifyContractsAsync(forex), "contract", complaint)

    def ask_download(self, spacing):
        """Wait for the end of `IB.connect`, then ask for the orders."""

        async def download():
            await self.connected
            for request in (self.ib.reqOpenOrdersAsync, lambda: self.ib.reqCompletedOrdersAsync(apiOnly=False)):
                await asyncio.sleep(spacing)
                self.observer.paused += spacing
                await request()

        self.ask(download, "download", lambda _: None)

    def ask(self, request, stage, value):
        """Start a request in the loop; its answer is the stage."""

        async def answered():
            try:
                self.observer.reach(stage, value(await request()))
            except Exception as error:
                self.observer.fail(error)

        self.loop.call_soon_threadsafe(lambda: self.loop.create_task(answered()))

    def close(self, seconds):
        """End our side, read on until the peer has ended its own, then disconnect."""
        if self.ib is None or not self.loop.is_running():
            return
        self.loop.call_soon_threadsafe(lambda: self.loop.create_task(self.leave(seconds)))
        self.done.wait(seconds + 0.2)

    async def leave(self, seconds):
        connection = self.ib.client.conn
        if connection is not None and connection.transport is not None:
            connection.transport.write_eof()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.closed.wait(), seconds)
        self.ib.client.disconnect()
        await asyncio.sleep(0)  # the transport closes its socket in the next turn
        await asyncio.sleep(0)
        self.done.set()


def _observed_connection(base, observer, closed):
    class ObservedConnection(base):
        """Reports its bytes and its end, and keeps back what a monitor must not send."""

        def connection_made(self, transport):
            observer.opened = True
            super().connection_made(transport)

        def sendMsg(self, data):
            # After error 1102, for one, the library would ask for the account summary by itself.
            if observer.permits(data):
                super().sendMsg(data)

        def data_received(self, data):
            observer.take(data)
            super().data_received(data)

        def disconnect(self):
            observer.close_begins()
            super().disconnect()

        def connection_lost(self, error):
            closed.set()
            super().connection_lost(error)
            observer.finish("reset" if error else "eof", error or "")

    return ObservedConnection


load = partial(load_library, LIBRARY)
begin = partial(begin_library, LIBRARY)
