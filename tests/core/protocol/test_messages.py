"""The messages of a session, against captured bytes (docs/facts.md: messages) and the simulated gateway's own."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.protocol import messages
from exporter.protocol.messages import (
    MAX_READ,
    ApiError,
    CurrentTime,
    Inbox,
    ManagedAccounts,
    Message,
    NextValidId,
    Other,
    Unreadable,
)
from exporter.protocol.wire import MAX_MESSAGE, Request, frame, split_frame
from exporter.simulator import messages as simulated

VERSIONS = (100, 165, 176, 193, 194, 200, 201, 202, 203, 206, 207, 212, 213, 226)
TIME = 1_795_226_420

START_API = {
    176: "000000083731003200370000",
    200: "000000083731003200370000",
    201: "00000009000000473200370000",
    212: "00000009000000473200370000",
    213: "000000060000010f0807",
    226: "000000060000010f0807",
}
REQUEST_CURRENT_TIME = {
    176: "000000053439003100",
    200: "000000053439003100",
    201: "00000006000000313100",
    212: "00000006000000313100",
    213: "00000004000000f9",
    226: "00000004000000f9",
}


def read_whole(version: int, data: bytes) -> list[Message]:
    return Inbox(version).feed(data)


def answers(version: int) -> list[tuple[bytes, Message]]:
    """Every answer that is read, as a gateway of this version says it."""
    error = (326, "Unable to connect as the client id is already in use.")
    return [
        (simulated.managed_accounts(version, ("DU1234567", "DU7654321")), ManagedAccounts(("DU1234567", "DU7654321"))),
        (simulated.next_valid_id(version, 217), NextValidId(217)),
        (simulated.current_time(version, TIME), CurrentTime(TIME)),
        (simulated.error(version, -1, *error, TIME * 1000), ApiError(-1, *error)),
        (simulated.error(version, 7, 200, "No: security", TIME * 1000), ApiError(7, 200, "No: security")),
    ]


@pytest.mark.parametrize(("version", "expected"), START_API.items())
def test_start_api_is_written_as_captured(version: int, expected: str) -> None:
    assert messages.start_api(version, 7).hex() == expected


def test_start_api_writes_a_client_id_of_two_bytes_as_captured() -> None:
    assert messages.start_api(226, 999).hex() == "000000070000010f08e707"


@pytest.mark.parametrize(("version", "expected"), REQUEST_CURRENT_TIME.items())
def test_the_request_for_the_time_is_written_as_captured(version: int, expected: str) -> None:
    assert messages.request_current_time(version).hex() == expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("make", "identity"),
    [
        (lambda version: messages.start_api(version, 9001), Request.START_API),
        (messages.request_current_time, Request.REQ_CURRENT_TIME),
    ],
)
def test_a_gateway_reads_each_request_at_each_version(
    version: int, make: Callable[[int], bytes], identity: Request
) -> None:
    split = split_frame(make(version))
    assert split is not None
    payload, rest = split
    message = simulated.read_message(payload, version)
    assert (message.id, rest) == (identity, b"")
    if identity is Request.START_API:
        assert simulated.client_id(message) == 9001


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("00000006000000d10801", NextValidId(1)),
        ("0000000f000000d70a09445531323334353637", ManagedAccounts(("DU1234567",))),
        ("0000000a000000f908b4f683d806", CurrentTime(TIME)),
        ("0000001c000000cc08ffffffffffffffffff0110f0bbdcde9f3418c602220178", ApiError(-1, 326, "x")),
    ],
)
def test_the_captured_protobuf_answers_are_read(data: str, expected: Message) -> None:
    assert read_whole(226, bytes.fromhex(data)) == [expected]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("000000083900310032313700", NextValidId(217)),
        (frame(b"15\x001\x00DU1234567,\x00").hex(), ManagedAccounts(("DU1234567",))),
    ],
)
def test_recorded_text_answers_are_read(data: str, expected: Message) -> None:
    assert read_whole(176, bytes.fromhex(data)) == [expected]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_answer_is_read_at_every_version(version: int) -> None:
    for data, expected in answers(version):
        assert read_whole(version, data) == [expected]


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_cut_at_any_byte_are_the_same_answers(version: int) -> None:
    data = b"".join(piece for piece, _ in answers(version))
    expected = [message for _, message in answers(version)]
    for cut in range(len(data) + 1):
        inbox = Inbox(version)
        assert inbox.feed(data[:cut]) + inbox.feed(data[cut:]) == expected
        assert not inbox.unfinished


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_that_come_byte_by_byte_are_the_same_answers(version: int) -> None:
    inbox = Inbox(version)
    data = b"".join(piece for piece, _ in answers(version))
    found = [message for byte in data for message in inbox.feed(bytes((byte,)))]
    assert found == [message for _, message in answers(version)]


@pytest.mark.parametrize("version", VERSIONS)
def test_of_other_messages_only_the_id_is_read(version: int) -> None:
    unknown = [frame(b"\0\0\0\x05rest"), frame(b"\0\0\x01\x7frest")] if version > 200 else [frame(b"5\0rest\0")]
    for data in unknown:
        other, following = read_whole(version, data + simulated.next_valid_id(version, 1))
        assert isinstance(other, Other)
        assert following == NextValidId(1)


@pytest.mark.parametrize(
    ("version", "fields", "expected"),
    [
        (176, b"4\x002\x00-1\x00326\x00in use\x00", ApiError(-1, 326, "in use")),
        (176, b"4\x002\x00-1\x00326\x00in use\x00\x00", ApiError(-1, 326, "in use")),
        (200, b"4\x00-1\x00326\x00in use\x00\x001795226420000\x00", ApiError(-1, 326, "in use")),
        (176, b"4\x00-1\x00326\x00in use\x00\x001795226420000\x00", ApiError(-1, 326, "in use")),
        (200, b"4\x002\x00-1\x00326\x00in use\x00", ApiError(-1, 326, "in use")),
        (200, b"4\x002\x00326\x00in use\x00\x001795226420000\x00", ApiError(2, 326, "in use")),
        (176, b"4\x002\x007\x00200\x00none\x00", ApiError(7, 200, "none")),
    ],
)
def test_a_text_error_is_read_in_both_layouts_whatever_the_version_says(
    version: int, fields: bytes, expected: Message
) -> None:
    assert read_whole(version, frame(fields)) == [expected]


@pytest.mark.parametrize(
    ("version", "payload"),
    [
        (176, b"9\x001\x00many\x00"),
        (176, b"9\x00"),
        (176, b"no number\x00"),
        (176, b""),
        (176, b"4\x002\x00-1\x00no code\x00text\x00"),
        (176, b"49\x001\x00" + b"9" * 40 + b"\x00"),
        (212, b"\0\0"),
        (212, b"\0\0\0\x09" + b"1\0\0"),
        (226, b"\0\0\0\xd1\x08"),
        (226, b"\0\0\0\xd1\x0a\x05ab"),
        (226, b"\0\0\0\xd1\x0f"),
        (226, b"\0\0\0\xd7\x08\x01"),
        (226, b"\0\0\0\xf9" + b"\x08" + b"\xff" * 11),
    ],
)
def test_a_message_that_cannot_be_read_is_a_value_and_the_next_one_is_read(version: int, payload: bytes) -> None:
    [unreadable, after] = read_whole(version, frame(payload) + simulated.next_valid_id(version, 1))
    assert isinstance(unreadable, Unreadable)
    assert not unreadable.final
    assert after == NextValidId(1)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_impossible_length_ends_the_reading_at_once(version: int) -> None:
    inbox = Inbox(version)
    [unreadable] = inbox.feed((MAX_MESSAGE + 1).to_bytes(4, "big"))
    assert isinstance(unreadable, Unreadable)
    assert unreadable.final
    assert inbox.feed(simulated.next_valid_id(version, 1)) == []


@pytest.mark.parametrize("version", [176, 226])
def test_a_long_message_passes_through_without_being_held(version: int) -> None:
    inbox = Inbox(version)
    length = MAX_READ + 5000
    assert inbox.feed(length.to_bytes(4, "big")) == []
    for sent in range(0, length, 4096):
        assert inbox.feed(b"x" * min(4096, length - sent)) == []
        assert len(inbox._held) == 0
    assert not inbox.unfinished
    assert inbox.feed(simulated.next_valid_id(version, 1)) == [NextValidId(1)]


def test_no_more_is_held_than_one_message_and_a_piece() -> None:
    inbox = Inbox(226)
    inbox.feed(MAX_READ.to_bytes(4, "big"))
    for _ in range(MAX_READ // 64 - 1):
        inbox.feed(b"x" * 64)
    assert inbox.unfinished
    assert len(inbox._held) <= MAX_READ + 4


def test_an_error_text_is_kept_up_to_a_length() -> None:
    [error] = read_whole(226, simulated.error(226, -1, 2104, "é" * 100_000, 0))
    assert isinstance(error, ApiError)
    assert error.text == "é" * messages.MAX_TEXT


@given(data=st.binary(max_size=300), version=st.sampled_from(VERSIONS), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_no_bytes_raise_and_no_cut_matters(data: bytes, version: int, cuts: list[int]) -> None:
    inbox, found, start = Inbox(version), [], 0
    for cut in (*sorted(cuts), len(data)):
        found += inbox.feed(data[start:cut])
        start = max(start, cut)
    assert found == read_whole(version, data)


@given(payload=st.binary(max_size=200), version=st.sampled_from(VERSIONS))
def test_no_payload_raises(payload: bytes, version: int) -> None:
    messages.read_message(payload, version)


@given(order=st.integers(0, 2**31 - 1), version=st.sampled_from(VERSIONS))
def test_every_order_id_survives(order: int, version: int) -> None:
    assert read_whole(version, simulated.next_valid_id(version, order)) == [NextValidId(order)]


@pytest.mark.parametrize("client_id", [0, -1])
def test_no_session_is_ever_begun_as_client_0(client_id: int) -> None:
    """It would bind the orders that are placed by hand (docs/facts.md: client ids)."""
    with pytest.raises(ValueError, match="no session of ours has the client id"):
        messages.start_api(226, client_id)


@pytest.mark.parametrize("version", [200, 226])
def test_an_account_with_a_terminals_commands_in_it_is_counted_and_not_shown(version: int) -> None:
    listed = "DU1234567,\x1b[2J\x1b[31mDU7,\x85\x9b31m"
    payload = simulated.managed_accounts(version, [listed])[4:]
    assert messages.read_message(payload, version) == ManagedAccounts(("DU1234567", "?", "?"))
