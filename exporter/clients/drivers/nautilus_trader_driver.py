"""nautilus_trader by its own InteractiveBrokersClient, made and started as its factories make and start it."""

import asyncio
import importlib
import os
import threading

from .versions import distribution_version

LIBRARY = "nautilus_trader"
PYTHONS = ((3, 11), (3, 14))
ADAPTER = "nautilus_trader.adapters.interactive_brokers"


def load():
    """Import the adapter. pyarrow's allocator would start a thread, which forbids forking."""
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    os.environ["IB_MAX_CONNECTION_ATTEMPTS"] = "1"  # read by the client: one attempt per probe
    nautilus = importlib.import_module("nautilus_trader")
    for name in (".factories", ".common", ".client"):
        importlib.import_module(ADAPTER + name)
    return {"version": distribution_version(LIBRARY) or nautilus.__version__}


def begin(host, port, client_id, observer):
    """Start the client in a thread with an event loop of its own."""
    session = Session(observer)
    threading.Thread(target=session.run, args=(host, port, client_id), daemon=True).start()
    return session


class Session:
    """One InteractiveBrokersClient whose calls and callbacks are observed."""

    def __init__(self, observer):
        self.observer = observer
        observer.watch(importlib.import_module("ibapi.connection"))
        self.loop = asyncio.new_event_loop()
        self.client = None

    def run(self, host, port, client_id):
        """The thread: make the client, start it, turn the loop for ever."""
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self.start(host, port, client_id))
            self.loop.run_forever()
        except Exception as error:
            self.observer.fail(error)

    async def start(self, host, port, client_id):
        """As factories.get_cached_ib_client does, without its cache."""
        component = importlib.import_module("nautilus_trader.common.component")
        clock = component.LiveClock()
        trader = importlib.import_module("nautilus_trader.model.identifiers").TraderId("PROBE-001")
        self.client = importlib.import_module(ADAPTER + ".client").InteractiveBrokersClient(
            loop=asyncio.get_running_loop(),
            msgbus=component.MessageBus(trader, clock),
            cache=importlib.import_module("nautilus_trader.cache.cache").Cache(),
            clock=clock,
            host=host,
            port=port,
            client_id=client_id,
        )
        self.listen(self.client)
        self.observer.begin()
        self.client.start()
        self.loop.create_task(self.ready())

    def listen(self, client):
        """Wrap methods of the client; each is called unchanged."""
        observer, eclient = self.observer, client._eclient  # noqa: SLF001 - it has no public way to see these
        set_state, connect = eclient.setConnState, client._connect  # noqa: SLF001

        def on_state(value):
            set_state(value)
            if value == eclient.CONNECTED:
                observer.reach("connected", eclient.serverVersion())

        async def attempt():
            await connect()
            if "connected" not in observer.reached:
                observer.finish("gave_up", "its connect gave up")

        async def stay_disconnected():
            observer.finish("gave_up", "the client wants to reconnect")

        eclient.setConnState, client._connect = on_state, attempt  # noqa: SLF001
        client._handle_reconnect = stay_disconnected  # noqa: SLF001 - one connection per probe; its watchdog would open another
        wrapper = eclient.wrapper
        error, current_time = wrapper.error, wrapper.currentTime

        def on_error(*arguments, **named):
            codes = arguments[2:4] if len(arguments) >= 4 and isinstance(arguments[2], int) else arguments[1:3]
            code = named.get("errorCode", codes[0] if codes else None)
            text = named.get("errorString", codes[1] if len(codes) > 1 else "")
            observer.error(code, text)
            return error(*arguments, **named)

        def on_time(seconds):
            observer.reach("time", seconds)
            return current_time(seconds)

        wrapper.error, wrapper.currentTime = on_error, on_time

    async def ready(self):
        """Wait for the client's own event: nextValidId and managedAccounts have both come."""
        await self.client._is_client_ready.wait()  # noqa: SLF001
        self.observer.reach("accounts", list(self.client.accounts()))
        self.observer.reach("ready")

    def ask_time(self):
        """Send reqCurrentTime; its answer is the stage `time`."""
        self.loop.call_soon_threadsafe(self.client._eclient.reqCurrentTime)  # noqa: SLF001

    def ask_contract(self):
        """Send reqContractDetails for EUR.USD by the client's own request."""
        contract = importlib.import_module(ADAPTER + ".common").IBContract(
            secType="CASH", symbol="EUR", exchange="IDEALPRO", currency="USD"
        )

        async def answered():
            try:
                details = await self.client.get_contract_details(contract)
                if details is None and not self.observer.last_error:
                    self.observer.finish("gave_up", "its request timed out")
                else:
                    self.observer.reach(
                        "contract", "" if details else "EUR.USD: %s" % (self.observer.last_error or "not found")
                    )
            except Exception as error:
                self.observer.fail(error)

        self.loop.call_soon_threadsafe(lambda: self.loop.create_task(answered()))

    def ask_download(self, spacing):
        """Send what its execution client sends: summary, positions, open orders, executions."""

        async def download():
            client, observer = self.client, self.observer
            account = observer.account or next(iter(sorted(client.accounts())), "")
            requests = [client.get_positions, client.get_open_orders]
            requests += [client.get_executions] if hasattr(client, "get_executions") else []
            try:
                client.subscribe_account_summary()
                while observer.download.pending():  # noqa: ASYNC110 - another thread receives it
                    await asyncio.sleep(0.005)
                for request in requests:
                    await asyncio.sleep(spacing)
                    observer.paused += spacing
                    if await request(account) is None:
                        observer.finish("gave_up", "its request timed out")
                        return
                observer.reach("download")
            except Exception as error:
                observer.fail(error)

        self.loop.call_soon_threadsafe(lambda: self.loop.create_task(download()))

    def close(self, seconds):
        """End the connection in order; its own stop takes 1.8 s and the process ends anyway."""
        if self.client is not None:
            self.observer.close(self.client._eclient.conn, seconds)  # noqa: SLF001
