"""The server's side of the protocol, against the bytes that real libraries and gateways were seen to exchange."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.protocol import protobuf
from exporter.protocol.wire import Answer
from exporter.simulator import account, contract_details, messages
from exporter.simulator.messages import ClientHello, Message
from exporter.simulator.recorder import Recorder
from exporter.simulator.settings import GatewaySettings

# hellos as captured from the libraries
HELLOS = {
    "4150490000000009763130302e2e313537": ClientHello(100, 157),
    "4150490000000009763130302e2e323236": ClientHello(100, 226),
    "4150490000000009763135372e2e313736": ClientHello(157, 176),
    "4150490000000009763135372e2e313738": ClientHello(157, 178),
    "4150490000000009763231332e2e323235": ClientHello(213, 225),
}
# startApi and reqCurrentTime as captured, with the version at which they were sent
REQUESTS = {
    ("000000083731003200370000", 200): (71, 7),
    ("00000009000000473200370000", 201): (71, 7),
    ("000000060000010f0807", 213): (71, 7),
    ("000000060000010f0800", 213): (71, 0),
    ("000000070000010f08e707", 226): (71, 999),
}
EUR_USD_REQUEST = "00000024000000d10801121c080012034555521a04434153484208494445414c50524f5203555344"
EUR_USD_TEXT = Message(9, ("8", "5", "0", "EUR", "CASH", "", "0", "", "", "IDEALPRO", "", "USD", "", "", "0", "", ""))


@pytest.mark.parametrize(("captured", "offer"), HELLOS.items())
def test_a_captured_hello_is_understood(captured: str, offer: ClientHello) -> None:
    assert messages.read_hello(bytes.fromhex(captured)) == (offer, b"")


def test_connect_options_and_what_follows_the_hello_are_kept_apart() -> None:
    data = b"API\0\0\0\0\x12v100..226 +PACEAPI" + b"\0\0\0\x04"
    assert messages.read_hello(data) == (ClientHello(100, 226, "+PACEAPI"), b"\0\0\0\x04")


@pytest.mark.parametrize("cut", range(17))
def test_a_hello_is_incomplete_up_to_its_last_byte(cut: int) -> None:
    assert messages.read_hello(bytes.fromhex("4150490000000009763130302e2e323236")[:cut]) is None


@pytest.mark.parametrize(
    "rubbish",
    [b"GET / HTTP/1.1\r\n", b"\0", b"APX", b"API\0\x7f\xff\xff\xff", b"API\0\0\0\0\x08v100.200", b"API\0\0\0\0\0"],
)
def test_what_cannot_become_a_hello_is_refused_at_once(rubbish: bytes) -> None:
    with pytest.raises(ValueError, match=r"start of a hello|range of versions|bytes where at most"):
        messages.read_hello(rubbish)


@pytest.mark.parametrize(("captured", "meant"), REQUESTS.items())
def test_a_captured_start_api_gives_its_client_id(captured: tuple[str, int], meant: tuple[int, int]) -> None:
    data, version = captured
    message = messages.read_message(bytes.fromhex(data)[4:], version)
    assert (message.id, messages.client_id(message)) == meant
    assert message.id in Recorder().permitted


@pytest.mark.parametrize(
    ("captured", "version"), [("00000004000000f9", 213), ("000000053439003100", 176), ("00000006000000313100", 201)]
)
def test_a_captured_request_for_the_time_is_understood(captured: str, version: int) -> None:
    assert messages.read_message(bytes.fromhex(captured)[4:], version).id == 49


@pytest.mark.parametrize(("payload", "version"), [(b"", 176), (b"x\0", 176), (b"\0", 176), (b"\0\0\0", 201)])
def test_a_message_without_an_id_is_refused(payload: bytes, version: int) -> None:
    with pytest.raises(ValueError, match="message id"):
        messages.read_message(payload, version)


def test_a_request_for_positions_is_not_permitted_to_a_probe() -> None:
    assert messages.read_message(b"61\x001\0", 176).id not in Recorder().permitted


def test_the_reply_is_that_of_a_recorded_gateway() -> None:
    recorded = "0000001a3137360032303233313032312031333a32383a31352045535400"
    assert messages.reply(176, "20231021 13:28:15 EST").hex() == recorded


def test_answers_in_text_are_those_of_a_recorded_gateway() -> None:
    assert messages.managed_accounts(176, ["DU5509097"]).hex() == "0000000f313500310044553535303930393700"
    assert messages.next_valid_id(176, 217).hex() == "000000083900310032313700"


def test_answers_in_protobuf_are_those_of_the_recorded_vectors() -> None:
    assert messages.next_valid_id(213, 1).hex() == "00000006000000d10801"
    assert messages.managed_accounts(207, ["DU1234567"]).hex() == "0000000f000000d70a09445531323334353637"
    assert messages.current_time(213, 1795226420).hex() == "0000000a000000f908b4f683d806"


def test_an_error_without_a_request_has_its_minus_one_in_ten_bytes() -> None:
    vector = "0000001c000000cc08ffffffffffffffffff0110f0bbdcde9f3418c602220178"
    at_ms = protobuf.read_varint(bytes.fromhex("f0bbdcde9f34"), 0)[0]
    assert messages.error(203, -1, 326, "x", at_ms).hex() == vector


@pytest.mark.parametrize(
    ("version", "payload"),
    [
        (157, b"4\x002\0-1\x00326\0x\0"),
        (165, b"4\x002\0-1\x00326\0x\0"),
        (166, b"4\x002\0-1\x00326\0x\0\0"),
        (193, b"4\x002\0-1\x00326\0x\0\0"),
        (194, b"4\0-1\x00326\0x\0\x001700\0"),
        (200, b"4\0-1\x00326\0x\0\x001700\0"),
        (201, b"\0\0\0\x04-1\x00326\0x\0\x001700\0"),
        (202, b"\0\0\0\x04-1\x00326\0x\0\x001700\0"),
    ],
)
def test_an_error_in_text_has_the_layout_of_its_version(version: int, payload: bytes) -> None:
    assert messages.error(version, -1, 326, "x", 1700)[4:] == payload


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        (Answer.ERROR, 203),
        (Answer.CONTRACT_DETAILS, 205),
        (Answer.MANAGED_ACCOUNTS, 207),
        (Answer.NEXT_VALID_ID, 213),
        (Answer.CURRENT_TIME, 213),
    ],
)
def test_each_message_turns_to_protobuf_at_its_own_version(answer: Answer, first: int) -> None:
    assert messages.say(first, answer, (), {})[4:8] == (answer + 200).to_bytes(4, "big")
    assert messages.say(first - 1, answer, (), {})[4:8] == answer.to_bytes(4, "big")
    assert messages.say(200, answer, (), {})[4:] == f"{answer.value}\0".encode()


@pytest.mark.parametrize("version", [157, 163, 176, 178, 182, 186, 200, 204])
def test_contract_details_in_text_hold_the_contract_at_the_places_clients_read(version: int) -> None:
    found, end = contract_details.details(version, EUR_USD_TEXT, 0.0)
    fields = found[8:] if version >= 201 else found[4:].split(b"\0", 1)[1]
    texts = fields.decode().split("\0")[:-1]
    at = 1 if version < 164 else 0  # the message's own version
    assert texts[at] == "5"
    assert texts[at + 1 : at + 3] == ["EUR", "CASH"]
    assert texts[at + (12 if version >= 182 else 11)] == "12087792"
    lengths = {157: 38, 163: 39, 176: 39, 178: 39, 182: 40, 186: 41, 200: 41, 204: 41}
    assert len(texts) == lengths[version]
    assert end.endswith(b"1\x005\0")


def test_contract_details_in_protobuf_name_request_contract_and_details() -> None:
    request = messages.read_message(bytes.fromhex(EUR_USD_REQUEST)[4:], 226)
    found, end = contract_details.details(226, request, 0.0)
    fields = protobuf.decode(found[8:])
    body = fields[2]
    assert isinstance(body, bytes)
    assert fields[1] == 1
    assert protobuf.decode(body) == {
        1: 12087792,
        2: b"EUR",
        3: b"CASH",
        8: b"IDEALPRO",
        10: b"USD",
        11: b"EUR.USD",
        12: b"EUR.USD",
    }
    assert end.hex() == "00000006000000fc0801"


def test_another_contract_is_unknown() -> None:
    stock = Message(9, ("8", "5", "0", "AAPL", "STK", "", "0", "", "", "SMART", "", "USD", "", "", "0", "", ""))
    assert contract_details.details(176, stock, 0.0) == [messages.error(176, 5, *contract_details.UNKNOWN_CONTRACT, 0)]


@given(st.dictionaries(st.integers(1, 500), st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=300), max_size=20))
def test_protobuf_reads_what_it_wrote(fields: dict[int, int | bytes]) -> None:
    read = protobuf.decode(protobuf.encode(dict(fields)))
    assert {n: protobuf.integer(read, n) if isinstance(v, int) else v for n, v in read.items()} == fields


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ("0a0541", "a protobuf field longer than its message"),
        ("0900", "a protobuf field longer than its message"),
        ("08", "a protobuf number without an end"),
        ("08ffffffffffffffffffff01", "a protobuf number without an end"),
        ("0b", "an unknown protobuf wire type 3"),
    ],
)
def test_a_broken_protobuf_message_raises_what_is_wrong(data: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        protobuf.decode(bytes.fromhex(data))


@given(st.binary(max_size=200), st.sampled_from([157, 176, 200, 201, 213, 226]))
def test_rubbish_from_a_client_is_a_value_error_and_nothing_else(data: bytes, version: int) -> None:
    try:
        message = messages.read_message(data, version)
        messages.client_id(message)
        contract_details.details(version, message, 0.0)
        if account.is_download(message):
            account.answer(account.Question(version, message, GatewaySettings(), 0.0))
    except ValueError:
        pass


@given(st.binary(max_size=60))
def test_rubbish_in_place_of_a_hello_is_a_value_error_and_nothing_else(data: bytes) -> None:
    for start in (b"", b"API\0", b"API\0\0\0\0\x09", b"API\0\0\0\0\x09v1"):
        try:
            messages.read_hello(start + data)
        except ValueError:
            continue
