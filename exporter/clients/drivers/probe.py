"""How far does a library get, and what stopped it? Runs inside the foreign interpreter; standard library, Python 3.8.

A driver starts its library in a thread and reports to an `Observer`; `run_probe` waits in the main thread:

    stage      reached when                                       sent for it
    connected  the library has taken the answer to its hello      hello, startApi
    ready      nextValidId                                        -
    time       the current time                                   reqCurrentTime
    accounts   managedAccounts (they come after startApi unasked) -
    contract   EUR.USD is known                                   reqContractDetails

If the request asks for the account download, its requests are stages before `contract`: positions, open_orders,
completed_orders, account_updates, executions, account_summary, as far as the library sends them.

The reason given is what the socket showed, not what the library says afterwards. A driver is a file NAME_driver.py with

    LIBRARY, PYTHONS   the import name; the oldest and newest Python it works on
    load()             import the library and return {"version": "..."}; must leave no thread behind, for it is forked
    begin(host, port, client_id, observer)   start connecting in a thread and return at once an object with
                       ask_time(), ask_contract(), ask_download(spacing), close(seconds); ask_download sends what
                       the library sends to download the account, and reaches the stage `download` at the end
"""

import queue
import time
import traceback

from .download import REQUESTS
from .failures import Failure, check_errors, check_reply, ended, silent, stage_of_failure
from .observer import UPSTREAM, Observer

# Seconds between two requests: Gateway 10.45 drops the second of two within one second (docs/facts.md: messages).
SPACING = 1.1
SETTLE = 0.1  # seconds for a library to decode what arrived before the end of the connection: an error 326, say
# Turns of so many seconds for a library that has the whole reply to its hello; it takes milliseconds. On a busy machine
# the library gets its turn as often as we do.
TURNS, TURN = 10, 0.2
PATIENCE = 2.0  # seconds for a contract while the gateway says that IBKR's servers are out of reach
DOWNLOAD_PATIENCE = 2.0  # seconds for one request; a deadline that leaves less says nothing about gateway or library
LINGER = 0.5  # seconds for the peer to end its side when we have ended ours
STAGES = ("connected", "ready", "time", "accounts", "contract")
REQUESTED = ("time", "download", "contract")
DOWNLOADING = ("connected", "ready", "time", "accounts", "download", "contract")


def run_probe(driver, request, write_line, started):
    """Run one probe: a line for each stage, one for the end, one when the connection is closed.

    `request` is {"host", "port", "client_id", "deadline"} and maybe {"spacing", "download", "account"}. `deadline` is
    in seconds from `started`; a little of it is kept for closing in order.
    """
    observer = Observer(request.get("account"), downloads=bool(request.get("download")))
    if observer.downloads:  # a process that is killed has then said which request it waited for
        observer.on_sent = lambda number: number in REQUESTS and write_line({"request": REQUESTS[number][0]})
    margin = min(LINGER + 0.25, 0.25 * request["deadline"])
    stages = Stages(observer, request.get("spacing", SPACING), started + request["deadline"] - margin, write_line)
    try:
        stages.session = driver.begin(request["host"], request["port"], request["client_id"], observer)
        stages.pass_all()
        ending, ended_at = stages.success(), stages.mark
    except Failure as failure:
        ending, ended_at = stages.failure(failure), time.monotonic()
    except Exception as error:
        traceback.print_exc()
        observer.fail(error)  # where the connection has ended, that is the reason: a send meets it as an exception
        ending, ended_at = stages.failure(ended(observer, stages.stage)), time.monotonic()
    if observer.downloads and "download" not in observer.reached:
        write_download(observer, write_line)
    seconds = round(max(0.0, ended_at - observer.began - observer.paused), 6)
    exchange = observer.exchange
    write_line(dict(ending, opened=observer.opened, seconds=seconds, exchange=exchange.lines(), hello=exchange.hello))
    observer.closing = True
    if stages.session is not None:
        stages.session.close(min(LINGER, margin))
    write_line({"closed": True})


class Stages:
    """The stages of one probe, one after the other, each until the monotonic time `until` at the latest.

    `stage` is the present one and `mark` is when it began; `asked` is when the last request was sent.
    """

    def __init__(self, observer, spacing, until, write_line):
        self.observer, self.spacing, self.until, self.write_line = observer, spacing, until, write_line
        self.session = None
        self.stage, self.mark, self.asked = STAGES[0], 0.0, 0.0

    def pass_all(self):
        """Wait for every stage; raise Failure at the first that is not reached."""
        for stage in DOWNLOADING if self.observer.downloads else STAGES:
            self.stage = stage
            if stage in REQUESTED:
                self.observer.paused += pause(self.asked + self.spacing, self.until)
                self.mark = self.asked = self.observer.download.changed_at = time.monotonic()
                ask(self.session, stage, self.spacing)
            wait_for_stage(self.observer, stage, self.until)
            self.mark = max(self.mark, self.observer.began)
            if stage == "download":
                self.mark = self.asked = time.monotonic()
                write_download(self.observer, self.write_line)
            else:
                self.write_stage(stage)

    def write_stage(self, stage):
        """Write the line of a stage that was reached; the next one begins there."""
        at, value = self.observer.reached[stage]
        seconds, exchange = round(max(0.0, at - self.mark), 6), self.observer.exchange.lines()
        self.write_line(dict({"stage": stage, "seconds": seconds, "exchange": exchange}, **_facts(stage, value)))
        self.mark = max(self.mark, at)
        if stage == "ready" and self.observer.downloads:
            self.asked = at  # some libraries download from here on

    def success(self):
        """Return the end of a probe that has reached every stage."""
        detail = self.observer.reached["contract"][1] or ""
        return {"end": "ok", "stage": None, "cause": None, "detail": detail, "code": None}

    def failure(self, failure):
        """Return the end of a probe that failed at the present stage."""
        return dict(failure.ending, stage=stage_of_failure(self.observer, self.stage))


def pause(until, limit):
    """Sleep until the monotonic time `until`, at most until `limit`; return the seconds."""
    seconds = max(0.0, min(until, limit) - time.monotonic())
    time.sleep(seconds)
    return seconds


def ask(session, stage, spacing):
    """Have the library send the request of this stage."""
    if stage == "time":
        session.ask_time()
    elif stage == "download":
        session.ask_download(spacing)
    else:
        session.ask_contract()


def write_download(observer, write_line):
    """A line for each request of the download that was answered to its end."""
    for line in observer.download.lines():
        write_line(line)


def _facts(stage, value):
    if stage == "connected":
        return {"server_version": value}
    if stage == "accounts":
        return {"accounts": len(value or ())}
    return {}


def wait_for_stage(observer, stage, until):
    """Return when `stage` is reached; raise Failure with the true reason when it cannot be reached."""
    over, called, turns = False, time.monotonic(), TURNS
    while True:
        if stage == "connected":
            check_reply(observer.head)
        if stage in observer.reached:
            return
        check_errors(observer, stage)
        if stage == "contract" and observer.notices & UPSTREAM:
            until = min(until, called + PATIENCE)
        if observer.end is not None and not over:
            over = True
            until = min(until, time.monotonic() + (SETTLE if observer.received else 0.0))
        left = max(0.0, until - time.monotonic())
        has_reply = stage == "connected" and observer.exchange.replied and not over
        try:
            observer.events.get(timeout=min(left, TURN) if has_reply else left)
        except queue.Empty:
            turns -= has_reply
            if has_reply and turns and time.monotonic() < until:
                continue
            if stage == "download" and not over and time.monotonic() - observer.download.changed_at < DOWNLOAD_PATIENCE:
                text = "the deadline came before the end of the account download: give this client a longer one"
                raise Failure("unavailable", None, text) from None
            raise (ended if over else silent)(observer, stage) from None
