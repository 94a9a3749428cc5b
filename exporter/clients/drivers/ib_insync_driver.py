"""ib_insync, by its low-level client: `IB.connect` would ask for positions, orders and executions, read-only or not."""

import asyncio
import importlib
import threading

LIBRARY = "ib_insync"
PYTHONS = ((3, 8), (3, 13))  # 3.14 has no event loop outside a coroutine, and eventkit asks for one at import
MESSAGE = "TWS/gateway version must be"


def load():
    """Import the library, and all that its connect would import lazily."""
    library = importlib.import_module(LIBRARY)
    importlib.import_module("encodings.idna")
    return {"version": library.__version__}


def begin(host, port, client_id, witness):
    """Connect in a thread with an event loop of its own."""
    session = Session(LIBRARY, witness)
    threading.Thread(target=session.run, args=(host, port, client_id), daemon=True).start()
    return session


class Session:
    """One IB whose events tell the witness."""

    def __init__(self, library, witness):
        self.library, self.witness = importlib.import_module(library), witness
        self.loop = asyncio.new_event_loop()
        self.ib = None
        self.done = threading.Event()

    def run(self, host, port, client_id):
        """The thread: connect, then turn the loop until close()."""
        asyncio.set_event_loop(self.loop)
        try:
            self.ib = self.listen(self.library.IB())
            self.ib.wrapper.clientId = client_id
            self.loop.create_task(self.connect(host, port, client_id))
            self.loop.run_forever()
        except Exception as error:
            self.witness.fail(error)

    async def connect(self, host, port, client_id):
        """`Client.connectAsync` with no timeout of its own: it ends by an event or by our deadline."""
        self.witness.begin()
        try:
            await self.ib.client.connectAsync(host, port, client_id, 0)
        except Exception as error:
            self.witness.fail(error)
        else:
            self.witness.reach("accounts", self.ib.client.getAccounts())
            self.witness.reach("ready")

    def listen(self, ib):
        """Hook the events; the library itself tells most of them to nobody until its timeout."""
        witness, client = self.witness, ib.client
        start_api, send = client.startApi, client.conn.sendMsg
        # After error 1102, for one, it would ask for the account summary by itself.
        client.conn.sendMsg = lambda data: send(data) if witness.permits(data) else None

        def started():
            start_api()
            witness.reach("connected", client.serverVersion())

        def opened(_):
            witness.opened = True

        client.conn.connection_made = opened  # the library does nothing here
        client.startApi = started  # called when the answer to the hello has been taken
        client.conn.hasData += witness.take
        client.conn.disconnected += lambda text: witness.finish("reset" if text else "eof", text)
        client.apiError += lambda text: witness.finish("too_old", text) if text.startswith(MESSAGE) else None
        ib.errorEvent += lambda request, code, text, *_: witness.error(code, text)
        return ib

    def ask_time(self):
        """Send reqCurrentTime."""
        self.ask(self.ib.reqCurrentTimeAsync, "time", lambda time: time)

    def ask_contract(self):
        """Send reqContractDetails for EUR.USD, in the library's words: qualify it."""
        forex = self.library.Forex("EURUSD")

        def found(contracts):
            return "" if any(contracts) else "EUR.USD: %s" % (self.witness.last or "not qualified")

        self.ask(lambda: self.ib.qualifyContractsAsync(forex), "contract", found)

    def ask(self, request, stage, value):
        """Start a request in the loop; its answer is the stage."""

        async def answered():
            try:
                self.witness.reach(stage, value(await request()))
            except Exception as error:
                self.witness.fail(error)

        self.loop.call_soon_threadsafe(lambda: self.loop.create_task(answered()))

    def close(self, seconds):
        """End our side, read on until the peer has ended its own, then disconnect."""
        if self.ib is None or not self.loop.is_running():
            return
        self.loop.call_soon_threadsafe(lambda: self.loop.create_task(self.leave(seconds)))
        self.done.wait(seconds + 0.2)

    async def leave(self, seconds):
        """In the loop."""
        connection = self.ib.client.conn
        if connection.transport is not None:
            gone = self.loop.create_future()
            connection.disconnected += lambda _: gone.done() or gone.set_result(None)
            connection.transport.write_eof()
            await asyncio.wait([gone], timeout=seconds)
        self.ib.client.disconnect()
        await asyncio.sleep(0)  # the transport closes its socket in the next turn
        await asyncio.sleep(0)
        self.done.set()
