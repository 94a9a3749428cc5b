"""A library connecting by itself, without our driver: prints the seconds from its start to ready.

    PYTHON -I clients_bare.py LIBRARY HOST PORT

Run in the library's interpreter, once in each process: the connect of a program that has just started.
"""

import asyncio
import os
import sys
import threading
import time


def ibapi(host, port, client_id):
    """connect() and run(), as its documentation has it."""
    from ibapi.client import EClient
    from ibapi.wrapper import EWrapper

    ready = threading.Event()

    class Program(EWrapper, EClient):
        """The usual shape."""

        def __init__(self):
            EClient.__init__(self, self)

        def nextValidId(self, order_id):
            """The session is there."""
            ready.set()

        def error(self, *told):
            """Notices."""

    program = Program()
    began = time.perf_counter()
    program.connect(host, port, client_id)
    threading.Thread(target=program.run, daemon=True).start()
    ready.wait(10)
    took = time.perf_counter() - began
    program.disconnect()
    return took


def insync(name):
    """ib_insync and ib_async."""
    library = __import__(name)

    async def turn(host, port, client_id):
        ib = library.IB()
        ib.wrapper.clientId = client_id
        began = time.perf_counter()
        await ib.client.connectAsync(host, port, client_id, 10)
        took = time.perf_counter() - began
        ib.client.disconnect()
        await asyncio.sleep(0.05)
        return took

    return lambda *arguments: asyncio.run(turn(*arguments))


def nautilus_trader(host, port, client_id):
    """Its InteractiveBrokersClient, as its factories make and start it."""
    from nautilus_trader.adapters.interactive_brokers.client import InteractiveBrokersClient
    from nautilus_trader.cache.cache import Cache
    from nautilus_trader.common.component import LiveClock, MessageBus
    from nautilus_trader.model.identifiers import TraderId

    async def turn():
        clock = LiveClock()
        client = InteractiveBrokersClient(
            loop=asyncio.get_running_loop(),
            msgbus=MessageBus(TraderId("BENCH-001"), clock),
            cache=Cache(),
            clock=clock,
            host=host,
            port=port,
            client_id=client_id,
        )
        began = time.perf_counter()
        client.start()
        await client._is_client_ready.wait()
        took = time.perf_counter() - began
        client._eclient.disconnect()
        return took

    loop = asyncio.new_event_loop()
    return loop.run_until_complete(turn())


def main():
    """One connect."""
    name, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    turn = {"ibapi": ibapi, "nautilus_trader": nautilus_trader}.get(name) or insync(name)
    out = os.dup(1)
    os.dup2(2, 1)
    os.write(out, b"%.6f\n" % turn(host, port, 9100))
    os._exit(0)


if __name__ == "__main__":
    main()
