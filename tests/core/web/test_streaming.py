"""How long answers are cut into pieces, between which the event loop runs."""

import asyncio
import time
from collections.abc import Iterator

from exporter.web.streaming import HOLD, _pieces

CHUNKS = 40


def work(seconds: float) -> None:
    """Use this much of the processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def chunks() -> Iterator[str]:
    for _ in range(CHUNKS):
        work(1.1 * HOLD)
        yield "line\n"


async def cut() -> list[bytes]:
    return [piece async for piece in _pieces(chunks())]


async def busy() -> None:
    while True:
        work(10 * HOLD)
        await asyncio.sleep(0)


async def test_the_loop_runs_after_each_piece_of_a_long_answer() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    pieces = await cut()
    other.cancel()
    assert b"".join(pieces) == CHUNKS * b"line\n"
    assert len(pieces) - 1 <= turns


async def test_pieces_are_longer_where_the_other_tasks_hold_the_loop_for_longer() -> None:
    other = asyncio.create_task(busy())
    pieces = await cut()
    other.cancel()
    assert b"".join(pieces) == CHUNKS * b"line\n"
    assert len(pieces) < CHUNKS / 4
