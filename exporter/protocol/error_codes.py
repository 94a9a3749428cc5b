"""The API's errors by their numbers: what each means to us, in rules and in words. A gateway's own text never counts.

Each with its source in docs/facts.md: codes.
"""

from collections.abc import Iterable, Mapping

ID_IN_USE = 326
OUT_OF_DATE = 503
DATA_LOST = 1101
PORT_RESET = 1300
FATAL = frozenset(
    {ID_IN_USE, OUT_OF_DATE, 501, 504, 506, 507, 508}
)  # after these no session begins; 505 (unknown message id) ends nothing
LOST = frozenset({1100, 2110})
RESTORED = frozenset({DATA_LOST, 1102})
WARNINGS = range(2100, 2200)  # IBKR's system and warning notices; none of them is an error
NOTICES = frozenset({*WARNINGS, *LOST, *RESTORED, PORT_RESET})  # they come unasked, and answer no request
POSSIBLE = range(1, 1_000_000)  # IBKR's have up to five digits

MEANINGS: Mapping[int, str] = {
    100: "more than 50 messages a second were sent to it",
    321: "a request was refused; so does an API that is set to read-only",
    ID_IN_USE: "the client id is in use",
    OUT_OF_DATE: "it is out of date",
    507: "a message that it cannot read; some versions say so of a client id in use",
    1100: "it has lost IBKR's servers",
    DATA_LOST: "the link to IBKR is back, and subscriptions to data are lost: programs must subscribe again",
    PORT_RESET: "its API port was changed, and sessions on the old one are dropped",
    2110: "it has lost IBKR's servers",
    10182: "live updates cannot be had: it is disconnected",
    10197: "no market data while another session of the same user has it",
}


def error_texts(codes: Iterable[int]) -> str:
    """Errors for people, each with its meaning where we know it."""
    return "; ".join(f"error {code}" + (f": {MEANINGS[code]}" if code in MEANINGS else "") for code in codes)
