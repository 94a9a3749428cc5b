"""What one connection of a library shows, and a check of what the library sends. Standard library, Python 3.8.

A driver hands each event of its library to the `Observer`, from any thread; probe.py waits for its `events`.
It looks at the library's own socket: libraries turn a refusal, an end of file and silence alike into a timeout.
"""

import contextlib
import errno
import queue
import re
import socket
import time
import types

from . import download
from .exchange import Exchange
from .frames import LARGEST_REPLY, sent_id

PERMITTED = frozenset((8, 9, 17, 49, 71))  # reqIds, reqContractDetails, reqManagedAccts, reqCurrentTime, startApi
# A library's own words for what the socket shows better; 505, an unknown message id, ends nothing.
LOCAL = frozenset((502, 504, 505, *range(509, 600)))
# Our machine lacked the resources for a probe: this says nothing about the target or the library.
EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL))
UPSTREAM = frozenset((1100, 2103, 2105, 2110, 2157))  # a contract may be unanswered because of these
NOTICES = UPSTREAM | frozenset((1101, 1102, 1300, *range(2100, 2200)))


class Observer:
    """The events of one connection. `events` wakes probe.py. All times are monotonic."""

    def __init__(self, account=None, *, downloads=False):
        """`downloads`: the library may also send the read-only requests of the account download, for `account`."""
        self.account, self.downloads = account, downloads
        self.download = download.DownloadRecord()
        self.on_sent = lambda number: None
        self.events = queue.Queue()
        self.began = time.monotonic()
        self.head = b""  # the first bytes received
        self.received = 0
        self.end = None  # (kind, text): how the connection ended, or why the library stopped; the first of them
        self.errors = []  # (code, text) from the peer, without notices
        self.notices = set()
        self.reached = {}  # stage: (time, value)
        self.exchange = Exchange()
        self.opened = False  # the TCP connect succeeded
        self.closing = False
        self.paused = 0.0  # seconds that a driver waited between two requests of a download

    def begin(self):
        """Start the clock: everything is prepared, the library's connect begins."""
        self.began = self.exchange.began = time.monotonic()

    def reach(self, stage, value=None):
        """Record that the library has got as far as `stage`."""
        if stage not in self.reached:
            self.reached[stage] = (time.monotonic(), value)
            self.events.put(stage)

    def take(self, data):
        """Record bytes that the library received."""
        self.received += len(data)
        self.download.received(self.exchange.received(bytes(data)))
        if len(self.head) < LARGEST_REPLY:
            self.head += bytes(data[: LARGEST_REPLY - len(self.head)])
            self.events.put("bytes")

    @property
    def last_error(self):
        """The latest error as text."""
        return error_text(*self.errors[-1]) if self.errors else ""

    def error(self, code, text):
        """Record an error or a notice of the API, in whatever form the library passes it on."""
        if code in NOTICES:
            self.notices.add(code)
        elif code not in LOCAL:
            self.errors.append((code, "" if self.downloads else str(text)))
            self.events.put("error")

    def finish(self, kind, text=""):
        """Record why the connection ended or why the library gave up; only the first reason counts."""
        if self.end is None and not self.closing:
            self.end = (kind, str(text))
            if kind in ("eof", "reset"):
                self.exchange.closed("gateway")
            self.events.put("end")

    def fail(self, error):
        """Record an exception of a connect, a receive or a send."""
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
        elif self.downloads:  # the text of an exception may quote what the library was reading
            self.finish("failed", type(error).__name__)
        else:
            self.finish("failed", "%s: %s" % (type(error).__name__, error))

    def permits(self, data):
        """Whether a monitor may send this: the hello, or one of the permitted messages."""
        number = sent_id(bytes(data))
        permitted = number is None or number in PERMITTED or (self.downloads and number in download.PERMITTED)
        self.exchange.sent(bytes(data), withheld=not permitted)
        if permitted:
            self.download.sent(number)
            self.on_sent(number)
            return True
        print("kept back what a monitor must not send: message %d" % number, flush=True)
        return False

    def close_begins(self):
        """Record that the library ends the connection by itself."""
        if self.end is None and not self.closing and self.opened:
            self.exchange.closed("library")

    def watch(self, module):
        """Replace `socket` in a module of a library by a copy whose `socket()` reports here and behaves no differently.

        ibapi swallows the exception of its connect and reports 502 for all: the reason shows only at the socket.
        """
        names = dict(vars(socket))
        names["socket"] = _observed_socket(self)
        module.socket = types.SimpleNamespace(**names)

    def close(self, connection, seconds):
        """Shut down our side of an ibapi Connection, let the library's reader read to the end, then close it.

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


def error_text(code, text):
    """An error of the API; its text is left out where it may quote the account's contents."""
    return "error %d: %s" % (code, text) if text else "error %d" % code


def errno_of(error):
    """The number of a system error. asyncio puts those of several addresses into one text: a refusal counts first."""
    if not isinstance(error, OSError):
        return None
    if error.errno is not None:
        return error.errno
    numbers = [int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))]
    return errno.ECONNREFUSED if errno.ECONNREFUSED in numbers else next(iter(numbers), None)


def _observed_socket(observer):  # noqa: C901 - one small method for each event
    class ObservedSocket(socket.socket):
        """Reports its connect, its bytes and its end."""

        def connect(self, address):
            try:
                super().connect(address)
            except OSError as error:
                observer.fail(error)
                raise
            observer.opened = True

        def close(self):
            observer.close_begins()
            super().close()

        def recv(self, *arguments):
            try:
                data = super().recv(*arguments)
            except socket.timeout:
                raise
            except OSError as error:
                if error.errno != errno.EBADF:  # closed by another thread
                    observer.fail(error)
                raise
            if data:
                observer.take(data)
            else:
                observer.finish("eof")
            return data

        def send(self, *arguments):
            if not observer.permits(arguments[0]):
                return len(arguments[0])
            try:
                return super().send(*arguments)
            except OSError as error:
                observer.fail(error)
                raise

    return ObservedSocket
