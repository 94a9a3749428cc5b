"""The one contract that the simulated gateway knows: EUR.USD on IDEALPRO, contract id 12087792.

The text layout grew with the server's version; the field list here is that of ibapi 9.81.1 and 10.51.1 and of
ib_insync's decoder, which agree. From 205 on it is protobuf.
"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from exporter.protocol import protobuf
from exporter.protocol.wire import Answer
from exporter.simulator import messages
from exporter.simulator.messages import Message

CONTRACT_ID = 12087792
UNKNOWN_CONTRACT = (200, "No security definition has been found for the request")

MARKET, SYMBOL, KIND, EXCHANGE, CURRENCY = "EUR.USD", "EUR", "CASH", "IDEALPRO", "USD"
TICK = "0.00005"
ORDER_TYPES = "ACTIVETIM,AD,ADJUST,ALERT,ALGO,CASHQTY,COND,DAY,GTC,GTD,IOC,LMT,MIT,MKT,STP,STPLMT,TRAIL,WHATIF"
NAME = "European Monetary Union Euro"
ZONE = "US/Eastern"
MARKET_RULE = "239"
SMALLEST = "0.01"

# server versions at which the text layout changed
SIZE_RULES_FROM = 164  # the message's own version and the size multiplier go, three sizes come
SIZE_TICK_FROM = 163  # one size; replaced at 164
STOCK_TYPE_FROM = 152
REAL_EXPIRATION_FROM = 134
MARKET_RULES_FROM = 126
UNDERLYING_FROM = 122
GROUP_FROM = 121
SIZE_MULTIPLIER_FROM = 110
LAST_TRADE_DATE_FROM = 182
INELIGIBILITY_FROM = 186


def details(version: int, message: Message, now: float) -> list[bytes]:
    """The answer to a request for contract details: the contract and the end, or error 200.

    `now` (unix seconds) sets the trading hours. Raises ValueError if the request cannot be read.
    """
    request = messages.integer(message, 1, 1)
    if not _is_asked_for(message):
        return [messages.error(version, request, *UNKNOWN_CONTRACT, int(now * 1000))]
    hours = _trading_hours(now)
    return [
        messages.say(version, Answer.CONTRACT_DETAILS, _texts(version, request, hours), _fields(request, hours)),
        messages.say(version, Answer.CONTRACT_DETAILS_END, (1, request), {1: request}),
    ]


def _is_asked_for(message: Message) -> bool:
    """Does the request mean EUR.USD: by contract id, by symbol and currency, or by local symbol?"""
    if message.body is None:
        identity, symbol, kind = (messages.text(message, place, 0) for place in (2, 3, 4))
        currency, local = (messages.text(message, place, 0) for place in (11, 12))
    else:
        contract = protobuf.decode(protobuf.data(protobuf.decode(message.body), 2))
        identity = str(protobuf.integer(contract, 1))
        symbol, kind, currency, local = (protobuf.data(contract, n).decode("latin-1") for n in (2, 3, 10, 11))
    if identity == str(CONTRACT_ID):
        return True
    return kind == KIND and (local == MARKET or (symbol == SYMBOL and currency in ("", CURRENCY)))


def _texts(version: int, request: int, hours: str) -> list[object]:
    """The fields of contractDetails in the text framings."""
    sized = version >= SIZE_RULES_FROM
    texts: list[object] = [] if sized else [8]
    texts += [request, SYMBOL, KIND, ""]
    texts += [""] if version >= LAST_TRADE_DATE_FROM else []
    texts += ["0", "", EXCHANGE, CURRENCY, MARKET, MARKET, MARKET, CONTRACT_ID, TICK]
    texts += [100] if version >= SIZE_MULTIPLIER_FROM and not sized else []
    texts += ["", ORDER_TYPES, EXCHANGE, 1, 0, NAME, ""]  # multiplier .. primary exchange
    texts += ["", "", "", "", ZONE, hours, hours]  # contract month .. liquid hours
    texts += ["", 0, 0]  # rule and multiplier for economic value, number of security ids
    texts += [4] if version >= GROUP_FROM else []
    texts += ["", ""] if version >= UNDERLYING_FROM else []
    texts += [MARKET_RULE] if version >= MARKET_RULES_FROM else []
    texts += [""] if version >= REAL_EXPIRATION_FROM else []
    texts += [""] if version >= STOCK_TYPE_FROM else []
    texts += [SMALLEST] if version == SIZE_TICK_FROM else []
    texts += [SMALLEST, SMALLEST, SMALLEST] if sized else []
    texts += [0] if version >= INELIGIBILITY_FROM else []
    return texts


def _fields(request: int, hours: str) -> dict[int, protobuf.Field]:
    """ContractData: the request's id, Contract and ContractDetails (docs/facts.md: messages)."""
    contract: dict[int, protobuf.Field] = {
        1: CONTRACT_ID,
        2: SYMBOL,
        3: KIND,
        8: EXCHANGE,
        10: CURRENCY,
        11: MARKET,
        12: MARKET,
    }
    details_: dict[int, protobuf.Field] = {
        1: MARKET,
        2: TICK,
        3: ORDER_TYPES,
        4: EXCHANGE,
        5: 1,
        7: NAME,
        12: ZONE,
        13: hours,
        14: hours,
        18: 4,
    }
    sizes: dict[int, protobuf.Field] = {21: MARKET_RULE, 24: SMALLEST, 25: SMALLEST, 26: SMALLEST}
    return {1: request, 2: protobuf.encode(contract), 3: protobuf.encode({**details_, **sizes})}


def _trading_hours(now: float) -> str:
    """Two sessions from today's date on, in the form `20231022:1715-20231023:1700;...`."""
    today = datetime.fromtimestamp(now, UTC)
    days = [f"{today + timedelta(days=day):%Y%m%d}" for day in range(3)]
    return ";".join(f"{first}:1715-{second}:1700" for first, second in pairwise(days))
