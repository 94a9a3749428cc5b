"""The account download: the read-only requests that libraries send when they connect, and the messages that end them.

Their answers hold positions, orders and balances. Here only message ids are known; no content is read.

    request              id   answers        its end                 protobuf from   cancelled by
    positions            61   61             62 positionEnd          207             64
    open orders           5   5, 3           53 openOrderEnd         204
    completed orders     99   101            102 completedOrdersEnd  204
    account updates       6   6, 7, 8        54 accountDownloadEnd   207             6, not subscribing
    executions            7   11, 59         55 execDetailsEnd       201
    account summary      62   63             64 accountSummaryEnd    207             63

Bytes and thresholds are those of ibapi 10.51.1 at each version (docs/facts.md: account download). Open orders are those
of this client id alone: for every id but 0 the request binds no order that was placed by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from exporter.protocol import protobuf
from exporter.protocol.protobuf import Field
from exporter.protocol.wire import LENGTH, PROTOBUF_OFFSET, RAW_IDS_FROM, frame

EXECUTIONS_OF_DAYS_FROM = 200  # from here on a request for executions ends with a number of days and of dates
UNSET = 2**31 - 1  # an integer that is not given
ALL_ACCOUNTS = "All"
SUMMARY_TAG = "NetLiquidation"


class DownloadRequest(IntEnum):
    """The requests, in the order in which they are sent."""

    POSITIONS = 61
    OPEN_ORDERS = 5
    COMPLETED_ORDERS = 99
    ACCOUNT_UPDATES = 6
    EXECUTIONS = 7
    ACCOUNT_SUMMARY = 62

    @property
    def label(self) -> str:
        """The request's name for people, metrics and modes: `open_orders`."""
        return self.name.lower()


class Cancel(IntEnum):
    """The messages that end a subscription; account updates are ended by their own request."""

    ACCOUNT_SUMMARY = 63
    POSITIONS = 64


class End(IntEnum):
    """The messages that end an answer."""

    OPEN_ORDERS = 53
    ACCOUNT_UPDATES = 54
    EXECUTIONS = 55
    POSITIONS = 62
    ACCOUNT_SUMMARY = 64
    COMPLETED_ORDERS = 102


@dataclass(frozen=True, slots=True)
class _Row:
    """What a request needs. `answers` are the ids of the messages before its end."""

    end: End
    answers: frozenset[int]
    protobuf_from: int
    cancel: int | None = None


_ROWS: Mapping[DownloadRequest, _Row] = {
    DownloadRequest.POSITIONS: _Row(End.POSITIONS, frozenset({61}), 207, Cancel.POSITIONS),
    DownloadRequest.OPEN_ORDERS: _Row(End.OPEN_ORDERS, frozenset({5, 3}), 204),
    DownloadRequest.COMPLETED_ORDERS: _Row(End.COMPLETED_ORDERS, frozenset({101}), 204),
    DownloadRequest.ACCOUNT_UPDATES: _Row(
        End.ACCOUNT_UPDATES, frozenset({6, 7, 8}), 207, DownloadRequest.ACCOUNT_UPDATES
    ),
    DownloadRequest.EXECUTIONS: _Row(End.EXECUTIONS, frozenset({11, 59}), 201),
    DownloadRequest.ACCOUNT_SUMMARY: _Row(End.ACCOUNT_SUMMARY, frozenset({63}), 207, Cancel.ACCOUNT_SUMMARY),
}
PERMITTED = frozenset({*DownloadRequest, *Cancel})  # on a target that opted in


def end_of(request: DownloadRequest) -> End:
    """The message that ends the answer."""
    return _ROWS[request].end


def answers_of(request: DownloadRequest) -> frozenset[int]:
    """The ids of the messages that the answer consists of, without its end."""
    return _ROWS[request].answers


def write_request(version: int, request: DownloadRequest, account: str, request_id: int) -> bytes:
    """One request. `account` is used by account updates alone, `request_id` by those that carry one."""
    days: tuple[object, ...] = (UNSET, 0) if version >= EXECUTIONS_OF_DAYS_FROM else ()
    texts: Sequence[object]
    fields: Mapping[int, Field]
    match request:
        case DownloadRequest.COMPLETED_ORDERS:
            texts, fields = (0,), {}  # all, not only those of the API
        case DownloadRequest.ACCOUNT_UPDATES:
            texts, fields = (2, 1, account), {1: 1, 2: account}
        case DownloadRequest.EXECUTIONS:
            texts = (3, request_id, 0, "", "", "", "", "", "", *days)
            fields = {1: request_id, 2: protobuf.encode({1: 0})}
        case DownloadRequest.ACCOUNT_SUMMARY:
            texts = (1, request_id, ALL_ACCOUNTS, SUMMARY_TAG)
            fields = {1: request_id, 2: ALL_ACCOUNTS, 3: SUMMARY_TAG}
        case _:
            texts, fields = (1,), {}
    return _framed(version, _ROWS[request].protobuf_from, request, texts, fields)


def write_cancel(version: int, request: DownloadRequest, account: str, request_id: int) -> bytes | None:
    """The message that ends the subscription; None where the request is none."""
    row = _ROWS[request]
    if row.cancel is None:
        return None
    texts: Sequence[object]
    fields: Mapping[int, Field]
    match request:
        case DownloadRequest.ACCOUNT_UPDATES:
            texts, fields = (2, 0, account), {2: account}
        case DownloadRequest.ACCOUNT_SUMMARY:
            texts, fields = (1, request_id), {1: request_id}
        case _:
            texts, fields = (1,), {}
    return _framed(version, row.protobuf_from, row.cancel, texts, fields)


def _framed(
    version: int, protobuf_from: int, identity: int, texts: Sequence[object], fields: Mapping[int, Field]
) -> bytes:
    if version >= protobuf_from:
        return frame((identity + PROTOBUF_OFFSET).to_bytes(LENGTH, "big") + protobuf.encode(fields))
    body = "".join(f"{text}\0" for text in texts).encode("latin-1", "replace")
    if version >= RAW_IDS_FROM:
        return frame(identity.to_bytes(LENGTH, "big") + body)
    return frame(f"{int(identity)}\0".encode() + body)
