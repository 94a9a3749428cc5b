"""Why a library's probe failed: the first frame, the errors, the end of the connection, or silence at a stage.

The reason is what the socket showed, not what the library says afterwards.
"""

import re

from .frames import complete_frames, error_in, is_foreign, quoted
from .observer import UPSTREAM, error_text

OLDEST_VERSION = 100
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


def stage_of_failure(observer, stage):
    """The request of the download that has not ended, or that the library sent last; any other stage as it is.

    Some libraries download from `ready` on, so an end of the connection before `download` may be within it too.
    """
    within = observer.downloads and observer.end is not None and observer.download.pending()
    if stage != "download" and not (within and stage in ("time", "accounts")):
        return stage
    return observer.download.pending() or observer.download.last() or "positions"


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
    present, missing = ("nextValidId", "managedAccounts") if 9 in received else ("managedAccounts", "nextValidId")
    return "%s arrived, %s did not" % (present, missing)


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
