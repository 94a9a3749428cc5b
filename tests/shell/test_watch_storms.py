"""The watch against gateways that misbehave: floods, storms, half a freeze, resets without end, reloads in between."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from exporter import log
from exporter.model import Layer, Mode, Target, Verdict
from exporter.service import watch
from exporter.service.service import Service
from exporter.service.watch import HeartbeatTimings
from exporter.simulator import messages
from exporter.simulator.gateway import Gateway
from exporter.state.exporter import ExporterState
from tests.shell.support import PATIENCE, until

pytestmark = pytest.mark.turned_clock

PROBES, WATCH = 9001, 9002
VERSION = 176
QUICK = HeartbeatTimings(heartbeat=0.2, late=0.1, again=0.12, given_up=0.22)
LOST, FOUND = messages.error(VERSION, -1, 1100, "lost", 0), messages.error(VERSION, -1, 1102, "found", 0)
BEGUN = messages.managed_accounts(VERSION, ("DU1234567",)) + messages.next_valid_id(VERSION, 1)
TIME = messages.current_time(VERSION, 1_795_226_420)

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Odd:
    """A gateway that serves the probes well, and the watch in a manner of its own. `began` has the watch's connections."""

    def __init__(self, talk: Talk) -> None:
        """Nothing has happened."""
        self.talk = talk
        self.opened = 0
        self.open_now = 0
        self.began: list[float] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.opened += 1
        self.open_now += 1
        came = asyncio.get_running_loop().time()
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"226")
                writer.write(messages.reply(VERSION, "20261121 02:00:00 EST"))
                start = await reader.read(64)
                if start.split(b"\0")[5:6] == [b"%d" % WATCH]:
                    self.began.append(came)
                    await self.talk(reader, writer)
                else:
                    writer.write(BEGUN)
                    await answering(reader, writer)
        finally:
            self.open_now -= 1
            writer.close()


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request until the client leaves."""
    while await reader.read(64):
        writer.write(TIME)


@asynccontextmanager
async def odd(talk: Talk) -> AsyncIterator[Odd]:
    gateway = Odd(talk)
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    gateway.port = server.sockets[0].getsockname()[1]
    async with server:
        yield gateway


def at(port: int, interval: float = 15.0, deadline: float = 5.0) -> Target:
    target = Target("gateway", "127.0.0.1", port, Mode.PAPER, interval, deadline)
    return replace(target, client_ids=(PROBES, WATCH), watch=True)


@asynccontextmanager
async def watching(target: Target, timings: HeartbeatTimings = watch.HEARTBEAT_TIMINGS) -> AsyncIterator[Service]:
    async with Service(ExporterState("test", "3"), timings=timings) as service:
        await service.apply([target])
        yield service


async def test_a_storm_of_losses_and_returns_is_told_ten_times_a_second_and_ends_with_its_last_word() -> None:
    storm = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BEGUN)
        answers = asyncio.create_task(answering(reader, writer))
        await storm.wait()
        for _ in range(400):
            writer.write(LOST)
            await writer.drain()
            await asyncio.sleep(0.002)  # a segment of its own
            writer.write(FOUND)
            await writer.drain()
            await asyncio.sleep(0.002)
        writer.write(LOST)
        await answers

    log.configure("info")
    async with odd(talk) as gateway:
        with capture_logs() as lines:
            async with watching(at(gateway.port)) as service:
                await until(lambda: service.states["gateway"].watched.connected)
                began = asyncio.get_running_loop().time()
                storm.set()
                await until(lambda: service.states["gateway"].verdict is Verdict.UPSTREAM_DOWN)
                await asyncio.sleep(2.0)
                await until(lambda: service.states["gateway"].verdict is Verdict.UPSTREAM_DOWN)
                lasted = asyncio.get_running_loop().time() - began
        await until(lambda: not gateway.open_now)
    changes = [line for line in lines if line["event"] == "verdict changed"]
    assert 2 <= len(changes) <= 1 + 10 * lasted + lasted  # and at each heartbeat


def chatter(number: int) -> bytes:
    """Farms that are lost and found, many of them, none twice in a row."""
    return b"".join(
        messages.error(VERSION, -1, 2103 + place % 2, f"whatever:farm{place % 97}", 0) for place in range(number)
    )


@pytest.mark.real_clock
async def test_a_flood_of_farm_notices_costs_no_memory_and_stops_no_other_target() -> None:
    words = chatter(20_000)
    told = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal told
        writer.write(BEGUN)
        await reader.read(64)
        writer.write(TIME)
        while not reader.at_eof():
            writer.write(words)
            await writer.drain()
            told += 20_000

    turns = 0
    async with odd(talk) as gateway, watching(at(gateway.port, 2.0)) as service:
        await until(lambda: service.states["gateway"].watched.connected)
        await until(lambda: told > 40_000)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            sooner = told
            async with asyncio.timeout(PATIENCE):
                while told < sooner + 100_000:
                    await asyncio.sleep(0.01)
                    turns += 1
            gc.collect()
            after, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        state = service.states["gateway"]
        assert len(state.recent) <= 8
        assert len(state.watched.facts.farms) <= 64
    print(f"\n{turns} turns, {after - before} bytes more, {most - before} at most")  # noqa: T201 - a measurement
    assert most - before < 2_000_000  # most of it is what asyncio holds of the simulated gateway
    assert turns > 20


async def test_a_gateway_that_leaves_only_the_watch_unanswered_is_healthy_and_asked_ever_more_seldom() -> None:
    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with odd(talk) as gateway, watching(at(gateway.port, 0.1, 0.2)) as service:
        await until(lambda: len(gateway.began) >= 4)
        state = service.states["gateway"]
        assert {change.verdict for change in state.changes} == {Verdict.HEALTHY}
        gaps = [later - earlier for earlier, later in pairwise(gateway.began[:4])]
        assert all(gap >= 0.1 * 2**place for place, gap in enumerate(gaps))


async def test_a_gateway_that_resets_every_session_of_the_watch_is_asked_ever_more_seldom() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BEGUN + TIME)
        await asyncio.sleep(0.05)
        writer.transport.abort()

    async with odd(talk) as gateway, watching(at(gateway.port, 0.1, 0.2)) as service:
        await until(lambda: len(gateway.began) >= 5)
        gaps = [later - earlier for earlier, later in pairwise(gateway.began[:5])]
        assert all(gap >= 0.1 * 2**place for place, gap in enumerate(gaps))
        probed = service.states["gateway"].probes[Layer.SESSION, ""]
        assert gateway.opened - len(gateway.began) <= probed + 1


@pytest.mark.parametrize("answered", [False, True])
async def test_a_reload_while_the_watch_begins_a_session_ends_it_in_order_and_counts_it(*, answered: bool) -> None:
    ends: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answered:
            writer.write(BEGUN)
            await reader.read(64)
        ends.append(await reader.read(64))

    async with odd(talk) as gateway, watching(at(gateway.port)) as service:
        for number in (1, 2, 3):
            await until(lambda number=number: len(gateway.began) == number)  # type: ignore[misc]
            await service.apply([at(gateway.port, 15.0 + number)])
            assert service.states["gateway"].connections == gateway.opened
            await until(lambda number=number: len(ends) == number)  # type: ignore[misc]
        await service.apply([])
        await until(lambda: not gateway.open_now)
    assert set(ends) == {b""}  # our end of the stream, and nothing more was asked


async def test_a_reload_while_the_watch_waits_for_its_next_session_begins_one_at_once() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway.port, 60.0)) as service:
        await until(lambda: service.states["gateway"].watched.connected)
        await gateway.set_mode("refused")
        await until(lambda: service.states["gateway"].verdict is Verdict.PORT_CLOSED)
        await gateway.set_mode("ok")
        await service.apply([at(gateway.port, 59.0)])
        await until(lambda: service.states["gateway"].watched.connected)
        assert gateway.recorder.most_as == {PROBES: 1, WATCH: 1}
        await until(lambda: service.states["gateway"].connections == gateway.recorder.opened + 1)  # one was refused


async def test_a_target_whose_probe_failed_is_probed_at_its_own_interval_although_its_watch_is_connected() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway.port, 0.4, 0.3)) as service:
        await until(lambda: service.states["gateway"].watched.connected)
        await gateway.set_mode("close_at_once")  # live sessions go on
        await until(lambda: service.states["gateway"].verdict is Verdict.CLOSED_BEFORE_HANDSHAKE)
        first = gateway.recorder.opened
        await until(lambda: gateway.recorder.opened >= first + 4)
        accepted = [record.accepted_ns / 1e9 for record in gateway.recorder.last(5)]
        assert sorted(earlier - later for earlier, later in pairwise(accepted))[2] < 1.2  # of four; spaced it were 1.6
        assert service.states["gateway"].watched.connected
        await gateway.set_mode("ok")
        await until(lambda: service.states["gateway"].verdict is Verdict.HEALTHY)
        assert len([record for record in gateway.recorder if record.client_id == WATCH]) == 1
