"""The last messages of one connection by direction, name and time; never their contents. Standard library, Python 3.8.

("sent", "startApi", 0.003, 1)    direction, name, seconds since the connect began, how many in a row
("closed", "library", 0.005, 1)   who ended the connection: the library or the gateway
"""

import re
import time
from collections import deque

from .frames import PROTOBUF, sent_id

KEPT = 12  # the latest entries
HEAD = 64  # bytes of a frame that are read: its message id, and the whole of a reply to the hello
LARGEST_FRAME = 1 << 24  # larger lengths are another protocol's bytes
# Message ids by their names in ibapi's message.py and its methods (docs/facts.md: messages).
SENT = {
    5: "reqOpenOrders",
    6: "reqAccountUpdates",
    7: "reqExecutions",
    8: "reqIds",
    9: "reqContractDetails",
    15: "reqAutoOpenOrders",
    16: "reqAllOpenOrders",
    17: "reqManagedAccts",
    49: "reqCurrentTime",
    61: "reqPositions",
    62: "reqAccountSummary",
    63: "cancelAccountSummary",
    64: "cancelPositions",
    71: "startApi",
    76: "reqAccountUpdatesMulti",
    77: "cancelAccountUpdatesMulti",
    99: "reqCompletedOrders",
}
RECEIVED = {
    3: "orderStatus",
    4: "error or notice",
    5: "openOrder",
    6: "updateAccountValue",
    7: "updatePortfolio",
    8: "updateAccountTime",
    9: "nextValidId",
    10: "contractDetails",
    11: "execDetails",
    14: "newsBulletins",
    15: "managedAccounts",
    49: "currentTime",
    52: "contractDetailsEnd",
    53: "openOrderEnd",
    54: "accountDownloadEnd",
    55: "execDetailsEnd",
    59: "commissionReport",
    61: "position",
    62: "positionEnd",
    63: "accountSummary",
    64: "accountSummaryEnd",
    73: "accountUpdateMulti",
    74: "accountUpdateMultiEnd",
    101: "completedOrder",
    102: "completedOrdersEnd",
}


class Exchange:
    """Records what one connection sends and receives."""

    def __init__(self):
        self.began = time.monotonic()
        self.received_ids = set()
        self.entries = deque(maxlen=KEPT)
        self.hello = None  # the lowest and the highest server version that the library accepts
        self.replied = False  # the reply to the hello has arrived
        self.readable = True
        self.head, self.size = b"", None  # of the frame that is arriving: its first bytes, its length
        self.left = 0  # bytes of that frame still to come

    def lines(self):
        """The entries as JSON can carry them."""
        return [list(entry) for entry in list(self.entries)]

    def sent(self, data, withheld):
        """Record one message of the library; `withheld`: it was not let through."""
        number = sent_id(data)
        if number is None:
            self.hello = hello_range(data)
        name = "hello" if number is None else SENT.get(number, "message %d" % number)
        self.add("withheld" if withheld else "sent", name)

    def closed(self, side):
        """Record who ended the connection."""
        self.add("closed", side)

    def received(self, data):
        """Record the frames that end or begin in these bytes; return the ids of those that ended."""
        ids = []
        while data and self.readable:
            if self.size is None:
                data = self.begin_frame(data)
            else:
                self.head += data[: max(0, HEAD - len(self.head))]
                taken = min(self.left, len(data))
                data, self.left = data[taken:], self.left - taken
            if self.size is not None and not self.left:
                ids.append(self.end_frame())
        return ids

    def begin_frame(self, data):
        """Take the four bytes of a length, as far as they are there; return the rest."""
        missing = 4 - len(self.head)
        self.head, data = self.head + data[:missing], data[missing:]
        if len(self.head) == 4:
            self.size = self.left = int.from_bytes(self.head, "big")
            self.head = b""
            if self.size > LARGEST_FRAME:
                self.readable = False
                self.add("received", "bytes of another protocol")
        return data

    def end_frame(self):
        """Name the frame that has arrived; return its message id, or None."""
        head, size, self.head, self.size = self.head[: self.size], self.size, b"", None
        number = message_id(head)
        if not self.replied and size <= HEAD and head.count(b"\0") == 2 and head.endswith(b"\0"):
            self.replied, number, name = True, None, "server version"
        elif not size:
            name = "an empty frame"
        elif number is None:
            name = "a frame without a message id"
        else:
            name = RECEIVED.get(number, "message %d" % number)
            self.received_ids.add(number)
        self.add("received", name)
        return number

    def add(self, direction, name):
        """Add an entry, or count one more of the last."""
        seconds = round(max(0.0, time.monotonic() - self.began), 6)
        last = self.entries[-1] if self.entries else None
        if last is not None and last[:2] == (direction, name):
            self.entries[-1] = (direction, name, last[2], last[3] + 1)
        else:
            self.entries.append((direction, name, seconds, 1))


def hello_range(data):
    """The two numbers of a hello, as in `v157..176`; None where it has none."""
    match = re.search(rb"v([0-9]{1,9})\.\.([0-9]{1,9})", data[:HEAD])
    return [int(match.group(1)), int(match.group(2))] if match else None


def message_id(head):
    """The message id at the beginning of a frame, as text or as four bytes; None: it has none."""
    text = head.split(b"\0", 1)[0]
    if text.isdigit():
        return int(text)
    if len(head) < 4 or text:
        return None
    number = int.from_bytes(head[:4], "big")
    return number - PROTOBUF if number > PROTOBUF else number
