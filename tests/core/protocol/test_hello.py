"""The opening of a connection: captured hellos, recorded replies, every cut of them, and everything that is no reply."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.model import Cause, Hello, ServerHello
from exporter.protocol import hello, protobuf, wire
from exporter.protocol.hello import NotTheApiError, Reply, ReplyReader

OFFER = Hello()
ANY_VERSION = Hello(1, 10**9)

# Captured from each client (docs/facts.md: handshake).
HELLOS = {
    "ibapi 9.81.1": (Hello(100, 157), "4150490000000009763130302e2e313537"),
    "nautilus 1.220": (Hello(100, 187), "4150490000000009763130302e2e313837"),
    "nautilus 1.231": (Hello(100, 223), "4150490000000009763130302e2e323233"),
    "nautilus-ibapi 10.46.1": (Hello(100, 225), "4150490000000009763130302e2e323235"),
    "ibapi-latest 10.51.1": (Hello(100, 226), "4150490000000009763130302e2e323236"),
    "ib_insync": (Hello(157, 176), "4150490000000009763135372e2e313736"),
    "ib_async": (Hello(157, 178), "4150490000000009763135372e2e313738"),
    "@stoqey/ib": (Hello(100, 193), "4150490000000009763130302e2e313933"),
    "rust-ibapi": (Hello(213, 225), "4150490000000009763231332e2e323235"),
}

# Recorded from real gateways (the same section), as version and time text.
RECORDED = bytes.fromhex("0000001a 313736 00 32303233313032312031333a32383a3135 20455354 00")
REPLIES = {
    "recorded 2023": (RECORDED, ServerHello(176, "20231021 13:28:15 EST")),
    "recorded 2021": (b"\x00\x00\x00\x1a157\x0020210301 23:43:23 EST\x00", ServerHello(157, "20210301 23:43:23 EST")),
    "zone name with spaces": (
        wire.frame(b"200\x0020260405 23:49:26 Central European Standard Time\x00"),
        ServerHello(200, "20260405 23:49:26 Central European Standard Time"),
    ),
    "British Summer Time": (
        wire.frame(b"187\x0020250415 19:38:30 British Summer Time\x00"),
        ServerHello(187, "20250415 19:38:30 British Summer Time"),
    ),
    "GBK zone name, no UTF-8": (
        wire.frame(b"178\x0020251021 13:28:15 " + "中国标准时间".encode("gbk") + b"\x00"),
        ServerHello(178, "20251021 13:28:15 " + "中国标准时间".encode("gbk").decode("latin-1")),
    ),
    "no time": (wire.frame(b"176\x00\x00"), ServerHello(176, "")),
}
replies = pytest.mark.parametrize(("data", "server"), REPLIES.values(), ids=REPLIES)

REDIRECT = wire.frame(b"-1\x00gateway.example:4002\x00")
TOO_OLD_ERROR = wire.frame(b"4\x002\x00-1\x00503\x00The TWS is out of date and must be upgraded.\x00")
CLEAR_ANSWERS = [RECORDED, REDIRECT, TOO_OLD_ERROR]

BANNERS = {
    b"HTTP/1.1 400 Bad Request\r\n": Cause.HTTP,
    b"<html><body>400": Cause.HTTP,
    b"<HTML>": Cause.HTTP,
    b"<!DOCTYPE html>": Cause.HTTP,
    b"<!doctype html>": Cause.HTTP,
    b"RFB 003.008\n": Cause.VNC,
    b"SSH-2.0-OpenSSH_9.2p1\r\n": Cause.SSH,
    b"\x15\x03\x01\x00\x02\x02\x46": Cause.TLS,
}


def read_reply(data: bytes, offer: Hello = OFFER) -> Reply | None:
    """The answer in these bytes, come all at once."""
    return ReplyReader(offer).feed(data)


def refused(data: bytes, offer: Hello = OFFER) -> NotTheApiError:
    """What read_reply raises for these bytes."""
    with pytest.raises(NotTheApiError) as caught:
        read_reply(data, offer)
    return caught.value


def read(data: bytes, offer: Hello = OFFER) -> Reply | Cause | None:
    """read_reply with the refusal as a value."""
    return value_of(lambda: read_reply(data, offer))


def value_of(read_: Callable[[], Reply | None]) -> Reply | Cause | None:
    try:
        return read_()
    except NotTheApiError as error:
        return error.cause


# The hello


@pytest.mark.parametrize(("offer", "captured"), HELLOS.values(), ids=HELLOS)
def test_a_hello_is_byte_for_byte_the_one_captured_from_the_client(offer: Hello, captured: str) -> None:
    assert hello.hello(offer).hex() == captured


def test_the_default_hello_offers_up_to_the_newest_known_version() -> None:
    assert hello.hello(Hello()).hex() == HELLOS["ibapi-latest 10.51.1"][1]


# The reply, whole and in pieces


@replies
def test_a_reply_gives_the_version_and_the_time_as_it_was_sent(data: bytes, server: ServerHello) -> None:
    assert read_reply(data, OFFER) == Reply(server)


@replies
def test_a_reply_cut_anywhere_is_incomplete(data: bytes, server: ServerHello) -> None:
    assert {read_reply(data[:cut], OFFER) for cut in range(len(data))} == {None}


@replies
@pytest.mark.parametrize("rest", [b"\x00", b"\x00\x00\x00\x06", RECORDED, b"HTTP/1.1 200 OK"])
def test_bytes_after_a_reply_are_handed_back(data: bytes, server: ServerHello, rest: bytes) -> None:
    assert read_reply(data + rest, OFFER) == Reply(server, rest=rest)


@pytest.mark.parametrize("data", CLEAR_ANSWERS)
def test_a_clear_answer_cut_anywhere_is_incomplete(data: bytes) -> None:
    assert {read_reply(data[:cut], OFFER) for cut in range(len(data))} == {None}


@pytest.mark.parametrize("most", [1, 4, 9])
def test_the_version_may_have_up_to_nine_digits(most: int) -> None:
    reply = read_reply(wire.frame(b"9" * most + b"\x00t\x00"), Hello(1, 10**9))
    assert reply is not None
    assert reply.server == ServerHello(int("9" * most), "t")


# Messages before the reply

EARLY = {
    "an empty frame": b"",
    "news": b"14\x001\x001\x001\0Exchange closed\0NYSE\0",
    "a tick": b"84\x001\x001795226400000\0BRFG\0BRFG$1\0Headline\0\0",
    "a notice": b"4\x002\0-1\x002104\0Market data farm connection is OK:usfarm\0",
    "a notice since 194": b"4\0-1\x002104\0Market data farm connection is OK:usfarm\0\x001795226400000\0",
    "a loss": b"4\x002\0-1\x001100\0Connectivity has been lost\0",
    "a raw id": b"\0\0\0\x0e1\0",
    "protobuf": b"\0\0\0\xcc\x18\xb8\x10\x22\x01x",
    "an id like a version": b"107\x000\0\0",
    "an id like a version, without its last nul": b"176\x0020231021",
    "four fields": b"176\x00t\x00more\x00fields\x00",
    "the end of a list": b"102\x001\0",
    "an error that cannot be read": b"4\x002\0-1\0",
}


@pytest.mark.parametrize("payload", EARLY.values(), ids=EARLY)
def test_a_message_before_the_reply_is_passed_over(payload: bytes) -> None:
    data = wire.frame(payload) + RECORDED
    for cut in range(len(data)):
        reader = ReplyReader(OFFER)
        assert reader.feed(data[:cut]) is None
        assert reader.feed(data[cut:] + b"rest") == Reply(REPLIES["recorded 2023"][1], rest=b"rest")
        assert reader.passed == 1


def test_the_codes_of_errors_before_the_reply_are_kept() -> None:
    reader = ReplyReader(OFFER)
    early = (EARLY["a notice"], EARLY["a loss"], EARLY["protobuf"])
    assert reader.feed(b"".join(map(wire.frame, early)) + RECORDED) is not None
    assert (reader.passed, reader.errors) == (3, (2104, 1100, 2104))


def test_messages_before_the_reply_are_passed_over_up_to_a_number_and_a_size() -> None:
    news = wire.frame(EARLY["news"])
    assert read_reply((hello.MAX_PASSED - 1) * news + RECORDED) is not None
    assert refused(hello.MAX_PASSED * news).cause is Cause.MALFORMED
    long = wire.frame(b"14\0" + b"x" * (hello.MAX_BYTES // 2))
    assert read_reply(long + RECORDED) is not None
    assert refused(3 * long).cause is Cause.MALFORMED


# Clear refusals


def test_a_redirect_names_where_to() -> None:
    reply = read_reply(REDIRECT, OFFER)
    assert reply == Reply(None, Cause.REDIRECT, 'sent us to "gateway.example:4002"')


def test_a_redirect_to_hostile_text_is_made_printable() -> None:
    reply = read_reply(wire.frame(b"-1\x00\x1b[2J\r\nhost\x00"), OFFER)
    assert reply is not None
    assert reply.detail == r'sent us to "\x1b[2J\r\nhost"'


@pytest.mark.parametrize(("version", "cause"), [(99, Cause.TOO_OLD), (100, None), (226, None)])
def test_only_a_version_below_the_offered_minimum_is_too_old(version: int, cause: Cause | None) -> None:
    reply = read_reply(wire.frame(f"{version}\0t\0".encode()), OFFER)
    assert reply is not None
    assert reply.cause is cause
    assert reply.server == ServerHello(version, "t")


@pytest.mark.parametrize("version", [227, 999999999])
def test_a_version_above_what_we_announced_is_no_answer_of_a_tws(version: int) -> None:
    """It answers the highest version that both sides know (docs/facts.md: negotiation)."""
    error = refused(wire.frame(f"{version}\0t\0".encode()))
    assert error.cause is Cause.MALFORMED
    assert str(error) == f"it names version {version}, above the 226 that we announced"
    assert refused(wire.frame(b"187\0t\0"), Hello(100, 178)).cause is Cause.MALFORMED


@pytest.mark.parametrize(
    "payload", [b"-5\x0020231021 13:28:15 EST\0", b"0\x00t\0", b"-1\x0020231021 13:28:15 EST\0", b"-1\0\0"]
)
def test_a_version_that_no_gateway_has_is_no_answer_of_a_tws(payload: bytes) -> None:
    error = refused(wire.frame(payload))
    assert error.cause is Cause.MALFORMED
    assert str(error) == f"it names version {int(payload.partition(bytes(1))[0])}"


def test_a_server_that_is_too_old_tells_its_version_and_our_offer() -> None:
    reply = read_reply(wire.frame(b"76\x00t\x00"), Hello(100, 226))
    assert reply is not None
    assert reply.detail == "server version 76, and we offered 100 to 226"


def test_error_503_means_too_old() -> None:
    reply = read_reply(TOO_OLD_ERROR, OFFER)
    assert reply == Reply(None, Cause.TOO_OLD, "error 503: The TWS is out of date and must be upgraded.", code=503)


@pytest.mark.parametrize("code", [326, 502, 504, 507])
@pytest.mark.parametrize(
    "layout",
    [b"4\x002\0-1\0%d\0no\x07\0", b"4\x002\0-1\0%d\0no\x07\0\0", b"4\0-1\0%d\0no\x07\0\x001795226400000\0"],
    ids=["until 165", "until 193", "from 194"],
)
def test_an_error_that_refuses_is_read_in_each_layout(layout: bytes, code: int) -> None:
    reply = read_reply(wire.frame(layout % code))
    assert reply == Reply(None, Cause.API_ERROR, rf"error {code}: no\x07", code=code)


def test_an_error_that_refuses_is_read_in_protobuf() -> None:
    payload = b"\0\0\0\xcc" + protobuf.encode({1: -1, 3: 507, 4: "Bad Message Length"})
    assert read_reply(wire.frame(payload)) == Reply(None, Cause.API_ERROR, "error 507: Bad Message Length", code=507)


def test_bytes_after_a_refusal_are_handed_back() -> None:
    refusals = [read_reply(data + b"more", OFFER) for data in (REDIRECT, TOO_OLD_ERROR)]
    assert [refusal.rest for refusal in refusals if refusal] == [b"more", b"more"]


# What is no reply


@pytest.mark.parametrize(("data", "cause"), BANNERS.items())
def test_another_services_banner_is_recognized_and_quoted(data: bytes, cause: Cause) -> None:
    error = refused(data)
    assert error.cause is cause
    assert wire.quoted(data) in str(error)


@pytest.mark.parametrize(("data", "cause"), BANNERS.items())
def test_a_banner_is_recognized_however_its_bytes_are_cut(data: bytes, cause: Cause) -> None:
    seen = [read(data[:cut]) for cut in range(len(data) + 1)]
    assert set(seen) == {None, cause}
    assert seen.index(cause) <= len(b"HTTP/")


@pytest.mark.parametrize("length", [hello.MAX_BYTES + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_that_no_reply_has_is_refused_at_once(length: int) -> None:
    assert refused(length.to_bytes(4, "big")).cause is Cause.OVERSIZED


def test_the_longest_possible_reply_is_waited_for() -> None:
    assert read_reply(hello.MAX_BYTES.to_bytes(4, "big") + b"1") is None
    assert refused((hello.MAX_BYTES + 1).to_bytes(4, "big") + b"1").cause is Cause.OVERSIZED


MALFORMED = [b"\x00", b"\x00\x00", b"seven\x00t\x00", b"1 7\x00t\x00", b"1_7\x00t\x00", b"+17\x00t\x00"]
MALFORMED += [
    b"1" * 10 + b"\x00t\x00",
    "١٧٦".encode() + b"\x00t\x00",
    b"--1\x00t\x00",
    b"1\xb2\x00t\x00",
    b"-\x00t\x00",
    b"\x00\x01\x00\xd1\x08\x01",
    b"\x00\x00\x00\x00",
]


@pytest.mark.parametrize("payload", MALFORMED)
def test_a_whole_frame_without_version_and_time_is_malformed(payload: bytes) -> None:
    assert refused(wire.frame(payload)).cause is Cause.MALFORMED


def test_text_instead_of_a_version_is_refused_before_the_frame_is_whole() -> None:
    assert refused(b"\x00\x00\x00\x40hel").cause is Cause.MALFORMED


@pytest.mark.parametrize("start", [b"\x00\x01", b"-\x00"])
def test_an_empty_version_is_refused_before_the_frame_is_whole(start: bytes) -> None:
    assert refused(b"\x00\x00\x00\x40" + start).cause is Cause.MALFORMED


# Whatever comes

beginnings = st.sampled_from(
    [b"", *CLEAR_ANSWERS, *map(wire.frame, EARLY.values()), *BANNERS, b"\x00\x00\x00\x1a", b"\x00\x00\x0f"]
)
anything = st.builds(lambda start, rest: start + rest, beginnings, st.binary(max_size=64)) | st.binary(max_size=300)


@given(anything)
@example(b"\x00\x00\x00\x04-1\x00\x00")
def test_arbitrary_bytes_give_a_reply_or_wait_or_are_refused_and_nothing_else(data: bytes) -> None:
    assert read(data) is None or isinstance(read(data), Reply | Cause)


@given(anything)
@example(b"\x00\x00\x00\x05\x00abcd")
@example(b"\x00\x00\x00\x05-\x00abc")
@example(b"\x00\x00\x00\x06227\x00t\x00")
def test_what_is_decided_by_the_first_bytes_is_not_changed_by_the_next(data: bytes) -> None:
    """Byte by byte: first undecided, then a refusal for good, or one reply whose rest grows."""
    seen = [read(data[:end]) for end in range(len(data) + 1)]
    for (end, earlier), later in zip(enumerate(seen), seen[1:], strict=False):
        if isinstance(earlier, Cause):
            assert isinstance(later, Cause)
        elif isinstance(earlier, Reply):
            assert isinstance(later, Reply)
            assert (later.server, later.cause, later.detail) == (earlier.server, earlier.cause, earlier.detail)
            assert later.rest == earlier.rest + data[end : end + 1]


@given(length=st.integers(min_value=4, max_value=4096), start=st.text("-0123456789\0x", max_size=12))
@example(length=4, start="\0\x000")
def test_a_frame_is_awaited_only_while_some_continuation_of_it_is_a_message(length: int, start: str) -> None:
    data = length.to_bytes(4, "big") + start.encode()
    if read(data, ANY_VERSION) is None:
        ids = (b"", b"1", b"1\0", b"\0", b"\x0e", b"\0\x0e", b"\0\0\x0e", b"\0\0\0\x0e")
        wholes = [(data + ending + b"t" * length)[: wire.LENGTH + length] + RECORDED for ending in ids]
        assert any(isinstance(read(whole, ANY_VERSION), Reply) for whole in wholes)


@given(anything, st.lists(st.integers(0, 300), max_size=6))
def test_the_bytes_may_be_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    reader, at, answer = ReplyReader(OFFER), 0, None
    for end in [*sorted(cuts), len(data)]:
        if answer is None:
            answer = value_of(partial(reader.feed, data[at:end]))
        at = max(at, end)
    whole = read(data)
    if isinstance(answer, Reply):
        assert isinstance(whole, Reply)
        assert (whole.server, whole.cause) == (answer.server, answer.cause)
    else:
        assert whole is answer


# Frames


@given(st.lists(st.binary(max_size=40), max_size=5), st.binary(max_size=3))
def test_frames_are_split_as_they_were_joined(payloads: list[bytes], rest: bytes) -> None:
    data = b"".join(wire.frame(payload) for payload in payloads) + rest
    for payload in payloads:
        split = wire.split_frame(data)
        assert split is not None
        got, data = split
        assert got == payload
    assert data == rest


@pytest.mark.parametrize("cut", range(len(RECORDED)))
def test_an_incomplete_frame_is_none(cut: int) -> None:
    assert wire.split_frame(RECORDED[:cut]) is None


def test_a_length_above_the_limit_is_an_error_before_the_payload_comes() -> None:
    with pytest.raises(ValueError, match="16777216 bytes where at most 16777215"):
        wire.split_frame(b"\x01\x00\x00\x00")
    assert wire.split_frame(b"\x00\xff\xff\xff") is None


def test_a_message_may_be_empty() -> None:
    assert wire.split_frame(b"\x00\x00\x00\x00abc") == (b"", b"abc")


# Banners


def test_every_banner_differs_from_the_beginning_of_a_reply() -> None:
    """A banner of four bytes or more is a length far too great; a shorter one is, whatever follows."""
    lengths = [int.from_bytes(banner.ljust(4, b"\x00")[:4], "big") for banner, _ in hello.BANNERS]
    assert min(lengths) > hello.MAX_BYTES


# Quotes


@pytest.mark.parametrize(
    ("data", "quote"),
    [(b"\n", r'"\n"'), (b"\xff\x00", r'"\xff\x00"'), (b"abcdefghij", '"abcdefgh" and 2 bytes more')],
)
def test_a_quote_is_short_and_printable(data: bytes, quote: str) -> None:
    assert wire.quoted(data, 8) == quote


@given(st.binary(max_size=200))
def test_a_quote_is_ascii_without_control_characters(data: bytes) -> None:
    assert wire.quoted(data).isascii()
    assert wire.quoted(data).isprintable()


def test_the_requests_are_the_five_that_may_be_sent() -> None:
    """Design rule 1: nothing else, ever."""
    assert {request.name for request in wire.Request} == {
        "START_API",
        "REQ_CURRENT_TIME",
        "REQ_MANAGED_ACCOUNTS",
        "REQ_IDS",
        "REQ_CONTRACT_DETAILS",
    }
