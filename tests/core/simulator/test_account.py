"""The simulated gateway's answers to the account download."""

import pytest

from exporter.protocol.download import DownloadRequest, answers_of, end_of, write_cancel, write_request
from exporter.protocol.wire import split_frame
from exporter.simulator import account, messages
from exporter.simulator.account import Question
from exporter.simulator.messages import Message
from exporter.simulator.settings import GatewaySettings

VERSIONS = (100, 126, 136, 157, 176, 178, 198, 200, 201, 203, 204, 207, 213, 226)


def question(version: int, data: bytes) -> Question:
    split = split_frame(data)
    assert split is not None
    return Question(version, messages.read_message(split[0], version), GatewaySettings(), 1_795_226_400.0)


def ids(version: int, answer: list[bytes]) -> list[int]:
    return [messages.read_message(data[4:], version).id for data in answer]


@pytest.mark.parametrize("request_", DownloadRequest)
def test_every_request_is_answered_to_its_end_at_every_version(request_: DownloadRequest) -> None:
    for version in VERSIONS:
        answer = ids(version, account.answer(question(version, write_request(version, request_, "DU1234567", 4))))
        assert answer[-1] == end_of(request_), version
        assert set(answer[:-1]) <= answers_of(request_), version


def test_the_end_of_a_subscription_is_not_answered() -> None:
    for version in VERSIONS:
        cancel = write_cancel(version, DownloadRequest.ACCOUNT_UPDATES, "DU1234567", 4)
        assert cancel is not None, version
        assert account.answer(question(version, cancel)) == [], version


def test_a_position_in_text_has_the_sixteen_fields_that_clients_read() -> None:
    [position, _] = account.answer(question(176, write_request(176, DownloadRequest.POSITIONS, "", 4)))
    assert position[4:].decode().split("\0")[:-1] == [
        *("61", "3", "DU1234567", "8314", "IBM", "STK", "", "0.0", "", "", "NYSE", "USD", "IBM", "IBM", "100", "190.25")
    ]


@pytest.mark.parametrize(("version", "fields"), [(126, 31), (157, 31), (178, 32), (200, 33)])
def test_an_execution_in_text_has_the_fields_of_its_version(version: int, fields: int) -> None:
    execution = account.answer(question(version, write_request(version, DownloadRequest.EXECUTIONS, "", 4)))[0]
    assert execution[4:].count(b"\0") == fields


def test_several_accounts_are_answered_one_by_one() -> None:
    asked = Question(176, Message(76, ("1", "3", "DU1234567", "", "0")), GatewaySettings(), 0.0)
    assert ids(176, account.answer(asked)) == [73, 74]


def test_an_order_is_no_part_of_it() -> None:
    assert not account.is_download(Message(3, ("1", "0", "EUR")))
