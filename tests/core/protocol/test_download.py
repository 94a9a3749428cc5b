"""The requests of the account download, byte for byte as ibapi 10.51.1 sends them."""

import pytest

from exporter.protocol import download
from exporter.protocol.download import DownloadRequest
from exporter.protocol.wire import Request, split_frame
from exporter.simulator import messages as simulated

ACCOUNT, REQUEST_ID = "DU1234567", 4
# (request, first server version of the layout): captured from ibapi 10.51.1
REQUESTS = {
    (DownloadRequest.POSITIONS, 100): "000000053631003100",
    (DownloadRequest.POSITIONS, 201): "000000060000003d3100",
    (DownloadRequest.POSITIONS, 207): "0000000400000105",
    (DownloadRequest.OPEN_ORDERS, 100): "0000000435003100",
    (DownloadRequest.OPEN_ORDERS, 201): "00000006000000053100",
    (DownloadRequest.OPEN_ORDERS, 204): "00000004000000cd",
    (DownloadRequest.COMPLETED_ORDERS, 100): "000000053939003000",
    (DownloadRequest.COMPLETED_ORDERS, 201): "00000006000000633000",
    (DownloadRequest.COMPLETED_ORDERS, 204): "000000040000012b",
    (DownloadRequest.ACCOUNT_UPDATES, 100): "0000001036003200310044553132333435363700",
    (DownloadRequest.ACCOUNT_UPDATES, 201): "00000012000000063200310044553132333435363700",
    (DownloadRequest.ACCOUNT_UPDATES, 207): "00000011000000ce08011209445531323334353637",
    (DownloadRequest.EXECUTIONS, 100): "0000000e3700330034003000000000000000",
    (DownloadRequest.EXECUTIONS, 200): "0000001b370033003400300000000000000032313437343833363437003000",
    (DownloadRequest.EXECUTIONS, 201): "0000000a000000cf080412020800",
    (DownloadRequest.ACCOUNT_SUMMARY, 100): "0000001a36320031003400416c6c004e65744c69717569646174696f6e00",
    (DownloadRequest.ACCOUNT_SUMMARY, 201): "0000001b0000003e31003400416c6c004e65744c69717569646174696f6e00",
    (DownloadRequest.ACCOUNT_SUMMARY, 207): "0000001b0000010608041203416c6c1a0e4e65744c69717569646174696f6e",
}
CANCELS = {
    (DownloadRequest.POSITIONS, 100): "000000053634003100",
    (DownloadRequest.POSITIONS, 201): "00000006000000403100",
    (DownloadRequest.POSITIONS, 207): "0000000400000108",
    (DownloadRequest.ACCOUNT_UPDATES, 100): "0000001036003200300044553132333435363700",
    (DownloadRequest.ACCOUNT_UPDATES, 201): "00000012000000063200300044553132333435363700",
    (DownloadRequest.ACCOUNT_UPDATES, 207): "0000000f000000ce1209445531323334353637",
    (DownloadRequest.ACCOUNT_SUMMARY, 100): "0000000736330031003400",
    (DownloadRequest.ACCOUNT_SUMMARY, 201): "000000080000003f31003400",
    (DownloadRequest.ACCOUNT_SUMMARY, 207): "00000006000001070804",
}
VERSIONS = (100, 151, 157, 176, 178, 199, 200, 201, 203, 204, 206, 207, 213, 226)


def captured(table: dict[tuple[DownloadRequest, int], str], request: DownloadRequest) -> dict[int, str]:
    """What is sent at each version: the layout of the newest that is not above it."""
    layouts = {first: layout for (each, first), layout in table.items() if each is request}
    return {version: layouts[max(first for first in layouts if first <= version)] for version in VERSIONS}


@pytest.mark.parametrize("request_", DownloadRequest)
def test_each_request_is_written_as_captured_at_each_version(request_: DownloadRequest) -> None:
    written = {version: download.write_request(version, request_, ACCOUNT, REQUEST_ID).hex() for version in VERSIONS}
    assert written == captured(REQUESTS, request_)


@pytest.mark.parametrize(
    "request_", [DownloadRequest.POSITIONS, DownloadRequest.ACCOUNT_UPDATES, DownloadRequest.ACCOUNT_SUMMARY]
)
def test_each_subscription_is_cancelled_as_captured(request_: DownloadRequest) -> None:
    written = {version: download.write_cancel(version, request_, ACCOUNT, REQUEST_ID) for version in VERSIONS}
    assert {version: data and data.hex() for version, data in written.items()} == captured(CANCELS, request_)


@pytest.mark.parametrize(
    "request_", [DownloadRequest.OPEN_ORDERS, DownloadRequest.COMPLETED_ORDERS, DownloadRequest.EXECUTIONS]
)
def test_what_is_no_subscription_is_not_cancelled(request_: DownloadRequest) -> None:
    assert download.write_cancel(226, request_, ACCOUNT, REQUEST_ID) is None


def test_a_target_that_has_not_opted_in_permits_none_of_them() -> None:
    assert not download.PERMITTED & set(Request)
    assert {int(each) for each in download.PERMITTED} == {5, 6, 7, 61, 62, 63, 64, 99}


@pytest.mark.parametrize("request_", DownloadRequest)
def test_a_gateway_reads_each_request_at_each_version(request_: DownloadRequest) -> None:
    splits = {
        version: split_frame(download.write_request(version, request_, ACCOUNT, REQUEST_ID)) for version in VERSIONS
    }
    received = {version: split and simulated.read_message(split[0], version).id for version, split in splits.items()}
    assert received == dict.fromkeys(VERSIONS, request_)
