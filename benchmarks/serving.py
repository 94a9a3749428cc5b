"""The real command as a process of its own, with a configuration of simulated gateways."""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from parts import Process, address, free_port


class exporter:  # noqa: N801 - used as a context, like a function
    """The real command with `size` targets: gives the process, its URL, and the seconds to its first verdict.

    `keys` are those of every target beside its name and address; by default only port and handshake are probed.
    """

    def __init__(self, port: int, size: int, interval: float, keys: str = "client_ids: []", more: str = "") -> None:
        """Write the configuration; `more` are further lines of it."""
        self._listen = free_port()
        self._directory = tempfile.TemporaryDirectory()
        rows = "".join(
            f"  - {{name: gateway-{n:04}, host: {address(n)}, port: {port}, mode: paper{keys and ', '}{keys}}}\n"
            for n in range(size)
        )
        durations = {"interval": interval, "deadline": min(interval / 2, 5.0), "slow_after": min(interval / 4, 1.0)}
        defaults = f"defaults: {json.dumps(durations)}\n"
        self._config = Path(self._directory.name) / "config.yaml"
        self._config.write_text(
            f"{defaults}{more}clients: {{}}\nweb: {{listen: '127.0.0.1:{self._listen}'}}\ntargets:\n{rows}"
        )

    async def __aenter__(self) -> tuple[Process, str, float]:
        """Start it and wait for the first verdict."""
        command = shutil.which("ibkr-exporter", path=str(Path(sys.executable).parent)) or "ibkr-exporter"
        self._started = Process.start(command, "serve", "--config", str(self._config))
        began = time.perf_counter()
        process = await self._started.__aenter__()
        url = f"http://127.0.0.1:{self._listen}/"
        async with aiohttp.ClientSession() as session:
            await answering(session, f"{url}-/ready")
            async with asyncio.timeout(30):
                while '"gateway-0000",verdict="healthy"} 1' not in await text(session, f"{url}metrics"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        return process, url, time.perf_counter() - began

    async def __aexit__(self, *error: object) -> None:
        """End it."""
        await self._started.__aexit__(None, None, None)
        self._directory.cleanup()


async def text(session: aiohttp.ClientSession, url: str) -> str:
    """The body of an answer."""
    async with session.get(url) as response:
        return await response.text()


async def answering(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until something answers, for ten seconds at most."""
    for _ in range(1000):
        try:
            await text(session, url)
        except aiohttp.ClientError:
            await asyncio.sleep(0.01)
        else:
            return
    msg = f"{url} does not answer"
    raise RuntimeError(msg)
