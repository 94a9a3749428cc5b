"""How far does a library get, and what stopped it? Runs inside the foreign interpreter; standard library, Python 3.8.

A driver starts its library in a thread and tells a `Witness` what it sees; `climb` waits in the main thread:

    stage      reached when                                       sent for it
    connected  the library has taken the answer to its hello      hello, startApi
    ready      nextValidId                                        -
    time       the current time                                   reqCurrentTime
    accounts   managedAccounts (they come after startApi unasked) -
    contract   EUR.USD is known                                   reqContractDetails

The reason given is what the socket showed, not what the library says afterwards: libraries turn a refusal, an end of
file and silence alike into a timeout. A driver is a file NAME_driver.py with

    LIBRARY, PYTHONS   the import name; the oldest and newest Python it works on
    load()             import the library and return {"version": "..."}; must leave no thread behind, for it is forked
    begin(host, port, client_id, witness)   start connecting in a thread and return at once an object with
                       ask_time(), ask_contract(), close(seconds)
"""

import contextlib
import errno
import queue
import re
import socket
import time
import traceback
import types

# Seconds between two requests: Gateway 10.45 drops the second of two within one second (docs/facts.md: messages).
SPACING = 1.1
SETTLE = 0.1  # seconds for a library to decode what arrived before the end of the connection: an error 326, say
PATIENCE = 2.0  # seconds for a contract while the gateway says that IBKR's servers are out of reach
LINGER = 0.5  # seconds for the peer to end its side when we have ended ours
OLDEST_VERSION = 100
LARGEST_REPLY = 4096
STAGES = ("connected", "ready", "time", "accounts", "contract")
PERMITTED = frozenset((8, 9, 17, 49, 71))  # reqIds, reqContractDetails, reqManagedAccts, reqCurrentTime, startApi
PROTOBUF = 200  # message ids above this announce protobuf
# Errors after which no session will come: exporter.protocol.error_codes.FATAL, but 504, which a library says itself.
FATAL = frozenset((326, 501, 503, 506, 507, 508))
LOCAL = frozenset((502, 504, *range(509, 600)))  # a library's own words for what the socket shows better
# Our machine had no room for a try: says nothing of anybody else.
EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL))
UPSTREAM = frozenset((1100, 2103, 2105, 2110, 2157))  # a contract may be unanswered because of these


class Witness:
    """What was seen of one connection, told by any thread. `events` wakes the judge; all times are monotonic."""

    def __init__(self):
        self.events = queue.Queue()
        self.began = time.monotonic()
        self.head = b""  # the first bytes received
        self.received = 0
        self.end = None  # (kind, text): how the connection ended, or why the library stopped; the first of them
        self.errors = []  # (code, text) of the peer, notices left out
        self.notices = set()
        self.reached = {}  # stage: (time, value)
        self.opened = False  # the TCP connect succeeded
        self.closing = False

    def begin(self):
        """All is made, and the library's connect begins."""
        self.began = time.monotonic()

    def reach(self, stage, value=None):
        """The library has got as far as `stage`."""
        if stage not in self.reached:
            self.reached[stage] = (time.monotonic(), value)
            self.events.put(stage)

    def take(self, data):
        """Bytes came in."""
        self.received += len(data)
        if len(self.head) < LARGEST_REPLY:
            self.head += bytes(data[: LARGEST_REPLY - len(self.head)])
            self.events.put("bytes")

    @property
    def last(self):
        """The latest error as text."""
        return "error %d: %s" % self.errors[-1] if self.errors else ""

    def error(self, code, text):
        """An error or a notice of the API, in whatever form the library gives it."""
        if code in UPSTREAM or 2100 <= code < 2200 or code in (1101, 1102, 1300):
            self.notices.add(code)
        elif code not in LOCAL:
            self.errors.append((code, str(text)))
            self.events.put("error")

    def finish(self, kind, text=""):
        """The connection has ended, or the library has given up; only the first reason counts."""
        if self.end is None and not self.closing:
            self.end = (kind, str(text))
            self.events.put("end")

    def fail(self, error):
        """An exception of a connect, a receive or a send."""
        number = errno_of(error)
        if isinstance(error, socket.gaierror):
            self.finish("name", error)
        elif isinstance(error, ConnectionRefusedError) or number == errno.ECONNREFUSED:
            self.finish("refused", error)
        elif isinstance(error, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)):
            self.finish("reset", error)
        elif number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            self.finish("no_route", error)
        elif number == errno.ETIMEDOUT:
            self.finish("unreachable", error)
        elif number in EXHAUSTED or isinstance(error, MemoryError) or "can't start new thread" in str(error):
            self.finish("exhausted", "%s: %s" % (type(error).__name__, error))
        else:
            self.finish("failed", "%s: %s" % (type(error).__name__, error))

    def permits(self, data):
        """Whether a monitor may send this: the hello, or one of the few messages. No library is trusted with more."""
        number = sent_id(bytes(data))
        if number is None or number in PERMITTED:
            return True
        print("kept back what a monitor must not send: message %d" % number, flush=True)
        return False

    def watch(self, module):
        """Make a module that uses `socket.socket()` use one that tells us; it behaves no differently.

        ibapi swallows the exception of its connect and reports 502 for all: here is the only place to see the reason.
        """
        names = dict(vars(socket))
        names["socket"] = _observed(self)
        module.socket = types.SimpleNamespace(**names)

    def close(self, connection, seconds):
        """End our side of an ibapi Connection, let the library's reader drain what still comes, then close it.

        A close with unread bytes would be a reset, and resets leave zombies in a gateway.
        """
        self.closing = True
        sock = connection.socket if connection is not None else None
        if sock is None:
            return
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        until = time.monotonic() + seconds
        while connection.socket is not None and time.monotonic() < until:
            time.sleep(0.002)  # the reader closes it at the end of file
        with contextlib.suppress(OSError, AttributeError):
            connection.disconnect()


def errno_of(error):
    """The number of a system error; asyncio puts those of several addresses into one text: the clearest of them."""
    if not isinstance(error, OSError):
        return None
    if error.errno is not None:
        return error.errno
    said = [int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))]
    return errno.ECONNREFUSED if errno.ECONNREFUSED in said else next(iter(said), None)


def _observed(witness):  # noqa: C901 - one small method for each thing to be seen
    class Observed(socket.socket):
        """A socket that tells of its connect, its first bytes and its end."""

        def connect(self, address):
            try:
                super().connect(address)
            except OSError as error:
                witness.fail(error)
                raise
            witness.opened = True

        def recv(self, *arguments):
            try:
                data = super().recv(*arguments)
            except socket.timeout:
                raise
            except OSError as error:
                if error.errno != errno.EBADF:  # closed by another thread
                    witness.fail(error)
                raise
            if data:
                witness.take(data)
            else:
                witness.finish("eof")
            return data

        def send(self, *arguments):
            if not witness.permits(arguments[0]):
                return len(arguments[0])
            try:
                return super().send(*arguments)
            except OSError as error:
                witness.fail(error)
                raise

    return Observed


# How a connection ended: outcome and cause.
ENDS = {
    "name": ("unavailable", "name_unknown"),
    "refused": ("refused", "connect_refused"),
    "no_route": ("unavailable", "no_route"),
    "exhausted": ("unavailable", None),
    "unreachable": ("timeout", "connect_timeout"),
    "too_old": ("rejected", "too_old"),
}


class Failure(Exception):
    """A probe that ended before its last stage."""

    def __init__(self, outcome, cause, detail, code=None):
        super().__init__(detail)
        self.ending = {"end": outcome, "cause": cause, "detail": detail, "code": code}


def climb(driver, request, say, started):
    """Run one probe and `say` a line for each stage and one for the end.

    `request` is {"host", "port", "client_id", "deadline"} and maybe {"spacing"}. `deadline` is in
    seconds from `started`; a little of it is kept for closing in order.
    """
    witness = Witness()
    margin = min(LINGER + 0.25, 0.25 * request["deadline"])
    until = started + request["deadline"] - margin
    session, mark, paused, stage = None, 0.0, 0.0, STAGES[0]
    try:
        session = driver.begin(request["host"], request["port"], request["client_id"], witness)
        for stage in STAGES:
            if stage == "time":
                session.ask_time()
                asked = time.monotonic()
            elif stage == "contract":
                rest = max(0.0, min(asked + request.get("spacing", SPACING), until) - time.monotonic())
                time.sleep(rest)
                paused += rest
                mark = time.monotonic()
                session.ask_contract()
            await_stage(witness, stage, until)
            mark = max(mark, witness.began)
            at, value = witness.reached[stage]
            say(dict({"stage": stage, "seconds": round(max(0.0, at - mark), 6)}, **_told(stage, value)))
            mark = max(mark, at)
        ending = {
            "end": "ok",
            "stage": None,
            "cause": None,
            "detail": witness.reached["contract"][1] or "",
            "code": None,
        }
    except Failure as failure:
        ending, mark = dict(failure.ending, stage=stage), time.monotonic()
    except Exception as error:
        traceback.print_exc()
        witness.fail(error)  # where the connection has ended, that is the reason: a send meets it as an exception
        ending, mark = dict(ended(witness, stage).ending, stage=stage), time.monotonic()
    say(dict(ending, opened=witness.opened, seconds=round(max(0.0, mark - witness.began - paused), 6)))
    witness.closing = True
    if session is not None:
        session.close(min(LINGER, margin))
    say({"closed": True})


def _told(stage, value):
    if stage == "connected":
        return {"server_version": value}
    if stage == "accounts":
        return {"accounts": len(value or ())}
    return {}


def await_stage(witness, stage, until):
    """Return when `stage` is reached; raise Failure with the true reason when it cannot be any more."""
    over, called = False, time.monotonic()
    while True:
        if stage == "connected":
            check_reply(witness.head)
        if stage in witness.reached:
            return
        check_errors(witness, stage)
        if stage == "contract" and witness.notices & UPSTREAM:
            until = min(until, called + PATIENCE)
        if witness.end is not None and not over:
            over = True
            until = min(until, time.monotonic() + (SETTLE if witness.received else 0.0))
        try:
            witness.events.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise (ended if over else silent)(witness, stage) from None


def check_reply(head):
    """Raise if the answer to the hello is none that any client could use; some would take it for a success."""
    if foreign(head):
        raise Failure("garbled", "malformed", "it said %s" % quoted(head))
    fields = first_frame(head)
    if len(fields) >= 5 and fields[0] == b"4":  # an error where the version should be: 4, 2, id, code, text
        code, text = int(fields[3]) if fields[3].isdigit() else 0, quoted(fields[4], 200)[1:-1]
        raise Failure("rejected", "too_old" if code == 503 else "api_error", "error %d: %s" % (code, text), code)
    if len(fields) == 2 and fields[0] == b"-1":
        raise Failure("rejected", "redirect", "sent us to %s" % quoted(fields[1]))
    if len(fields) == 2 and fields[0].isdigit() and int(fields[0]) < OLDEST_VERSION:
        raise Failure("rejected", "too_old", "server version %d" % int(fields[0]))


def check_errors(witness, stage):
    """Raise if the peer has refused in so many words: a fatal error, or any error and then an early end."""
    for code, text in list(witness.errors):
        if code in FATAL or (stage in ("connected", "ready") and witness.end is not None):
            raise Failure("rejected", "too_old" if code == 503 else "api_error", "error %d: %s" % (code, text), code)


def ended(witness, stage):
    """Why a connection that has ended before `stage` did so."""
    kind, text = witness.end
    if kind in ENDS:
        return Failure(*ENDS[kind], text)
    if kind == "gave_up":
        return silent(witness, stage)
    if kind in ("eof", "reset"):
        how = "reset the connection" if kind == "reset" else "ended the connection"
        return Failure("closed", kind, "the peer %s %s" % (how, _where(witness, stage)))
    return Failure("crashed", None, text)


def silent(witness, stage):
    """Why nothing more came before the deadline."""
    if not witness.opened:
        return Failure("timeout", "connect_timeout", "no answer to the TCP connect")
    if stage == "connected":
        if not witness.received:
            return Failure("timeout", "silence", "not one byte of a reply to the hello")
        if len(first_frame(witness.head)) == 2:
            return Failure("timeout", None, "the whole reply to the hello arrived, and the library still waits for it")
        return Failure("timeout", "unfinished", "%d bytes of a reply, then silence" % witness.received)
    if stage == "contract" and witness.notices & UPSTREAM:
        codes = ", ".join(str(code) for code in sorted(witness.notices & UPSTREAM))
        return Failure("ok", None, "EUR.USD was not answered; the gateway reports %s" % codes)
    return Failure("timeout", "silence", "no answer %s" % _where(witness, stage))


def _where(witness, stage):
    after = {
        "connected": "before it replied to the hello",
        "ready": "before nextValidId, which startApi asks for",
        "time": "to reqCurrentTime",
        "accounts": "with the managed accounts",
        "contract": "to reqContractDetails for EUR.USD",
    }[stage]
    return after + (" (%d bytes came)" % witness.received if stage == "connected" and witness.received else "")


def sent_id(data):
    """The id of the one message in `data`, as text or as four bytes; None of the hello, -1 of what has none."""
    if data.startswith(b"API\0"):
        return None
    text, number = data[4:].split(b"\0", 1)[0], int.from_bytes(data[4:8], "big")
    if text.isdigit():
        return int(text)
    if len(data) < 8 or text:
        return -1
    return number - PROTOBUF if number > PROTOBUF else number


def first_frame(head):
    """The fields of the first frame, or none while it is incomplete."""
    size = int.from_bytes(head[:4], "big")
    if len(head) < 4 + size or not size:
        return []
    fields = bytes(head[4 : 4 + size]).split(b"\0")
    return fields[:-1] if not fields[-1] else fields


def foreign(head):
    """Whether the bytes rule out a reply to the hello, whatever may follow."""
    if len(head) >= 4 and int.from_bytes(head[:4], "big") > LARGEST_REPLY:
        return True
    return re.fullmatch(b"-?[0-9]{0,9}", head[4:].split(b"\0", 1)[0]) is None


def quoted(data, most=48):
    """Bytes as short printable text."""
    return '"%s"' % bytes(data[:most]).decode("latin-1").encode("unicode_escape").decode("ascii")
