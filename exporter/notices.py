"""What a gateway's notices mean, by their codes alone: the link to IBKR's servers, and the data farms.

    1100, 2110          the gateway has lost IBKR's servers
    1101, 1102          it has them again, market data lost or kept
    2103, 2105, 2157    a market data, historical data or security definition farm is disconnected
    2104, 2106, 2158    it is connected
    2107, 2108          it is idle, but there on demand: connected

(facts: protocol, section 4.) A farm's name is what follows the last colon of the text; no rule reads the words before.
"""

import re
from dataclasses import replace

from exporter.messages import ApiError, ManagedAccounts, Message, NextValidId
from exporter.model import Farm, FarmKind, SessionFacts

ID_IN_USE = 326
OUT_OF_DATE = 503
FATAL = frozenset({ID_IN_USE, OUT_OF_DATE, 501, 504, 505, 506, 507, 508})  # after these no session begins
LOST = frozenset({1100, 2110})
RESTORED = frozenset({1101, 1102})
DISCONNECTED = {2103: FarmKind.MARKET, 2105: FarmKind.HISTORICAL, 2157: FarmKind.DEFINITIONS}
CONNECTED = {
    2104: FarmKind.MARKET,
    2106: FarmKind.HISTORICAL,
    2158: FarmKind.DEFINITIONS,
    2107: FarmKind.HISTORICAL,
    2108: FarmKind.MARKET,
}
WARNINGS = range(2100, 2200)  # IBKR's system and warning notices; none of them is an error

MOST_FARMS = 64  # IBKR has some thirty
MOST_ERRORS = 16
UNNAMED = "unnamed"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")


def heed(facts: SessionFacts, message: Message) -> SessionFacts:
    """The facts after one more message; the gateway's clock is no fact without ours, so times change nothing here."""
    match message:
        case NextValidId(order_id):
            return replace(facts, next_valid_id=order_id)
        case ManagedAccounts(accounts):
            return replace(facts, accounts=accounts)
        case ApiError():
            return _heed_notice(facts, message)
        case _:
            return facts


def farm_name(text: str) -> str:
    """The name after the last colon; `unnamed` if that is no name, for it becomes a label."""
    name = text.rpartition(":")[2].strip()
    return name if _NAME.fullmatch(name) else UNNAMED


def completed(facts: SessionFacts, others: SessionFacts) -> SessionFacts:
    """The facts, and of others what these do not say about the link to IBKR and the farms."""
    upstream = others.upstream if facts.upstream is None else facts.upstream
    return replace(facts, upstream=upstream, farms=_joined(others.farms, facts.farms))


def _heed_notice(facts: SessionFacts, notice: ApiError) -> SessionFacts:
    code = notice.code
    if code in LOST:
        return replace(facts, upstream=False, errors=_listed(facts.errors, code))
    if code in RESTORED:
        # Farms that are still disconnected are told of again; the others not always.
        return replace(facts, upstream=True, farms=tuple(farm for farm in facts.farms if farm.connected))
    if code in DISCONNECTED:
        farm = Farm(DISCONNECTED[code], farm_name(notice.text), connected=False)
        return replace(facts, farms=_joined(facts.farms, (farm,)))
    if code in CONNECTED:
        farm = Farm(CONNECTED[code], farm_name(notice.text), connected=True)
        # A farm is reached through the link. Right after a loss the news of a farm may be older than it.
        upstream = True if facts.upstream is None else facts.upstream
        return replace(facts, upstream=upstream, farms=_joined(facts.farms, (farm,)))
    if code in WARNINGS:
        return facts
    return replace(facts, errors=_listed(facts.errors, code))


def _joined(before: tuple[Farm, ...], news: tuple[Farm, ...]) -> tuple[Farm, ...]:
    """Every farm by kind and name, the news over what was before; a disconnected one is never crowded out."""
    farms = {(farm.kind, farm.name): farm for farm in (*before, *news)}
    return tuple(sorted(sorted(farms.values(), key=lambda farm: farm.connected)[:MOST_FARMS]))


def _listed(errors: tuple[int, ...], code: int) -> tuple[int, ...]:
    """The codes with one more: each once, and not without end."""
    return errors if code in errors or len(errors) >= MOST_ERRORS else (*errors, code)
