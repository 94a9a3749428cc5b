"""The clock that the tests turn: it jumps where everything waits, and nowhere else."""

import asyncio
import time

import pytest

from exporter.probes import timestamps
from exporter.probes.threads import in_daemon_thread
from exporter.simulator.settings import GatewaySettings
from tests.shell.clock import TurnedLoop

HOUR = 3600.0


@pytest.mark.turned_clock
async def test_everybodys_clock_moves_by_what_is_waited_and_hardly_by_what_is_computed() -> None:
    clocks = (asyncio.get_running_loop().time, time.time, time.monotonic, time.perf_counter, GatewaySettings().clock)
    before = [clock() for clock in clocks]
    await asyncio.sleep(HOUR)
    sum(range(1_000_000))
    for clock, then in zip(clocks, before, strict=True):
        assert HOUR <= clock() - then < HOUR + 0.001


@pytest.mark.turned_clock
@pytest.mark.parametrize("start", [asyncio.to_thread, lambda work: in_daemon_thread(work, "work")])
async def test_a_deadline_does_not_come_before_a_thread_that_needs_no_time(start: object) -> None:
    def work() -> str:
        for _ in range(100_000):
            pass
        return "done"

    assert callable(start)
    async with asyncio.timeout(60.0):
        assert await start(work) == "done"


@pytest.mark.turned_clock
async def test_what_was_sent_arrives_before_a_deadline() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        for _ in range(100):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            assert await asyncio.wait_for(reader.readline(), 0.01) == b"hello\n"
            writer.close()
            await writer.wait_closed()


def test_the_process_has_its_clocks_back_afterwards() -> None:
    before = (time.time, time.monotonic, time.perf_counter, timestamps.AVAILABLE)
    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        runner.run(asyncio.sleep(HOUR))
        assert time.time is not before[0]
    assert (time.time, time.monotonic, time.perf_counter, timestamps.AVAILABLE) == before
