"""The account download of a library: which request has reached its end. Standard library, Python 3.8.

Only message ids are read. exporter/protocol/download.py has the same table for our own wire.

    request            sent      ended by
    positions          61        62 positionEnd
    open_orders        5, 16     53 openOrderEnd
    completed_orders   99        102 completedOrdersEnd
    account_updates    6, 76     54 accountDownloadEnd, 74 accountUpdateMultiEnd
    executions         7         55 execDetailsEnd
    account_summary    62        64 accountSummaryEnd
"""

import time

REQUESTS = {
    61: ("positions", 62),
    5: ("open_orders", 53),
    16: ("open_orders", 53),
    99: ("completed_orders", 102),
    6: ("account_updates", 54),
    76: ("account_updates", 74),
    7: ("executions", 55),
    62: ("account_summary", 64),
}
CANCELS = frozenset((63, 64, 77))  # cancelAccountSummary, cancelPositions, cancelAccountUpdatesMulti
PERMITTED = frozenset(REQUESTS) | CANCELS
ENDS = {end: name for name, end in REQUESTS.values()}


class DownloadRecord:
    """The requests of one connection in the order in which the library sent them."""

    def __init__(self):
        self.sent_at = {}  # request: monotonic time
        self.seconds = {}  # request: until its end
        self.open = {}  # message id that ends a request: how many are still to come
        self.changed_at = time.monotonic()  # when a request was last sent or answered

    def sent(self, number):
        """Record a request by its message id."""
        if number in REQUESTS:
            name, end = REQUESTS[number]
            self.changed_at = time.monotonic()
            self.sent_at.setdefault(name, self.changed_at)
            self.open[end] = self.open.get(end, 0) + 1

    def received(self, numbers):
        """Record messages by their ids."""
        for number in numbers:
            if self.open.get(number):
                self.open[number] -= 1
                name = ENDS[number]
                self.changed_at = time.monotonic()
                self.seconds[name] = round(self.changed_at - self.sent_at[name], 6)

    def pending(self):
        """The first request whose end has not come; None if there is none."""
        waiting = {ENDS[end] for end, count in self.open.items() if count}
        return next((name for name in self.sent_at if name in waiting), None)

    def last(self):
        """The request that was sent last; None before the first."""
        return next(reversed(list(self.sent_at)), None)

    def lines(self):
        """A line for each request that has reached its end."""
        waiting = {ENDS[end] for end, count in self.open.items() if count}
        return [
            {"stage": name, "seconds": self.seconds[name]}
            for name in self.sent_at
            if name in self.seconds and name not in waiting
        ]
