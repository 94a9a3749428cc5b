"""IBKR's own library, from 9.81.1 to the 10.x editions with protobuf, whatever its distribution is called."""

import threading

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
    """The version by the installed distribution that owns the package: `ibapi` alone says 9.81.1 or nothing at all."""
    from importlib import metadata

    for name in ("ibapi-latest", "ibapi-stable", "nautilus-ibapi", "ibapi"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return str(getattr(package, "__version__", getattr(package, "get_version_string", lambda: "unknown")()))


def begin(host, port, client_id, witness):
    """Connect in a thread: EClient.connect() has no timeout and may never return."""
    session = Session(witness)
    threading.Thread(target=session.run, args=(host, port, client_id), daemon=True).start()
    return session


class Session:
    """One EClient with its EWrapper, whose callbacks tell the witness."""

    def __init__(self, witness):
        from ibapi import client, connection, contract

        witness.watch(connection)
        self.contract = euro(contract.Contract())
        self.witness = witness
        self.client = client.EClient(None)
        self.client.wrapper = wrapper(witness, self.client.serverVersion)

    def run(self, host, port, client_id):
        """The thread: connect, then the library's own message loop until the connection ends."""
        self.witness.begin()
        try:
            self.client.connect(host, port, client_id)
            if self.client.isConnected():
                self.client.run()
            self.witness.finish("gave_up", "the library stopped")
        except Exception as error:
            self.witness.fail(error)

    def ask_time(self):
        """Send reqCurrentTime."""
        self.client.reqCurrentTime()

    def ask_contract(self):
        """Send reqContractDetails for EUR.USD."""
        self.client.reqContractDetails(REQUEST, self.contract)

    def close(self, seconds):
        """End the connection in order, even one whose connect() still waits."""
        self.witness.close(self.client.conn, seconds)


def wrapper(witness, server_version):
    """The library's callbacks."""
    from ibapi.wrapper import EWrapper

    class Wrapper(EWrapper):
        """Tells the witness."""

        found = "EUR.USD is unknown to this gateway"

        def connectAck(self):
            witness.reach("connected", server_version())

        def nextValidId(self, orderId):
            witness.reach("ready")

        def currentTime(self, time):
            witness.reach("time", time)

        def managedAccounts(self, accountsList):
            witness.reach("accounts", [name for name in accountsList.split(",") if name])

        def contractDetails(self, reqId, contractDetails):
            self.found = ""

        def contractDetailsEnd(self, reqId):
            witness.reach("contract", self.found)

        def error(self, *told):
            code, text = code_and_text(told)
            if told[0] == REQUEST and code not in (502, 504):
                witness.reach("contract", "EUR.USD: error %d: %s" % (code, text))
            witness.error(code, text)

    return Wrapper()


def code_and_text(told):
    """Of the arguments of error(): (id, code, text[, json]), since 10.37 (id, milliseconds, code, text[, json])."""
    return told[2:4] if len(told) >= 4 and isinstance(told[2], int) else told[1:3]


def euro(contract):
    """EUR.USD on IDEALPRO, conId 12087792, as every gateway knows it."""
    contract.symbol, contract.secType, contract.exchange, contract.currency = "EUR", "CASH", "IDEALPRO", "USD"
    return contract
