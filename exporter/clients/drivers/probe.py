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
import re
import time
import traceback

from .download import REQUESTS
from .frames import complete_frames, error_in, is_foreign, quoted
from .observer import UPSTREAM, Observer, error_text

# Seconds between two requests: Gateway 10.45 drops the second of two within one second (docs/facts.md: messages).
SPACING = 1.1
SETTLE = 0.1  # seconds for a library to decode what arrived before the end of the connection: an error 326, say
PATIENCE = 2.0  # seconds for a contract while the gateway says that IBKR's servers are out of reach
DOWNLOAD_PATIENCE = 2.0  # seconds for one request; a deadline that leaves less says nothing about gateway or library
LINGER = 0.5  # seconds for the peer to end its side when we have ended ours
OLDEST_VERSION = 100
STAGES = ("connected", "ready", "time", "accounts", "contract")
REQUESTED = ("time", "download", "contract")
DOWNLOADING = ("connected", "ready", "time", "accounts", "download", "contract")
# Errors after which no session will come: exporter.protocol.error_codes.FATAL, but 504, which a library says itself.
FATAL = frozenset((326, 501, 503, 506, 507, 508))
REFUSALS = FATAL | frozenset((502, 504))  # instead of a reply to the hello
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
        """Return how the probe ended that has reached every stage."""
        detail = self.observer.reached["contract"][1] or ""
        return {"end": "ok", "stage": None, "cause": None, "detail": detail, "code": None}

    def failure(self, failure):
        """Return how the probe ended that failed at the present stage."""
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


def stage_of_failure(observer, stage):
    """The request of the download that has not ended, or that the library sent last; any other stage as it is.

    Some libraries download from `ready` on, so an end of the connection before `download` may be within it too.
    """
    within = observer.downloads and observer.end is not None and observer.download.pending()
    if stage != "download" and not (within and stage in ("time", "accounts")):
        return stage
    return observer.download.pending() or observer.download.last() or "positions"


def _facts(stage, value):
    if stage == "connected":
        return {"server_version": value}
    if stage == "accounts":
        return {"accounts": len(value or ())}
    return {}


def wait_for_stage(observer, stage, until):
    """Return when `stage` is reached; raise Failure with the true reason when it cannot be reached any more."""
    over, called = False, time.monotonic()
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
        try:
            observer.events.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            if stage == "download" and not over and time.monotonic() - observer.download.changed_at < DOWNLOAD_PATIENCE:
                text = "the deadline came before the end of the account download: give this client a longer one"
                raise Failure("unavailable", None, text) from None
            raise (ended if over else silent)(observer, stage) from None


def check_reply(head):
    """Raise if the answer to the hello is one that no client can use; some libraries take it for a success.

    The reply is the first frame of two fields. Before it an error refuses the hello; any other message says nothing.
    """
    if is_foreign(head):
        raise Failure("garbled", "malformed", "it said %s" % quoted(head))
    for fields in complete_frames(head):
        code, text = error_in(fields)
        if code in REFUSALS:
            text = error_text(code, quoted(text, 200)[1:-1])
            raise Failure("rejected", "too_old" if code == 503 else "api_error", text, code)
        if len(fields) == 2:
            check_version(fields, head)
            return


def check_version(fields, head):
    """Raise if the two fields of a reply are no server version that a client can use."""
    version, text = fields
    if version == b"-1" and re.fullmatch(rb"[^\s]+", text):
        raise Failure("rejected", "redirect", "sent us to %s" % quoted(text))
    if not version.isdigit() or not int(version):
        raise Failure("garbled", "malformed", "it said %s" % quoted(head))
    if int(version) < OLDEST_VERSION:
        raise Failure("rejected", "too_old", "server version %d" % int(version))


def check_errors(observer, stage):
    """Raise if the peer refused by an error: a fatal one, or any before an early end."""
    for code, text in list(observer.errors):
        if code in FATAL or (stage in ("connected", "ready") and observer.end is not None):
            raise Failure("rejected", "too_old" if code == 503 else "api_error", error_text(code, text), code)


def ended(observer, stage):
    """The Failure of a connection that ended before `stage`."""
    kind, text = observer.end
    if kind in ENDS:
        return Failure(*ENDS[kind], text)
    if kind == "gave_up":
        return silent(observer, stage)
    if kind in ("eof", "reset"):
        stage = "download" if stage_of_failure(observer, stage) != stage else stage
        how = "reset the connection" if kind == "reset" else "ended the connection"
        return Failure("closed", kind, "the peer %s %s" % (how, _where(observer, stage)))
    return Failure("crashed", None, text)


def silent(observer, stage):
    """The Failure of a probe in which nothing more came before the deadline."""
    if not observer.opened:
        return Failure("timeout", "connect_timeout", "no answer to the TCP connect")
    if stage == "connected":
        if not observer.received:
            return Failure("timeout", "silence", "not one byte of a reply to the hello")
        if observer.exchange.replied:
            return Failure("timeout", None, "the whole reply to the hello arrived, and the library still waits for it")
        return Failure("timeout", "unfinished", "%d bytes of a reply, then silence" % observer.received)
    if stage == "contract" and observer.notices & UPSTREAM:
        codes = ", ".join(str(code) for code in sorted(observer.notices & UPSTREAM))
        return Failure("ok", None, "EUR.USD was not answered; the gateway reports %s" % codes)
    begun = stage == "ready" and observer.exchange.received_ids & {9, 15}
    text = _missing(observer.exchange.received_ids) if begun else "no answer %s" % _where(observer, stage)
    lost = stage == "download" and observer.download.sent_at and observer.download.pending() is None
    if lost:
        text = "the whole answer arrived, and the library still waits"
    elif stage == "download":
        text = "the answer to the request for %s did not end" % _request(observer)
    return Failure("timeout", None if lost else "silence", text)


def _missing(received):
    """What a session lacks in which nextValidId (9) or managedAccounts (15) arrived."""
    if {9, 15} <= received:
        return "nextValidId and managedAccounts arrived, and the library still waits"
    there, missing = ("nextValidId", "managedAccounts") if 9 in received else ("managedAccounts", "nextValidId")
    return "%s arrived, %s did not" % (there, missing)


def _request(observer):
    return stage_of_failure(observer, "download").replace("_", " ")


def _where(observer, stage):
    place = {
        "connected": "before it replied to the hello",
        "ready": "before nextValidId, which startApi asks for",
        "time": "to reqCurrentTime",
        "accounts": "with the managed accounts",
        "download": "before the end of the %s" % _request(observer),
        "contract": "to reqContractDetails for EUR.USD",
    }[stage]
    return place + (" (%d bytes came)" % observer.received if stage == "connected" and observer.received else "")
