"""Long answers, made in pieces: the event loop is free between two of them, and a thread compresses each.

aiohttp's own compression works too, but at zlib's level 6: a third more CPU for a scrape (docs/adr/0003).
"""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from aiohttp import hdrs, web

GZIP = 16 + zlib.MAX_WBITS  # zlib's number for a gzip header
FASTEST = 1  # metric text shrinks twenty-fold at any level
WORTH = 16_384  # bytes; of fewer, such as a /probe's, compressing takes longer than sending does
BLOCK = (
    1 << 20
)  # bytes that the thread gets at a time: for each block it waits for the interpreter's lock, 5 ms at most
HOLD = 0.001  # seconds that one answer holds the event loop; another task may meet three such turns in a row
LONGEST_HOLD = 0.02  # seconds, where the other tasks work as long before it is their turn again


class Streamer:
    """Makes answers from chunks of text; `close` ends the thread that compresses."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="gzip")

    def close(self) -> None:
        """End the thread that compresses."""
        self._executor.shutdown(wait=False)

    async def respond(self, request: web.Request, chunks: Iterator[str], content_type: str) -> web.Response:
        """All chunks as one body, gzipped where the client accepts that and it is worth it."""
        headers = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"}
        pieces = _pieces(chunks)
        first, second = await anext(pieces), await anext(pieces, None)
        if second is None and len(first) < WORTH:
            return web.Response(body=first, headers=headers)
        begun = [first, second or b""]
        accepted = request.headers.get(hdrs.ACCEPT_ENCODING, "").replace(" ", "")
        if "gzip" not in accepted or "gzip;q=0" in accepted.replace("gzip;q=0.", ""):
            return web.Response(body=b"".join([*begun, *[piece async for piece in pieces]]), headers=headers)
        return web.Response(body=await self._gzip(begun, pieces), headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})

    async def _gzip(self, begun: list[bytes], rest: AsyncIterator[bytes]) -> bytes:
        """Compress each piece while the next is being made: zlib releases the interpreter's lock."""
        loop = asyncio.get_running_loop()
        compressor = zlib.compressobj(FASTEST, zlib.DEFLATED, GZIP)
        packed: list[asyncio.Future[bytes]] = []

        def pack(pieces: list[bytes]) -> None:
            block = b"".join(pieces)
            packed.append(loop.run_in_executor(self._executor, compressor.compress, block))

        size, waiting = 0, begun
        async for piece in rest:
            waiting.append(piece)
            size += len(piece)
            if size >= BLOCK:
                pack(waiting)
                size, waiting = 0, []
        pack(waiting)
        packed.append(loop.run_in_executor(self._executor, compressor.flush))
        return b"".join(await asyncio.gather(*packed))


async def _pieces(chunks: Iterator[str]) -> AsyncIterator[bytes]:
    """The chunks as bytes, joined to pieces that take HOLD seconds to make; the event loop runs after each.

    Where the other tasks work longer than that in a turn, because thousands of probes are under way, a piece takes as
    long as the last turn, so that an answer of hundreds of pieces gets half of the time and not a hundredth.
    """
    joined: list[str] = []
    hold = HOLD
    began = time.thread_time()  # our own work: what the machine gave to others meanwhile makes no piece smaller
    for chunk in chunks:
        joined.append(chunk)
        if time.thread_time() - began > hold:
            yield "".join(joined).encode()
            joined.clear()
            paused = time.thread_time()
            await asyncio.sleep(0)
            hold = min(LONGEST_HOLD, max(HOLD, time.thread_time() - paused))
            began = time.thread_time()
    yield "".join(joined).encode()
