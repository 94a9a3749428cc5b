"""What a gateway's notices mean, by their codes alone: the link to IBKR's servers, and the data farms.

    1100, 2110          the gateway has lost IBKR's servers
    1101, 1102          it has them again, market data lost or kept
    2103, 2105, 2157    a market data, historical data or security definition farm is disconnected
    2104, 2106, 2158    it is connected
    2107, 2108          it is idle, but there on demand: connected
    1300                the API has another port from now on

(docs/facts.md: codes.) A farm's name is what follows the last colon of the text; no rule reads the words before.
2107 and 2108 also come without one, as in "... available upon demand.ushmds": the name then is the end of the last
word, after its first dot.
"""

import re
from functools import lru_cache

from exporter.model import Farm, FarmKind, SessionFacts
from exporter.model.copies import replace
from exporter.protocol.error_codes import DATA_LOST, LOST, PORT_RESET, POSSIBLE, RESTORED, WARNINGS
from exporter.protocol.messages import ApiError, ManagedAccounts, Message, NextValidId, Unreadable

DISCONNECTED = {2103: FarmKind.MARKET, 2105: FarmKind.HISTORICAL, 2157: FarmKind.DEFINITIONS}
CONNECTED = {
    2104: FarmKind.MARKET,
    2106: FarmKind.HISTORICAL,
    2158: FarmKind.DEFINITIONS,
    2107: FarmKind.HISTORICAL,
    2108: FarmKind.MARKET,
}
PORTS = range(1, 65536)

MOST_FARMS = 64  # IBKR has some thirty
MOST_ERRORS = 16
MOST_MALFORMED = 4
UNNAMED = "unnamed"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")
_DIGITS = re.compile(r"[0-9]+")


def apply_message(facts: SessionFacts, message: Message) -> SessionFacts:
    """The facts after one more message; the gateway's clock is no fact without ours, so times change nothing here."""
    match message:
        case NextValidId(order_id):
            return replace(facts, next_valid_id=order_id)
        case ManagedAccounts(accounts):
            return replace(facts, accounts=accounts)
        case ApiError():
            return _apply_notice(facts, message)
        case Unreadable(reason):
            malformed = dict.fromkeys((*facts.malformed, reason))
            return replace(facts, malformed=tuple(malformed)[:MOST_MALFORMED])
        case _:
            return facts


def farm_name(text: str) -> str:
    """The name after the last colon, or at the end of the last word; `unnamed` if it cannot be a label."""
    name = text.rpartition(":")[2].strip()
    if " " in name:
        name = name.split()[-1].partition(".")[2]
    return name if _NAME.fullmatch(name) else UNNAMED


def fill_gaps(facts: SessionFacts, others: SessionFacts) -> SessionFacts:
    """The facts, completed by `others` where they say nothing about the link to IBKR or about a kind of farm.

    A session reports all farms of a kind or none, so its list replaces the older one.
    """
    kinds = {farm.kind for farm in facts.farms}
    farms = _joined(tuple(farm for farm in others.farms if farm.kind not in kinds), facts.farms)
    if facts.upstream is not None:
        return replace(facts, farms=farms)
    errors = tuple(dict.fromkeys((*facts.errors, *LOST.intersection(others.errors))))
    return replace(facts, upstream=others.upstream, farms=farms, errors=errors)


def merge_newer(known: SessionFacts, before: SessionFacts, now: SessionFacts) -> SessionFacts:
    """Merge into `known` what changed in one session from `before` to `now`.

    What did not change there may be older than what is known.
    """
    gone = {_place(farm) for farm in before.farms} - {_place(farm) for farm in now.farms}
    restored = before.upstream is False and now.upstream is True
    kept = tuple(farm for farm in known.farms if _place(farm) not in gone and (farm.connected or not restored))
    upstream = known.upstream if now.upstream is before.upstream else now.upstream
    errors = dict.fromkeys((*known.errors, *(code for code in now.errors if code not in before.errors)))
    return replace(
        known,
        upstream=upstream,
        farms=_joined(kept, tuple(farm for farm in now.farms if farm not in before.farms)),
        errors=tuple(code for code in errors if upstream is False or code not in LOST)[-MOST_ERRORS:],
        new_port=now.new_port or known.new_port,
    )


def _apply_notice(facts: SessionFacts, notice: ApiError) -> SessionFacts:
    code = notice.code
    if code in RESTORED:
        # The gateway repeats the notice of a farm that is still disconnected, and not always that of the others.
        errors = tuple(error for error in facts.errors if error not in LOST)
        errors = _listed(errors, code) if code == DATA_LOST else errors
        farms = tuple(farm for farm in facts.farms if farm.connected)
        return replace(facts, upstream=True, farms=farms, errors=errors)
    if code in DISCONNECTED:
        farm = _farm(DISCONNECTED[code], farm_name(notice.text), connected=False)
        return replace(facts, farms=_joined(facts.farms, (farm,)))
    if code in CONNECTED:
        farm = _farm(CONNECTED[code], farm_name(notice.text), connected=True)
        # A farm is reached through the link. Right after a loss the news of a farm may be older than it.
        upstream = True if facts.upstream is None else facts.upstream
        return replace(facts, upstream=upstream, farms=_joined(facts.farms, (farm,)))
    facts = replace(facts, upstream=False) if code in LOST else facts
    facts = replace(facts, new_port=_port(notice.text)) if code == PORT_RESET else facts
    if code not in POSSIBLE or (code in WARNINGS and code not in LOST):
        return facts
    return replace(facts, errors=_listed(facts.errors, code))


def _port(text: str) -> int | None:
    """The last number in a text, if it can be a port."""
    numbers = _DIGITS.findall(text)
    port = int(numbers[-1][:6]) if numbers else 0
    return port if port in PORTS else None


@lru_cache(maxsize=1024)  # the gateways of a fleet name the same few farms, and each state keeps several reports
def _farm(kind: FarmKind, name: str, *, connected: bool) -> Farm:
    return Farm(kind, name, connected)


def _place(farm: Farm) -> tuple[FarmKind, str]:
    return farm.kind, farm.name


@lru_cache(maxsize=256)
def _joined(before: tuple[Farm, ...], news: tuple[Farm, ...]) -> tuple[Farm, ...]:
    """Every farm by kind and name, the news over what was before; a disconnected one is never crowded out."""
    if all(farm in before for farm in news):
        return before  # most notices of a flood repeat what is known
    farms = {_place(farm): farm for farm in (*before, *news)}
    return tuple(sorted(sorted(farms.values(), key=lambda farm: farm.connected)[:MOST_FARMS]))


def _listed(errors: tuple[int, ...], code: int) -> tuple[int, ...]:
    """The codes with one more: each once, and not without end."""
    return errors if code in errors or len(errors) >= MOST_ERRORS else (*errors, code)
