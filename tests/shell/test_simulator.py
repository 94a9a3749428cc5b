"""The simulated gateway on a real port: raw clients see each mode exactly as the table describes it."""

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from exporter.protocol import protobuf
from exporter.protocol.wire import frame
from exporter.simulator import messages
from exporter.simulator.gateway import Gateway
from exporter.simulator.modes import MODES
from exporter.simulator.recorder import KEPT_IDS, KEPT_MESSAGES, ClientEnd, Recorder
from exporter.simulator.responses import FLOOD_CHUNK, FLOOD_CHUNKS
from exporter.simulator.settings import GatewaySettings
from exporter.simulator.steps import Ending
from tests.shell.support import PATIENCE, until

pytestmark = pytest.mark.turned_clock

HELLO = bytes.fromhex("4150490000000009763130302e2e323236")  # v100..226
HELLO_176 = bytes.fromhex("4150490000000009763135372e2e313736")  # v157..176
START = bytes.fromhex("000000060000010f0807")  # client id 7, protobuf
START_176 = bytes.fromhex("000000083731003200370000")  # client id 7, text
TIME = bytes.fromhex("00000004000000f9")
EUR_USD = bytes.fromhex(
    "00000024000000d10801121c080012034555521a04434153484208494445414c50524f5203555344"
)  # reqContractDetails
IN_USE = b"Unable to connect as the client id is already in use. Retry with a unique client id."
FOREVER = 0.3  # seconds of silence that count as for ever; a local answer takes less than one millisecond
QUICK = GatewaySettings(slow=0.15, byte_pause=0.001, split_pause=0.1, freeze_after=0.2, flap_period=0.2)


class Client:
    """A raw client. It reads what comes until something is expected, or until nothing comes any more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take over an open connection."""
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def frame(self) -> bytes:
        length = int.from_bytes(await asyncio.wait_for(self.reader.readexactly(4), PATIENCE), "big")
        return await asyncio.wait_for(self.reader.readexactly(length), PATIENCE)

    async def frames(self, number: int) -> list[bytes]:
        return [await self.frame() for _ in range(number)]

    async def rest(self) -> bytes:
        """All until the end of stream."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE)

    async def silence(self) -> bytes:
        """What comes before a long silence; the stream must not end."""
        heard = b""
        while True:
            try:
                data = await asyncio.wait_for(self.reader.read(4096), FOREVER)
            except TimeoutError:
                return heard
            assert data, "the stream ended"
            heard += data

    async def greet(self) -> bytes:
        await self.say(HELLO)
        return await self.frame()

    async def begin(self) -> list[bytes]:
        """Handshake and startApi, up to the last of the six farm notices."""
        await self.greet()
        await self.say(START)
        return await self.frames(8)


@asynccontextmanager
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", gateway.port), PATIENCE)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):  # the mode under test
            await writer.wait_closed()


def proto_error(payload: bytes) -> tuple[int, bytes]:
    """Code and text of an error in protobuf."""
    fields = protobuf.decode(payload[4:])
    code, text = fields[3], fields[4]
    assert payload[:4] == b"\0\0\0\xcc"
    assert isinstance(code, int)
    assert isinstance(text, bytes)
    return code, text


# --- it works


async def test_ok_answers_hello_start_and_time() -> None:
    async with Gateway(setup=GatewaySettings(clock=lambda: 1795226420.0)) as gateway, client(gateway) as c:
        assert await c.greet() == b"226\x0020261120 21:00:20 EST\0"
        await c.say(START)
        accounts, identity, *notices = await c.frames(8)
        assert accounts.hex() == "000000d70a09445531323334353637"
        assert identity.hex() == "000000d10801"
        assert [proto_error(notice)[0] for notice in notices] == [2104, 2104, 2106, 2106, 2106, 2158]
        await c.say(TIME)
        assert (await c.frame()).hex() == "000000f908b4f683d806"


@pytest.mark.parametrize(("server", "negotiated"), [(157, 157), (176, 176), (200, 176), (226, 176)])
async def test_the_version_is_the_smaller_of_both_maxima(server: int, negotiated: int) -> None:
    async with Gateway(setup=GatewaySettings(server_version=server)) as gateway, client(gateway) as c:
        await c.say(HELLO_176)
        assert (await c.frame()).split(b"\0")[0] == str(negotiated).encode()
        await c.say(START_176)
        assert await c.frame() == b"15\x001\0DU1234567\0"


async def test_a_client_that_wants_a_newer_version_is_closed_without_a_word() -> None:
    async with Gateway(setup=GatewaySettings(server_version=176)) as gateway, client(gateway) as c:
        await c.say(b"API\0" + frame(b"v213..225"))
        assert await c.rest() == b""
        assert "213" in gateway.recorder.last()[0].complaint


async def test_a_hello_in_single_bytes_and_with_the_start_behind_it_is_understood() -> None:
    async with Gateway() as gateway, client(gateway) as c:
        for byte in HELLO[:-1]:
            await c.say(bytes([byte]))
            await asyncio.sleep(0)
        await c.say(HELLO[-1:] + START + TIME)
        assert (await c.frame()).startswith(b"226\0")
        assert len(await c.frames(9)) == 9


# --- the port


async def test_refused_refuses_and_keeps_the_port() -> None:
    async with Gateway("refused") as gateway:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", gateway.port)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", gateway.port))


async def test_refused_resets_live_sessions_and_ok_comes_back_on_the_same_port() -> None:
    async with Gateway() as gateway:
        port = gateway.port
        async with client(gateway) as c:
            await c.begin()
            await gateway.set_mode("refused")
            with pytest.raises(ConnectionResetError):
                await c.rest()
        await gateway.set_mode("ok")
        assert gateway.port == port
        async with client(gateway) as c:
            assert await c.begin()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not drop connects to a full queue")
async def test_backlog_full_leaves_a_connect_without_an_answer_and_ok_comes_back() -> None:
    async with Gateway("backlog_full") as gateway:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection("127.0.0.1", gateway.port), FOREVER)
        await gateway.set_mode("ok")
        async with client(gateway) as c:
            assert await c.greet()
        assert gateway.recorder.opened == 1  # its own fillers do not count


async def test_a_port_in_use_is_an_error_even_beside_another_simulator() -> None:
    async with Gateway("refused") as gateway:
        with pytest.raises(OSError, match="in use"):
            await Gateway(port=gateway.port).start()


# --- the answer to the hello


async def test_silent_never_answers() -> None:
    async with Gateway("silent") as gateway, client(gateway) as c:
        await c.say(HELLO)
        assert await c.silence() == b""


@pytest.mark.parametrize("mode", ["close_at_once", "close_after_hello"])
async def test_a_close_is_an_end_of_stream_without_a_byte(mode: str) -> None:
    async with Gateway(mode) as gateway, client(gateway) as c:
        await c.say(HELLO)
        assert await c.rest() == b""
        assert gateway.recorder.last()[0].our_end is Ending.CLOSE


async def test_close_at_once_does_not_wait_for_the_hello_and_close_after_hello_does() -> None:
    async with Gateway("close_at_once") as gateway:
        async with client(gateway) as c:
            assert await c.rest() == b""
        await gateway.set_mode("close_after_hello")
        async with client(gateway) as c:
            assert await c.silence() == b""


async def test_reset_at_once_resets() -> None:
    async with Gateway("reset_at_once") as gateway:
        with socket.socket() as raw:
            raw.settimeout(PATIENCE)
            with pytest.raises(ConnectionError):
                await asyncio.to_thread(connect_and_read, raw, gateway.port)


def connect_and_read(raw: socket.socket, port: int) -> bytes:
    """A blocking client; a reset may show in the connect or in the read."""
    raw.connect(("127.0.0.1", port))
    return raw.recv(100)


async def test_relay_ends_without_a_byte() -> None:
    async with Gateway("relay") as gateway:
        for _ in range(20):
            async with client(gateway) as c:
                try:
                    await c.say(HELLO)
                    assert await c.rest() == b""
                except ConnectionError:
                    continue
        assert {record.our_end for record in gateway.recorder} == {Ending.DROP}
        assert {record.hello for record in gateway.recorder} == {b""}  # the mode does not read it


async def test_slow_answers_late() -> None:
    async with Gateway("slow", setup=QUICK) as gateway, client(gateway) as c:
        now = asyncio.get_running_loop().time
        start = now()
        assert (await c.greet()).startswith(b"226\0")
        assert 0.15 <= now() - start < 1


async def test_bytewise_sends_single_bytes_and_yet_everything() -> None:
    async with Gateway("bytewise", setup=QUICK) as gateway, client(gateway) as c:
        await c.say(HELLO)
        assert len(await asyncio.wait_for(c.reader.read(100), PATIENCE)) == 1
        await c.reader.readexactly(29)
        await c.say(START)
        assert len(await c.frames(8)) == 8


async def test_split_reply_comes_in_two_pieces() -> None:
    async with Gateway("split_reply", setup=QUICK) as gateway, client(gateway) as c:
        await c.say(HELLO)
        first = await c.reader.read(100)
        assert first.startswith(b"\0\0\0\x1a226\0")
        assert len(first) == 15
        assert (await c.reader.read(100)).endswith(b"EST\0")


async def test_half_reply_stops_and_eof_mid_reply_ends() -> None:
    async with Gateway("half_reply") as gateway:
        async with client(gateway) as c:
            await c.say(HELLO)
            assert len(await c.silence()) == 15
        await gateway.set_mode("eof_mid_reply")
        async with client(gateway) as c:
            await c.say(HELLO)
            assert len(await c.rest()) == 15


async def test_garbage_is_framed_and_unreadable() -> None:
    async with Gateway("garbage") as gateway, client(gateway) as c:
        garbage = await c.greet()
        assert garbage.startswith(b"\xff\xfe\xfd")
        assert garbage.count(b"\0") == 2  # a version and a time, it seems: some libraries then call int()


async def test_huge_length_announces_two_gigabytes_and_stops() -> None:
    async with Gateway("huge_length") as gateway, client(gateway) as c:
        await c.say(HELLO)
        assert await c.silence() == b"\x7f\xff\xff\xff"


async def test_flood_sends_a_hundred_megabytes() -> None:
    async with Gateway("flood") as gateway, client(gateway) as c:
        await c.say(HELLO)
        count = 0
        while data := await asyncio.wait_for(c.reader.read(1 << 20), PATIENCE):
            count += len(data)
        assert count == FLOOD_CHUNKS * len(FLOOD_CHUNK) > 100_000_000


@pytest.mark.parametrize(("mode", "start"), [("http", b"HTTP/1.1 400"), ("tls", b"\x15\x03")])
async def test_a_service_that_answers_is_not_silent_but_no_gateway(mode: str, start: bytes) -> None:
    async with Gateway(mode) as gateway, client(gateway) as c:
        await c.say(HELLO)
        assert (await c.rest()).startswith(start)


@pytest.mark.parametrize(("mode", "start"), [("vnc", b"RFB 003.008\n"), ("ssh", b"SSH-2.0-")])
async def test_a_service_that_speaks_first_does_so_unasked(mode: str, start: bytes) -> None:
    async with Gateway(mode) as gateway, client(gateway) as c:
        assert (await asyncio.wait_for(c.reader.read(100), PATIENCE)).startswith(start)
        await c.say(HELLO)
        assert await c.silence() == b""


@pytest.mark.parametrize(("mode", "start"), [("redirect", b"-1\x00127.0.0.1:4000\0"), ("too_old", b"20\x002026")])
async def test_a_reply_that_no_client_can_use(mode: str, start: bytes) -> None:
    async with Gateway(mode, setup=GatewaySettings(clock=lambda: 1795226420.0)) as gateway, client(gateway) as c:
        assert (await c.greet()).startswith(start)


async def test_update_needed_sends_an_error_503_and_ends() -> None:
    async with Gateway("update_needed") as gateway, client(gateway) as c:
        assert (await c.greet()).startswith(b"4\x002\0-1\x00503\0The TWS is out of date")
        assert await c.rest() == b""


# --- the answer to startApi


async def test_handshake_then_silence_answers_neither_start_nor_time() -> None:
    async with Gateway("handshake_then_silence") as gateway, client(gateway) as c:
        await c.greet()
        await c.say(START + TIME)
        assert await c.silence() == b""


@pytest.mark.parametrize(("mode", "error"), [("id_in_use", (326, IN_USE)), ("bad_message", (507, b"Bad Message"))])
async def test_an_error_then_the_end(mode: str, error: tuple[int, bytes]) -> None:
    async with Gateway(mode) as gateway, client(gateway) as c:
        await c.greet()
        await c.say(START)
        assert proto_error(await c.frame()) == error
        assert await c.rest() == b""


async def test_id_in_use_open_sends_the_error_and_stays() -> None:
    async with Gateway("id_in_use_open") as gateway, client(gateway) as c:
        await c.greet()
        await c.say(START)
        assert proto_error(await c.frame()) == (326, IN_USE)
        await c.say(TIME)
        assert await c.silence() == b""


async def test_close_and_reset_after_start_api() -> None:
    async with Gateway("close_after_start_api") as gateway:
        async with client(gateway) as c:
            await c.greet()
            await c.say(START)
            assert await c.rest() == b""
        await gateway.set_mode("reset_after_start_api")
        async with client(gateway) as c:
            await c.greet()
            await c.say(START)
            with pytest.raises(ConnectionResetError):
                await c.rest()


async def test_no_accounts_and_no_next_valid_id_leave_out_what_they_say() -> None:
    async with Gateway("no_accounts") as gateway:
        async with client(gateway) as c:
            await c.greet()
            await c.say(START)
            assert {payload[3] - 200 for payload in await c.frames(7)} == {9, 4}
            await c.say(b"\0\0\0\x04\0\0\0\xd9")  # reqManagedAccts
            assert await c.silence() == b""
        await gateway.set_mode("no_next_valid_id")
        async with client(gateway) as c:
            await c.greet()
            await c.say(START)
            assert {payload[3] - 200 for payload in await c.frames(7)} == {15, 4}
            assert await c.silence() == b""


async def test_requests_unanswered_begins_a_session_and_then_says_no_more() -> None:
    async with Gateway("requests_unanswered") as gateway, client(gateway) as c:
        assert await c.begin()
        await c.say(TIME)
        assert await c.silence() == b""


@pytest.mark.parametrize(("mode", "code"), [("upstream_lost", 1100), ("upstream_broken", 2110)])
async def test_a_lost_link_is_reported_instead_of_the_farms(mode: str, code: int) -> None:
    async with Gateway(mode) as gateway, client(gateway) as c:
        await c.greet()
        await c.say(START)
        assert proto_error((await c.frames(3))[-1])[0] == code
        await c.say(TIME)
        assert (await c.frame()).startswith(b"\0\0\0\xf9")


async def test_farm_broken_breaks_one_farm() -> None:
    async with Gateway("farm_broken") as gateway, client(gateway) as c:
        broken = [proto_error(notice) for notice in (await c.begin())[2:] if proto_error(notice)[0] == 2103]
        assert broken == [(2103, b"Market data farm connection is broken:usfarm")]


async def test_wrong_account_and_clock_off() -> None:
    async with Gateway("wrong_account", setup=GatewaySettings(clock=lambda: 1000.0)) as gateway:
        async with client(gateway) as c:
            assert (await c.begin())[0].endswith(b"DU7654321")
        await gateway.set_mode("clock_off")
        async with client(gateway) as c:
            assert (await c.begin())[0].endswith(b"DU1234567")
            await c.say(TIME)
            assert (await c.frame()) == messages.current_time(226, 1090)[4:]


# --- client ids


async def test_a_second_client_with_the_same_id_is_refused_and_the_first_lives_on() -> None:
    async with Gateway() as gateway, client(gateway) as first:
        await first.begin()
        async with client(gateway) as second:
            await second.greet()
            await second.say(START)
            assert proto_error(await second.frame()) == (326, IN_USE)
            assert await second.rest() == b""
        await first.say(TIME)
        assert await first.frame()


async def test_an_id_is_free_again_when_its_client_has_gone() -> None:
    async with Gateway() as gateway:
        for _ in range(3):
            async with client(gateway) as c:
                assert len(await c.begin()) == 8
            await until(lambda: gateway.recorder.open_now == 0)


async def test_an_id_can_be_in_use_from_the_start() -> None:
    async with Gateway(setup=GatewaySettings(taken_client_ids=frozenset({7}))) as gateway, client(gateway) as c:
        await c.greet()
        await c.say(START)
        assert proto_error(await c.frame()) == (326, IN_USE)


# --- changes while it runs


@pytest.mark.parametrize("mode", ["silent", "requests_unanswered"])
async def test_a_live_session_freezes_and_thaws(mode: str) -> None:
    async with Gateway() as gateway, client(gateway) as c:
        await c.begin()
        await gateway.set_mode(mode)
        await c.say(TIME)
        assert await c.silence() == b""
        await gateway.set_mode("ok")
        await c.say(TIME)
        assert await c.frame()


@pytest.mark.parametrize(
    ("mode", "there", "back"),
    [("upstream_lost", 1100, 1102), ("upstream_broken", 2110, 1102), ("farm_broken", 2103, 2104)],
)
async def test_a_live_session_is_told_of_a_loss_and_of_its_end(mode: str, there: int, back: int) -> None:
    async with Gateway() as gateway, client(gateway) as c:
        await c.begin()
        await gateway.set_mode(mode)
        assert proto_error(await c.frame())[0] == there
        await gateway.set_mode("silent")  # a frozen gateway says nothing, and has not forgotten what it said
        assert await c.silence() == b""
        await gateway.set_mode("ok")
        assert proto_error(await c.frame())[0] == back
        assert await c.silence() == b""


async def test_freeze_after_works_and_then_freezes_live_and_new_clients() -> None:
    async with Gateway("freeze_after", setup=QUICK) as gateway, client(gateway) as c:
        await c.begin()
        await until(lambda: gateway.acting == "silent")
        assert gateway.mode == "freeze_after"
        await c.say(TIME)
        assert await c.silence() == b""
        async with client(gateway) as late:
            await late.say(HELLO)
            assert await late.silence() == b""


async def test_flapping_goes_and_comes_until_another_mode_is_set() -> None:
    async with Gateway("flapping", setup=QUICK) as gateway:
        for acting in ("refused", "ok", "refused", "ok"):
            await until(lambda acting=acting: gateway.acting == acting)  # type: ignore[misc]
        await gateway.set_mode("ok")
        await asyncio.sleep(0.5)
        assert gateway.acting == "ok"


async def test_a_change_that_cannot_be_made_is_told_and_changes_nothing() -> None:
    async with Gateway() as gateway:
        with pytest.raises(ValueError, match="no mode is called"):
            await gateway.set_mode("asleep")
        async with client(gateway) as c:
            assert await c.begin()


async def test_every_mode_can_follow_every_other_and_ok_works_after_it() -> None:
    names = [name for name in MODES if name != "backlog_full" or sys.platform == "linux"]
    async with Gateway() as gateway:
        for name in [*names, *reversed(names)]:
            await gateway.set_mode(name)
            assert gateway.mode == name
        await gateway.set_mode("ok")
        async with client(gateway) as c:
            assert await c.begin()


# --- what it records


async def test_the_record_has_every_message_and_marks_the_forbidden_ones() -> None:
    order = frame(b"3\x000\x00EUR\0CASH\0")
    positions = frame(b"61\x001\0")
    async with Gateway() as gateway:
        async with client(gateway) as c:
            await c.say(HELLO_176)
            await c.frame()
            await c.say(START_176 + frame(b"49\x001\0") + positions + order)
            await c.frames(8)
            assert (await c.frames(3))[2] == b"62\x001\0"
        await until(lambda: gateway.recorder.open_now == 0)
        record = gateway.recorder.last()[0]
        assert record.hello == HELLO_176
        assert (record.version, record.client_id, record.ids) == (176, 7, (71, 49, 61, 3))
        assert [message.forbidden for message in record.messages] == [False, False, True, True]
        assert record.messages[0].payload == START_176[4:]
        assert record.forbidden == gateway.recorder.forbidden == 2
        assert gateway.recorder.messages == {71: 1, 49: 1, 61: 1, 3: 1}
        assert 0 < record.accepted_ns <= record.hello_ns <= record.replied_ns <= record.ended_ns
        assert record.client_end is ClientEnd.FIN
        assert record.our_end is None


async def test_a_client_that_resets_is_recorded_as_such() -> None:
    async with Gateway() as gateway:
        raw = socket.create_connection(("127.0.0.1", gateway.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await until(lambda: gateway.recorder.opened == 1)
        assert gateway.recorder.last()[0].client_end is ClientEnd.OPEN
        raw.close()
        await until(lambda: gateway.recorder.last()[0].client_end is ClientEnd.RESET)


async def test_connections_are_counted_and_only_the_last_are_kept() -> None:
    async with Gateway(kept=3) as gateway:
        async with client(gateway), client(gateway):
            await until(lambda: gateway.recorder.open_now == 2)
        for _ in range(4):
            async with client(gateway) as c:
                await c.greet()
        await until(lambda: gateway.recorder.open_now == 0)
        assert (gateway.recorder.opened, gateway.recorder.open_most) == (6, 2)
        assert [record.number for record in gateway.recorder] == [4, 5, 6]


async def test_the_connections_of_each_client_id_are_counted_and_so_is_how_many_there_were_at_a_time() -> None:
    async def start(one: Client, client_id: int) -> None:
        await one.greet()
        await one.say(START[:-1] + bytes([client_id]))
        await one.frame()

    async with Gateway() as gateway:
        for _ in range(3):  # one after the other
            async with client(gateway) as one, client(gateway) as other:
                await start(one, 7)
                await start(other, 8)
                assert gateway.recorder.open_now == 2
            await until(lambda: gateway.recorder.open_now == 0)
        assert gateway.recorder.most_as == {7: 1, 8: 1}
        async with client(gateway) as one, client(gateway) as other:
            await start(one, 8)
            await start(other, 8)
            await until(lambda: gateway.recorder.most_as == {7: 1, 8: 2})  # the second is refused, but it is there
        await until(lambda: gateway.recorder.open_now == 0)


def test_the_client_ids_of_a_client_that_sends_rubbish_do_not_fill_the_memory() -> None:
    recorder = Recorder(kept=2)
    record = recorder.open("127.0.0.1:1", "ok", 0)
    for client_id in range(100_000):
        recorder.start(record, client_id)
    assert len(recorder.most_as) == KEPT_IDS
    recorder.close(record, 1)
    recorder.start(again := recorder.open("127.0.0.1:2", "ok", 2), 0)
    recorder.close(again, 3)
    assert set(recorder.most_as.values()) == {1}


ORDERS = {
    "text": frame(b"3\x000\x00EUR\0CASH\0"),
    "raw id": frame(b"\0\0\0\x03EUR\0"),
    "protobuf": frame(b"\0\0\0\xcb"),
}
NOBODY_LISTENS = ["silent", "half_reply", "garbage", "redirect", "http", "vnc", "close_at_once", "id_in_use"]


@pytest.mark.parametrize("mode", NOBODY_LISTENS)
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
async def test_the_audit_hears_what_is_said_to_a_gateway_that_does_not_answer(mode: str, order: bytes) -> None:
    async with Gateway(mode) as gateway:
        async with client(gateway) as c:
            await c.say(HELLO_176)
            await c.say(START_176 + order[:5])
            await c.say(order[5:])
            await until(lambda: gateway.recorder.forbidden > 0)
        record = gateway.recorder.last()[0]
        assert (record.forbidden, gateway.recorder.forbidden) == (1, 1)
        assert record.received + record.overheard == 2


async def test_a_message_that_cannot_be_read_is_a_forbidden_one() -> None:
    async with Gateway() as gateway, client(gateway) as c:
        await c.greet()
        await c.say(frame(b"xy"))
        await c.rest()
        assert gateway.recorder.last()[0].forbidden == 1


# --- rubbish from clients

RUBBISH = {
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "a huge hello": b"API\0\x7f\xff\xff\xff",
    "a hello that is too long": b"API\0\0\0\x10\x01",
    "no versions": b"API\0\0\0\0\x04abcd",
}
RUBBISH_AFTER = {
    "a huge frame": b"\x7f\xff\xff\xff",
    "a frame that is too long": b"\0\x01\0\x01",
    "no id": frame(b"xy"),
    "an empty frame": frame(b""),
    "a broken startApi": frame(b"\0\0\x01\x0f\x08"),
}


@pytest.mark.parametrize("data", RUBBISH.values(), ids=RUBBISH)
async def test_rubbish_instead_of_a_hello_is_reset(data: bytes) -> None:
    async with Gateway() as gateway, client(gateway) as c:
        await c.say(data)
        with pytest.raises(ConnectionResetError):
            await c.rest()
        assert gateway.recorder.last()[0].complaint


@pytest.mark.parametrize("data", RUBBISH_AFTER.values(), ids=RUBBISH_AFTER)
async def test_rubbish_after_the_hello_ends_the_connection_in_order(data: bytes) -> None:
    async with Gateway() as gateway, client(gateway) as c:
        await c.greet()
        await c.say(data)
        assert await c.rest() == b""
        assert gateway.recorder.last()[0].complaint


async def test_a_client_that_asks_and_never_reads_does_not_fill_the_memory() -> None:
    async with Gateway() as gateway:
        raw = socket.socket()
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            raw.setsockopt(socket.SOL_SOCKET, option, 8192)
        raw.settimeout(0)
        raw.connect_ex(("127.0.0.1", gateway.port))
        await until(lambda: gateway.recorder.opened == 1)
        raw.send(HELLO + START)
        asked, taken, blocked = EUR_USD * 200, 0, 0  # the answers are twenty times as long
        while blocked < 50:  # until nothing more is taken, for a while
            try:
                taken += raw.send(asked[taken % len(asked) :])
                blocked = 0
            except BlockingIOError:
                blocked += 1
                await asyncio.sleep(0.001)
            assert taken < 20_000_000, "it reads on and on"
            await asyncio.sleep(0)
        assert gateway._shared is not None
        (connection,) = gateway._shared.connections
        assert len(connection.socket.outbox) < 10_000
        assert len(connection.record.messages) == KEPT_MESSAGES
        raw.close()
        async with client(gateway) as c:  # and it still serves others
            assert await c.greet()


async def test_hundreds_of_clients_at_once_are_all_answered() -> None:
    async with Gateway() as gateway:

        async def shake() -> bytes:
            async with client(gateway) as c:
                return await c.greet()

        replies = await asyncio.gather(*(shake() for _ in range(400)))
        assert all(reply.startswith(b"226\0") for reply in replies)
        await until(lambda: gateway.recorder.open_now == 0)
