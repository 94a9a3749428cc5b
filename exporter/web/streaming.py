"""What an answer consists of: pieces made in turn with everything else, gzipped where the client takes that."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from aiohttp import hdrs, web

GZIP = 16 + zlib.MAX_WBITS  # zlib's number for a gzip header
FASTEST = 1  # metric text shrinks twenty-fold at any level
HOLD = 0.001  # seconds that a scrape or page holds the event loop; whoever is next in line may meet three such turns


class Streamer:
    """Makes the bodies of answers; has a thread that compresses."""

    def __init__(self) -> None:
        """The thread starts with the first body that is gzipped."""
        self._compressor = ThreadPoolExecutor(1, thread_name_prefix="gzip")

    def close(self) -> None:
        """Let go of the thread."""
        self._compressor.shutdown(wait=False)

    async def sent(self, request: web.Request, chunks: Iterator[str], content_type: str) -> web.Response:
        """All chunks as one body, gzipped where the client takes that, the event loop never held for long."""
        accepted = request.headers.get(hdrs.ACCEPT_ENCODING, "").replace(" ", "")
        gzipped = "gzip" in accepted and "gzip;q=0" not in accepted.replace("gzip;q=0.", "")
        body = await (self._gzipped(chunks) if gzipped else _joined(chunks))
        headers = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"}
        if gzipped:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=body, headers=headers)

    async def _gzipped(self, chunks: Iterator[str]) -> bytes:
        """Compressed in a thread while the next piece is being made: zlib lets go of the interpreter."""
        loop = asyncio.get_running_loop()
        packer = zlib.compressobj(FASTEST, zlib.DEFLATED, GZIP)
        packed = [loop.run_in_executor(self._compressor, packer.compress, piece) async for piece in _pieces(chunks)]
        packed.append(loop.run_in_executor(self._compressor, packer.flush))
        return b"".join(await asyncio.gather(*packed))


async def _pieces(chunks: Iterator[str]) -> AsyncIterator[bytes]:
    """The chunks as bytes, several in a piece; after each the loop gets its turn."""
    loop = asyncio.get_running_loop()
    taken: list[str] = []
    began = loop.time()
    for chunk in chunks:
        taken.append(chunk)
        if loop.time() - began > HOLD:
            yield "".join(taken).encode()
            taken.clear()
            await asyncio.sleep(0)
            began = loop.time()
    yield "".join(taken).encode()


async def _joined(chunks: Iterator[str]) -> bytes:
    return b"".join([piece async for piece in _pieces(chunks)])
