"""Real sockets against the simulator: what a probe sees, how long it takes, and how it leaves."""

import asyncio
import contextlib
import re
import resource
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from exporter.model import (
    AddressFamily,
    Cause,
    Hello,
    Layer,
    Mode,
    Outcome,
    Report,
    Stage,
    Stamp,
    Target,
    Verdict,
)
from exporter.probes import resolver as resolving
from exporter.probes.connection import Connection, joined_to_itself
from exporter.probes.context import ProbeContext
from exporter.probes.handshake import probe_handshake
from exporter.probes.port import probe_port
from exporter.probes.resolver import Resolver
from exporter.probes.target import probe_target
from exporter.simulator.gateway import Gateway
from exporter.simulator.modes import MODES
from exporter.simulator.recorder import ClientEnd
from exporter.simulator.settings import GatewaySettings
from exporter.verdict.explanation import explain
from exporter.verdict.rules import judge
from tests.shell.clock import TurnedLoop
from tests.shell.support import PATIENCE, descriptors

pytestmark = pytest.mark.turned_clock

DEADLINE = 1.0
HELD = 0.2  # seconds that something holds the event loop at a time
QUICK = GatewaySettings(slow=0.7, freeze_after=0.0, flap_period=30.0)
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def at(port: int, host: str = "127.0.0.1", **changes: object) -> Target:
    target = Target("gateway", host, port, Mode.PAPER, deadline=DEADLINE, slow_after=0.6)
    return replace(target, **changes)  # type: ignore[arg-type]


async def probe(target: Target) -> Report:
    return await probe_target(target, Resolver())


@asynccontextmanager
async def peer(answer: Peer, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that does with each connection what `answer` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


# --- every mode of the simulator


@pytest.mark.parametrize("mode", [name for name, mode in MODES.items() if not mode.changing])
async def test_each_mode_gets_its_verdict_within_the_deadline_and_a_clean_end(mode: str) -> None:
    async with Gateway(mode, setup=QUICK) as gateway:
        unanswered = MODES[mode].handshake_verdict in (Verdict.UNREACHABLE, Verdict.API_SILENT)
        slow_after = 0.6 if mode == "slow" else 20.0
        target = at(gateway.port, deadline=DEADLINE if unanswered else 30.0, slow_after=slow_after)
        report = await probe(target)
        assert judge(report, target) is MODES[mode].handshake_verdict
        assert report.seconds <= target.deadline + 0.2
        assert report.fault is None
        assert report.connections == 1
        await asyncio.sleep(0.05)  # the gateway reads our end of stream
        for record in gateway.recorder:
            assert record.received == 0, "a message after the hello"
            assert record.client_end is not ClientEnd.RESET or mode == "flood"
            assert record.hello in (b"", b"API\0\0\0\0\x09v100..226")


async def test_a_gateway_that_freezes_and_one_that_flaps_are_seen_both_ways() -> None:
    async with Gateway("freeze_after", setup=replace(QUICK, freeze_after=0.3)) as gateway:
        target = at(gateway.port)
        assert judge(await probe(target), target) is Verdict.HEALTHY
        await asyncio.sleep(0.35)
        assert judge(await probe(target), target) is Verdict.API_SILENT
    async with Gateway("flapping", setup=replace(QUICK, flap_period=0.3)) as gateway:
        target = at(gateway.port)
        seen = set()
        for _ in range(8):
            seen.add(judge(await probe(target), target))
            await asyncio.sleep(0.1)
        assert seen == {Verdict.HEALTHY, Verdict.PORT_CLOSED}


@pytest.mark.parametrize(("mode", "cause"), [("refused", Cause.CONNECT_REFUSED), ("ok", None)])
async def test_a_connect_that_has_ended_by_the_deadline_counts_though_the_loop_looks_later(
    mode: str, cause: Cause | None
) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, TurnedLoop)
    async with Gateway(mode) as gateway:
        target = at(gateway.port)
        attempt = ProbeContext(target, Connection(loop.time() + DEADLINE), Resolver(), time.perf_counter)
        probing = asyncio.create_task(probe_port(attempt))
        await asyncio.sleep(0)
        loop.now += int(2 * DEADLINE * 1e9)  # a busy machine has held the loop
        result = await probing
        await attempt.connection.close()
    assert result.cause is cause


# --- the reply, however it comes

REPLY = b"\0\0\0\x1a176\x0020231021 13:28:15 EST\0"


@pytest.mark.parametrize("cut", range(1, len(REPLY)))
async def test_a_reply_cut_anywhere_is_whole_to_us(cut: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(17)
        writer.write(REPLY[:cut])
        await writer.drain()
        await asyncio.sleep(0.005)
        writer.write(REPLY[cut:])
        await reader.read()

    async with peer(answer) as port:
        report = await probe(at(port))
    handshake = report.layer(Layer.HANDSHAKE)
    assert handshake is not None
    assert handshake.server is not None
    assert (handshake.outcome, handshake.server.version) == (Outcome.OK, 176)


async def test_the_offered_versions_are_configurable() -> None:
    async with Gateway("ok") as gateway:
        target = at(gateway.port, hello=Hello(100, 178))
        report = await probe(target)
        handshake = report.layer(Layer.HANDSHAKE)
        assert handshake is not None
        assert handshake.server is not None
        assert handshake.server.version == 178
        assert gateway.recorder.last()[0].hello.endswith(b"v100..178")


async def test_a_peer_that_floods_costs_no_memory_and_no_time() -> None:
    sent = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < 100_000_000:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async with peer(answer) as port:
        tracemalloc.start()
        report = await probe(at(port))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert judge(report, at(port)) is Verdict.NOT_TWS_API
    assert most < 4_000_000
    assert report.seconds < DEADLINE


async def test_a_huge_length_is_refused_at_once_instead_of_waited_for() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(struct.pack(">I", 0x7FFFFFFF))
        await reader.read()

    async with peer(answer) as port:
        report = await probe(at(port))
    handshake = report.layer(Layer.HANDSHAKE)
    assert handshake is not None
    assert handshake.cause is Cause.OVERSIZED
    assert report.seconds < 0.3


@pytest.mark.parametrize("said", [b"hi\n", b"H", b"RFB", b"\xff\xfd\x18", b"\x01", b"\0\x20"])
@pytest.mark.parametrize("ends", [False, True])
async def test_an_answer_too_short_to_tell_is_another_service_if_no_reply_begins_so(said: bytes, *, ends: bool) -> None:
    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(17)
        writer.write(said)
        if not ends:
            await reader.read()

    async with peer(short) as port:
        report = await probe(at(port, deadline=0.2, slow_after=0.1))
    assert judge(report, at(port)) is Verdict.NOT_TWS_API


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (b"RFB 003.008\n", Verdict.NOT_TWS_API),
        (b"hi\n", Verdict.NOT_TWS_API),
        (b"", Verdict.CLOSED_BEFORE_HANDSHAKE),
        (b"\0\0\0\x0a176\x002023\0", Verdict.CLOSED_BEFORE_HANDSHAKE),
        (b"\0\0\0\x1a176", Verdict.CLOSED_BEFORE_HANDSHAKE),
    ],
)
async def test_what_a_peer_sent_before_it_reset_us_is_read_though_the_hello_cannot_be_sent(
    said: bytes, verdict: Verdict
) -> None:
    async def rude(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with peer(rude) as port:
        target = at(port)
        attempt = ProbeContext(
            target, Connection(asyncio.get_running_loop().time() + 1.0), Resolver(), time.perf_counter
        )
        opened = await probe_port(attempt)
        await asyncio.sleep(0.05)
        result = await probe_handshake(attempt)
        await attempt.connection.close()
    assert (
        judge(Report(target="gateway", at=0.0, seconds=0.1, results=(opened, result), connections=1), target) is verdict
    )
    assert (result.seconds or 0.0) < 0.5


@pytest.mark.real_clock
@pytest.mark.parametrize("half_closes_first", [False, True])
async def test_a_connection_reset_right_after_it_was_accepted_is_no_closed_port(*, half_closes_first: bool) -> None:
    """By the time we look, the kernel may hold the reset already; in its words an error of the connect."""

    def reset_all(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = server.accept()
                if half_closes_first:
                    accepted.shutdown(socket.SHUT_WR)
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        target = at(server.getsockname()[1], deadline=PATIENCE)
        thread = threading.Thread(target=reset_all, args=(server,))
        thread.start()
        try:
            seen = {judge(await probe(target), target) for _ in range(200)}
            for _ in range(4):
                seen |= {judge(report, target) for report in await asyncio.gather(*(probe(target) for _ in range(50)))}
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes the accept
            thread.join(PATIENCE)
    assert seen == {Verdict.CLOSED_BEFORE_HANDSHAKE}


# --- where the time is taken


@pytest.mark.real_clock
async def test_the_handshake_time_is_the_kernels_and_not_the_event_loops() -> None:
    async with Gateway("ok") as gateway:
        await asyncio.sleep(0.05)  # the kernel switches stamping on with a delay

        async def hog() -> None:
            while True:
                await asyncio.sleep(0)
                _spin(HELD)

        hogging = asyncio.create_task(hog())
        report = await probe(at(gateway.port, deadline=PATIENCE))
        hogging.cancel()
    handshake = report.layer(Layer.HANDSHAKE)
    port = report.layer(Layer.PORT)
    assert handshake is not None
    assert port is not None
    assert (handshake.stamp, port.stamp) == (Stamp.KERNEL, Stamp.KERNEL)
    assert port.seconds is not None
    assert port.seconds < HELD


async def test_without_kernel_stamps_our_own_clock_is_used_and_named() -> None:
    async with Gateway("slow", setup=QUICK) as gateway:
        report = await probe(at(gateway.port))
    handshake = report.layer(Layer.HANDSHAKE)
    assert handshake is not None
    assert handshake.stamp is Stamp.USER
    assert handshake.seconds is not None
    assert 0.7 <= handshake.seconds < 0.9
    assert "our own clock" in explain(report, at(1), Verdict.SLOW).evidence[1]


# --- names and addresses


async def test_a_name_without_an_address_is_unresolved_and_nothing_is_connected() -> None:
    report = await probe(at(7497, "no-such-gateway.invalid"))
    assert judge(report, at(7497)) is Verdict.NAME_UNRESOLVED
    assert report.connections == 0


@pytest.mark.parametrize("host", ["..", "a" * 64 + ".invalid", "tws gateway", "-", "x" * 5000])
async def test_a_host_that_is_no_name_at_all_is_unresolved_too(host: str) -> None:
    assert judge(await probe(at(7497, host)), at(7497)) is Verdict.NAME_UNRESOLVED


async def test_an_ipv6_address_is_probed() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(17)
        writer.write(REPLY)
        await reader.read()

    async with peer(answer, "::1") as port:
        assert judge(await probe(at(port, "::1")), at(port)) is Verdict.HEALTHY
        other = at(port, "127.0.0.99")  # on 127.0.0.1 somebody else may have got the same port
        assert judge(await probe(other), other) is Verdict.PORT_CLOSED


async def test_of_several_addresses_the_next_is_tried_when_one_refuses() -> None:
    async with Gateway("ok") as gateway:
        addresses = [resolving.Address(socket.AF_INET6, ("::1", gateway.port, 0, 0))]
        addresses.append(resolving.Address(socket.AF_INET, ("127.0.0.1", gateway.port)))
        target = at(gateway.port, "gateway.test")
        report = await probe_target(target, Resolver(lambda _: addresses))
    port = report.layer(Layer.PORT)
    assert port is not None
    assert port.detail == "::1: connect_refused; 127.0.0.1 answered"
    assert report.connections == 2
    assert judge(report, target) is Verdict.HEALTHY


async def test_a_name_with_one_address_that_refuses_shows_the_address_and_the_cause_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port_number = free.getsockname()[1]
        addresses = [resolving.Address(socket.AF_INET, ("127.0.0.1", port_number))]
        report = await probe_target(at(port_number, "gateway.test"), Resolver(lambda _: addresses))
    port = report.layer(Layer.PORT)
    assert port is not None
    assert (port.cause, port.detail) == (Cause.CONNECT_REFUSED, "127.0.0.1")


async def test_only_the_configured_address_family_is_tried() -> None:
    async with Gateway("ok") as gateway:
        target = at(gateway.port, "localhost", address_family=AddressFamily.IPV4)
        report = await probe(target)
        assert report.connections == 1
        assert judge(report, target) is Verdict.HEALTHY


async def test_a_resolver_that_hangs_costs_one_thread_for_its_name() -> None:
    asked = 0
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_: resolving.Query) -> list[resolving.Address]:
        nonlocal asked
        asked += 1
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        raise resolving.UnresolvedError(Cause.NAME_UNKNOWN, "no")

    resolver = Resolver(hang)
    target = at(7497, "slow.test", deadline=0.2)
    reports = [await probe_target(target, resolver) for _ in range(3)]
    assert asked == 1
    assert {judge(report, target) for report in reports} == {Verdict.NAME_UNRESOLVED}
    assert all(report.seconds >= 0.2 for report in reports)
    release.set()
    await asyncio.sleep(0.05)


MOST_LITERALS = 16_384


async def test_many_different_addresses_leave_no_memory_behind() -> None:
    resolver = Resolver()
    asked = [at(1 + number % 60_000, f"127.0.{number // 60_000}.1") for number in range(3 * MOST_LITERALS)]
    for target in asked[:MOST_LITERALS]:
        resolver.literal(target)
    tracemalloc.start()
    try:
        for target in asked[MOST_LITERALS:]:
            assert resolver.literal(target)
        assert tracemalloc.get_traced_memory()[0] < 9_000_000  # bytes; without a bound 14 million
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_connect_to_ourselves_is_no_open_port(host: str) -> None:
    """A connect to an unused port of the ephemeral range can, rarely, meet its own local port."""
    with socket.socket() as sock, socket.create_server(("127.0.0.1", 0)) as server:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert not joined_to_itself(sock, port)
        sock.connect((host, port))
        assert joined_to_itself(sock, port)
        with socket.create_connection(server.getsockname()) as other:
            assert not joined_to_itself(other, server.getsockname()[1])


async def test_an_address_that_swallows_the_connect_leaves_time_for_the_next() -> None:
    """The first gets half of the time, so that a name with a dead IPv6 address is still found well by the other."""

    class Two(Resolver):
        async def resolve(self, target: Target) -> list[resolving.Address]:
            return [resolving.Address(socket.AF_INET, (host, target.port)) for host in ("127.0.0.2", "127.0.0.1")]

    async with Gateway("ok") as gateway, Gateway("backlog_full", host="127.0.0.2", port=gateway.port):
        target = at(gateway.port, "two.example")
        report = await probe_target(target, Two())
    assert judge(report, target) is Verdict.HEALTHY
    assert report.results[0].detail == "127.0.0.2: connect_timeout; 127.0.0.1 answered"
    assert report.connections == 2


async def test_a_stamp_from_a_clock_that_was_set_meanwhile_is_not_taken_for_a_duration() -> None:
    """The stamps are wall clock times; ours never jumps, and here none of its time passes."""
    async with Gateway("ok") as gateway:
        attempt = ProbeContext(
            at(gateway.port), Connection(asyncio.get_running_loop().time() + DEADLINE), Resolver(), lambda: 7.0
        )
        await probe_port(attempt)
        result = await probe_handshake(attempt)
        await attempt.connection.close()
    assert (result.outcome, result.seconds, result.stamp) == (Outcome.OK, 0.0, Stamp.USER)


# --- our own faults


@contextlib.contextmanager
def no_files_left() -> Iterator[None]:
    """As many files are open as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[socket.socket] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(socket.socket())
        yield
    finally:
        for sock in taken:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_too_many_open_files_are_our_fault_and_not_the_gateways() -> None:
    async with Gateway("ok") as gateway:
        with no_files_left():
            report = await probe(at(gateway.port))
        assert judge(report, at(gateway.port)) is Verdict.PROBE_BROKEN
        assert report.results == ()
        assert report.fault is not None
        assert "Too many open files" in report.fault
        assert judge(await probe(at(gateway.port)), at(gateway.port)) is Verdict.HEALTHY


async def test_a_resolver_without_a_file_descriptor_is_our_fault_and_forgotten_afterwards() -> None:
    async with Gateway("ok") as gateway:
        resolver = Resolver()
        target = at(gateway.port, "localhost", address_family=AddressFamily.IPV4, deadline=1.0)
        before = await probe_target(target, resolver)
        with no_files_left():
            without = await probe_target(target, resolver)
        after = await probe_target(target, resolver)
    verdicts = [judge(report, target) for report in (before, without, after)]
    assert verdicts == [Verdict.HEALTHY, Verdict.PROBE_BROKEN, Verdict.HEALTHY]


async def test_a_cancelled_probe_closes_its_connection_in_order() -> None:
    async with Gateway("silent") as gateway:
        running = asyncio.create_task(probe(at(gateway.port, deadline=5.0)))
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.05)
        assert gateway.recorder.last()[0].client_end is ClientEnd.FIN


async def test_thousands_of_probes_leave_no_descriptor_behind() -> None:
    async with Gateway("ok") as ok, Gateway("close_at_once") as closing, Gateway("reset_at_once") as resetting:
        await asyncio.gather(*(probe(at(gateway.port)) for gateway in (ok, closing, resetting)))
        before = descriptors()
        for _ in range(10):
            await asyncio.gather(
                *(probe(at(gateway.port, deadline=5.0)) for gateway in (ok, closing, resetting) for _ in range(70))
            )
        await asyncio.sleep(0.1)
        assert descriptors() == before
        assert ok.recorder.opened == 701
        assert ok.recorder.open_now == 0


async def test_a_failure_says_at_which_stage_it_ended() -> None:
    async with Gateway("half_reply") as gateway:
        report = await probe(at(gateway.port))
    handshake = report.layer(Layer.HANDSHAKE)
    assert handshake is not None
    assert (handshake.stage, handshake.cause) == (Stage.REPLY, Cause.UNFINISHED)
    assert "bytes had come" in handshake.detail


async def test_a_reply_that_breaks_off_is_no_silence_and_no_closing_without_a_byte() -> None:
    async with Gateway("eof_mid_reply") as gateway:
        target = at(gateway.port)
        report = await probe(target)
    handshake = report.layer(Layer.HANDSHAKE)
    assert handshake is not None
    assert (handshake.outcome, handshake.stage, handshake.cause) == (Outcome.CLOSED, Stage.REPLY, Cause.BROKEN_OFF)
    assert judge(report, target) is Verdict.API_SILENT
    evidence = explain(report, target, Verdict.API_SILENT).evidence[1]
    assert re.search(r"began, and the connection ended after .* in the middle of it \(\d+ bytes had come: ", evidence)


@pytest.mark.parametrize("version", [176, 226])
@pytest.mark.parametrize("mode", [name for name, mode in MODES.items() if mode.early and name != "notice_only"])
async def test_messages_before_the_reply_are_passed_over_and_the_evidence_counts_them(mode: str, version: int) -> None:
    async with Gateway(mode, setup=replace(QUICK, server_version=version)) as gateway:
        target = at(gateway.port, client_ids=(9001,))
        report = await probe(target)
    assert judge(report, target) is Verdict.HEALTHY
    handshake = report.layer(Layer.HANDSHAKE)
    assert handshake is not None
    assert handshake.server is not None
    assert handshake.server.version == version
    assert handshake.detail.startswith("one other message")


@pytest.mark.parametrize("version", [176, 194, 226])
@pytest.mark.parametrize("code", [326, 502, 504, 507])
async def test_an_error_instead_of_the_reply_is_named_in_each_layout(code: int, version: int) -> None:
    async with Gateway(f"error_{code}", setup=replace(QUICK, server_version=version)) as gateway:
        target = at(gateway.port)
        report = await probe(target)
    said = explain(report, target, judge(report, target))
    assert said.headline == f"{target.endpoint} answers the hello with an error instead of its version"
    assert any(f"(error {code}: refused)" in line for line in said.evidence)


async def test_a_version_above_ours_is_no_answer_and_the_evidence_names_it() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(17)
        writer.write(b"\0\0\0\x09300\x002026\0")
        await reader.read()

    async with peer(answer) as port:
        report = await probe(at(port))
    assert judge(report, at(port)) is Verdict.NOT_TWS_API
    assert "version 300, above the 226" in explain(report, at(port), Verdict.NOT_TWS_API).evidence[1]


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
