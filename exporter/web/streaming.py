"""Long answers, made in pieces: the event loop is free between two of them, and a thread compresses each.

aiohttp's own compression works too, but at zlib's level 6: a third more CPU for a scrape (docs/adr/0003).
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from aiohttp import hdrs, web

GZIP = 16 + zlib.MAX_WBITS  # zlib's number for a gzip header
FASTEST = 1  # metric text shrinks twenty-fold at any level
HOLD = 0.001  # seconds that one answer holds the event loop; another task may meet three such turns in a row


class Streamer:
    """Makes answers from chunks of text; `close` ends the thread that compresses."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="gzip")

    def close(self) -> None:
        """End the thread that compresses."""
        self._executor.shutdown(wait=False)

    async def respond(self, request: web.Request, chunks: Iterator[str], content_type: str) -> web.Response:
        """All chunks as one body, gzipped where the client accepts that."""
        headers = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"}
        accepted = request.headers.get(hdrs.ACCEPT_ENCODING, "").replace(" ", "")
        if "gzip" not in accepted or "gzip;q=0" in accepted.replace("gzip;q=0.", ""):
            return web.Response(body=b"".join([piece async for piece in _pieces(chunks)]), headers=headers)
        return web.Response(body=await self._gzip(chunks), headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})

    async def _gzip(self, chunks: Iterator[str]) -> bytes:
        """Compress each piece while the next is being made: zlib releases the interpreter's lock."""
        loop = asyncio.get_running_loop()
        compressor = zlib.compressobj(FASTEST, zlib.DEFLATED, GZIP)
        packed = [loop.run_in_executor(self._executor, compressor.compress, piece) async for piece in _pieces(chunks)]
        packed.append(loop.run_in_executor(self._executor, compressor.flush))
        return b"".join(await asyncio.gather(*packed))


async def _pieces(chunks: Iterator[str]) -> AsyncIterator[bytes]:
    """The chunks as bytes, joined to pieces that take HOLD seconds to make; the event loop runs after each."""
    loop = asyncio.get_running_loop()
    joined: list[str] = []
    began = loop.time()
    for chunk in chunks:
        joined.append(chunk)
        if loop.time() - began > HOLD:
            yield "".join(joined).encode()
            joined.clear()
            await asyncio.sleep(0)
            began = loop.time()
    yield "".join(joined).encode()
