"""IBKR's own library, from 9.81.1 to the 10.x editions with protobuf, whatever its distribution is called."""

import threading
import time
from collections import defaultdict

from .versions import distribution_version

LIBRARY = "ibapi"
PYTHONS = ((3, 8), (3, 14))
REQUEST = 1


def load():
    """Import the parts that a program uses, all of them, so that a copy imports nothing more."""
    import ibapi
    import ibapi.client
    import ibapi.contract
    import ibapi.decoder
    import ibapi.wrapper

    return {"version": version(ibapi)}


def version(package):
    installed = distribution_version("ibapi-latest", "ibapi-stable", "nautilus-ibapi", "ibapi")
    return installed or str(
        getattr(package, "__version__", getattr(package, "get_version_string", lambda: "unknown")())
    )


def begin(host, port, client_id, observer):
    """Connect in a thread: EClient.connect() has no timeout and may never return."""
    session = Session(observer)
    threading.Thread(target=session.run, args=(host, port, client_id), daemon=True).start()
    return session


class Session:
    """One EClient with its EWrapper, whose callbacks report to the observer."""

    def __init__(self, observer):
        from ibapi import client, connection, contract

        observer.watch(connection)
        self.contract = euro(contract.Contract())
        self.observer = observer
        self.client = client.EClient(None)
        self.client.wrapper = wrapper(observer, self.client.serverVersion)

    def run(self, host, port, client_id):
        """The thread: connect, then the library's own message loop until the connection ends."""
        self.observer.begin()
        try:
            self.client.connect(host, port, client_id)
            if self.client.isConnected():
                self.client.run()
            self.observer.finish("gave_up", "the library stopped")
        except Exception as error:
            self.observer.fail(error)

    def ask_time(self):
        """Send reqCurrentTime; its answer is the stage `time`."""
        self.client.reqCurrentTime()

    def ask_contract(self):
        """Send reqContractDetails for EUR.USD."""
        self.client.reqContractDetails(REQUEST, self.contract)

    def ask_download(self, spacing):
        """Send the requests of the account download one by one, each after the end of the one before."""
        threading.Thread(target=self.download, args=(spacing,), daemon=True).start()

    def download(self, spacing):
        from ibapi.execution import ExecutionFilter

        client, accounts = self.client, self.observer.reached["accounts"][1]
        account = self.observer.account or next(iter(accounts), "")
        requests = {
            "positions": client.reqPositions,
            "open_orders": client.reqOpenOrders,
            "completed_orders": lambda: client.reqCompletedOrders(apiOnly=False),
            "account_updates": lambda: client.reqAccountUpdates(subscribe=True, acctCode=account),
            "executions": lambda: client.reqExecutions(REQUEST, ExecutionFilter()),
            "account_summary": lambda: client.reqAccountSummary(REQUEST, "All", "NetLiquidation"),
        }
        try:
            for number, (name, request) in enumerate(requests.items()):
                if number:
                    time.sleep(spacing)
                    self.observer.paused += spacing
                request()
                self.client.wrapper.ended[name].wait()
            self.observer.reach("download")
        except Exception as error:
            self.observer.fail(error)

    def close(self, seconds):
        """End the connection in order, even one whose connect() still waits."""
        self.observer.close(self.client.conn, seconds)


class Callbacks:
    """The callbacks of an EWrapper that report to the observer; `wrapper` puts them before the library's own."""

    complaint = "EUR.USD is unknown to this gateway"

    def __init__(self, observer, server_version):
        super().__init__()
        self.observer, self.server_version = observer, server_version
        self.ended = defaultdict(threading.Event)  # the requests of the account download that were answered

    def positionEnd(self):
        self.ended["positions"].set()

    def openOrderEnd(self):
        self.ended["open_orders"].set()

    def completedOrdersEnd(self):
        self.ended["completed_orders"].set()

    def accountDownloadEnd(self, accountName):
        self.ended["account_updates"].set()

    def execDetailsEnd(self, reqId):
        self.ended["executions"].set()

    def accountSummaryEnd(self, reqId):
        self.ended["account_summary"].set()

    def connectAck(self):
        self.observer.reach("connected", self.server_version())

    def nextValidId(self, orderId):
        self.observer.reach("ready")

    def currentTime(self, time):
        self.observer.reach("time", time)

    def managedAccounts(self, accountsList):
        self.observer.reach("accounts", [name for name in accountsList.split(",") if name])

    def contractDetails(self, reqId, contractDetails):
        self.complaint = ""

    def contractDetailsEnd(self, reqId):
        self.observer.reach("contract", self.complaint)

    def error(self, *arguments):
        code, text = code_and_text(arguments)
        if arguments[0] == REQUEST and code not in (502, 504):
            self.observer.reach("contract", "EUR.USD: error %d: %s" % (code, text))
        self.observer.error(code, text)


def wrapper(observer, server_version):
    """Return an EWrapper whose callbacks report to the observer."""
    from ibapi.wrapper import EWrapper

    class Wrapper(Callbacks, EWrapper):
        """The callbacks of a probe; all others do nothing."""

    return Wrapper(observer, server_version)


def code_and_text(arguments):
    """Of the arguments of error(): (id, code, text[, json]), since 10.37 (id, milliseconds, code, text[, json])."""
    return arguments[2:4] if len(arguments) >= 4 and isinstance(arguments[2], int) else arguments[1:3]


def euro(contract):
    """EUR.USD on IDEALPRO, conId 12087792, as every gateway knows it."""
    contract.symbol, contract.secType, contract.exchange, contract.currency = "EUR", "CASH", "IDEALPRO", "USD"
    return contract
