"""What the simulated gateway answers to the account download: balances, positions, executions and their ends.

The text layouts are those that ib_insync, ib_async and ibapi read. Open orders and completed orders have contents in
protobuf alone; in text they are empty lists, which a gateway without orders sends too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.protocol import protobuf
from exporter.protocol.download import DownloadRequest, End
from exporter.protocol.protobuf import Field
from exporter.simulator import messages
from exporter.simulator.messages import Message
from exporter.simulator.settings import GatewaySettings, Holding

ALL_OPEN_ORDERS = 16
ACCOUNT_UPDATES_MULTI = 76
ACCOUNT_VALUE, PORTFOLIO_VALUE, ACCOUNT_TIME = 6, 7, 8
OPEN_ORDER, EXECUTION, COMMISSION, POSITION, SUMMARY, COMPLETED_ORDER = 5, 11, 59, 61, 63, 101
UPDATE_MULTI, UPDATE_MULTI_END = 73, 74
PERMANENT_ID = 900_000

# server versions at which an execution in text changed
LAST_LIQUIDITY_FROM = 136
MODEL_FROM = 103
PRICE_REVISION_FROM = 178
SUBMITTER_FROM = 198


Fields = dict[int, Field]


@dataclass(frozen=True, slots=True)
class Question:
    """A request of a client: at which version, of which gateway, at which unix time."""

    version: int
    message: Message
    setup: GatewaySettings
    now: float

    @property
    def request_id(self) -> int:
        """The id that the answer repeats. Raises ValueError if it is no number."""
        return messages.integer(self.message, 1, 1)

    @property
    def account(self) -> str:
        """The account that is asked for; without one, the first."""
        return messages.text(self.message, 2, 2) or self.setup.accounts[0]

    def say(self, answer: int, texts: tuple[object, ...], fields: Fields) -> bytes:
        """One message of the answer."""
        return messages.say(self.version, answer, texts, fields)


def is_download(message: Message) -> bool:
    """The request is one that programs send when they connect."""
    return message.id in _ANSWERS


def answer(question: Question) -> list[bytes]:
    """The whole answer to one of these requests, its end last; nothing where the request ends a subscription.

    Raises ValueError if the request cannot be read.
    """
    answer_of = _ANSWERS.get(question.message.id)
    return [] if answer_of is None else list(answer_of(question))


def _positions(question: Question) -> Iterator[bytes]:
    for account in question.setup.accounts:
        for holding in question.setup.holdings:
            texts = (3, account, *_contract(holding), holding.position, holding.cost)
            fields: Fields = {1: account, 2: _contract_fields(holding), 3: holding.position, 4: holding.cost}
            yield question.say(POSITION, texts, fields)
    yield question.say(End.POSITIONS, (1,), {})


def _account_updates(question: Question) -> list[bytes]:
    if not messages.integer(question.message, 1, 1):  # the end of the subscription
        return []
    account, balance = question.account, question.setup.balance
    values = [("AccountCode", account, "")]
    values += [(key, balance, "USD") for key in ("NetLiquidation", "TotalCashBalance", "BuyingPower")]
    answers = [
        question.say(ACCOUNT_VALUE, (2, *value, account), {1: value[0], 2: value[1], 3: value[2], 4: account})
        for value in values
    ]
    answers += [_portfolio(question, holding, account) for holding in question.setup.holdings]
    clock = f"{datetime.fromtimestamp(question.now, UTC):%H:%M}"
    answers.append(question.say(ACCOUNT_TIME, (1, clock), {1: clock}))
    return [*answers, question.say(End.ACCOUNT_UPDATES, (1, account), {1: account})]


def _portfolio(question: Question, holding: Holding, account: str) -> bytes:
    size = float(holding.position)
    worth, gain = size * holding.price, size * (holding.price - holding.cost)
    texts = (8, *_contract(holding), holding.position, holding.price, worth, holding.cost, gain, 0.0, account)
    fields: Fields = {1: _contract_fields(holding), 2: holding.position, 3: holding.price, 4: worth}
    return question.say(PORTFOLIO_VALUE, texts, fields | {5: holding.cost, 6: gain, 8: account})


def _executions(question: Question) -> Iterator[bytes]:
    version, account = question.version, question.setup.accounts[0]
    moment = f"{datetime.fromtimestamp(question.now, UTC):%Y%m%d-%H:%M:%S}"
    for number, holding in enumerate(question.setup.holdings, 1):
        name, size, price = f"0000e0d5.{number:08}.01.01", holding.position, holding.price
        texts: list[object] = [] if version >= LAST_LIQUIDITY_FROM else [10]
        texts += [question.request_id, number, *_contract(holding), name, moment, account, holding.exchange, "BOT"]
        texts += [size, price, PERMANENT_ID + number, 0, 0, size, price, "", "", 0.0]
        texts += [""] if version >= MODEL_FROM else []
        texts += [1] if version >= LAST_LIQUIDITY_FROM else []
        texts += [0] if version >= PRICE_REVISION_FROM else []
        texts += [""] if version >= SUBMITTER_FROM else []
        execution: Fields = {1: number, 2: name, 3: moment, 4: account, 5: holding.exchange, 6: "BOT", 7: size}
        execution |= {8: price, 9: PERMANENT_ID + number, 12: size, 13: price}
        fields: Fields = {1: question.request_id, 2: _contract_fields(holding), 3: protobuf.encode(execution)}
        yield question.say(EXECUTION, tuple(texts), fields)
        yield question.say(COMMISSION, (1, name, 1.25, "USD", "", "", ""), {1: name, 2: 1.25, 3: "USD"})
    yield _end_with_id(question, End.EXECUTIONS)


def _summary(question: Question) -> Iterator[bytes]:
    for account in question.setup.accounts:
        texts = (question.request_id, account, "NetLiquidation", question.setup.balance, "USD")
        yield question.say(SUMMARY, (1, *texts), dict(enumerate(texts, 1)))
    yield _end_with_id(question, End.ACCOUNT_SUMMARY)


def _open_orders(question: Question) -> Iterator[bytes]:
    for number, order in enumerate(_orders(question), 1):
        yield question.say(OPEN_ORDER, (), {1: number, 2: order[0], 3: order[1], 4: order[2]})
    yield question.say(End.OPEN_ORDERS, (1,), {})


def _no_orders(question: Question) -> Iterator[bytes]:
    yield question.say(End.OPEN_ORDERS, (1,), {})


def _completed_orders(question: Question) -> Iterator[bytes]:
    for order in _orders(question):
        yield question.say(COMPLETED_ORDER, (), {1: order[0], 2: order[1], 3: order[2]})
    yield question.say(End.COMPLETED_ORDERS, (1,), {})


def _orders(question: Question) -> Iterator[tuple[bytes, bytes, bytes]]:
    """One order for each holding, in protobuf: contract, order, state. In text there are none."""
    if question.version < messages.PROTOBUF_FROM[OPEN_ORDER]:
        return
    for number, holding in enumerate(question.setup.holdings, 1):
        order: Fields = {2: number, 5: "BUY", 6: holding.position, 8: "LMT", 9: holding.price}
        yield _contract_fields(holding), protobuf.encode(order), protobuf.encode({1: "Submitted"})


def _updates_multi(question: Question) -> Iterator[bytes]:
    texts = (question.request_id, question.account, "", "NetLiquidation", question.setup.balance, "USD")
    yield question.say(UPDATE_MULTI, (1, *texts), dict(enumerate(texts, 1)))
    yield _end_with_id(question, UPDATE_MULTI_END)


def _end_with_id(question: Question, end: int) -> bytes:
    return question.say(end, (1, question.request_id), {1: question.request_id})


def _contract(holding: Holding) -> tuple[object, ...]:
    """A stock's fields in text, contract id to trading class."""
    symbol = holding.symbol
    return (holding.contract_id, symbol, "STK", "", "0.0", "", "", holding.exchange, "USD", symbol, symbol)


def _contract_fields(holding: Holding) -> bytes:
    """A stock in protobuf."""
    symbol = holding.symbol
    return protobuf.encode(
        {1: holding.contract_id, 2: symbol, 3: "STK", 8: holding.exchange, 10: "USD", 11: symbol, 12: symbol}
    )


_ANSWERS: Mapping[int, Callable[[Question], Iterable[bytes]]] = {
    DownloadRequest.POSITIONS: _positions,
    DownloadRequest.OPEN_ORDERS: _open_orders,
    DownloadRequest.COMPLETED_ORDERS: _completed_orders,
    DownloadRequest.ACCOUNT_UPDATES: _account_updates,
    DownloadRequest.EXECUTIONS: _executions,
    DownloadRequest.ACCOUNT_SUMMARY: _summary,
    ALL_OPEN_ORDERS: _no_orders,
    ACCOUNT_UPDATES_MULTI: _updates_multi,
}
