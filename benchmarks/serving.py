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

    def __init__(
        self,
        port: int,
        size: int,
        interval: float,
        keys: str = "client_ids: []",
        more: str = "",
        *,
        lists: bool = False,
        history: bool = False,
    ) -> None:
        """Write the configuration; `more` are further lines of it.

        `lists`: the targets are in a list of file_sd. `history`: each begins with the history of a day.
        """
        self._listen = free_port()
        self._directory = tempfile.TemporaryDirectory()
        folder = Path(self._directory.name)
        self._history = history
        self._keys = [keys] * size
        self._port = port
        durations = {"interval": interval, "deadline": min(interval / 2, 5.0), "slow_after": min(interval / 4, 1.0)}
        defaults = f"defaults: {json.dumps(durations)}\n"
        self._head = f"{defaults}{more}clients: {{}}\nweb: {{listen: '127.0.0.1:{self._listen}'}}\n"
        self._config = folder / "config.yaml"
        self._list = folder / "targets.json" if lists else None
        if lists:
            self._config.write_text(f"{self._head}file_sd_configs: [{{files: [targets.json]}}]\n")
        self._write()

    def change(self, number: int, value: int) -> None:
        """Give one target another label, in the file; a reload is not asked for."""
        self._keys[number] = f"{self._keys[number].partition(', labels')[0]}, labels: {{change: '{value}'}}"
        self._write()

    def _write(self) -> None:
        if self._list is None:
            places = (f"name: gateway-{n:04}, host: {address(n)}, port: {self._port}" for n in range(len(self._keys)))
            rows = "".join(
                f"  - {{{place}, mode: paper{keys and ', '}{keys}}}\n"
                for place, keys in zip(places, self._keys, strict=True)
            )
            self._config.write_text(f"{self._head}targets:\n{rows}")
            return
        groups = [
            {
                "targets": [f"{address(n)}:{self._port}"],
                "labels": {
                    "__param_name": f"gateway-{n:04}",
                    "__param_mode": "paper",
                    "__param_client_ids": "none",
                    "change": keys.partition("change: '")[2].partition("'")[0],
                },
            }
            for n, keys in enumerate(self._keys)
        ]
        fresh = self._list.with_suffix(".new")
        fresh.write_text(json.dumps(groups))
        fresh.replace(self._list)

    async def __aenter__(self) -> tuple[Process, str, float]:
        """Start it and wait for the first verdict."""
        command = [shutil.which("ibkr-exporter", path=str(Path(sys.executable).parent)) or "ibkr-exporter"]
        if self._history:
            command = [sys.executable, str(Path(__file__).with_name("exporter_with_history.py"))]
        self._started = Process.start(*command, "serve", "--config", str(self._config))
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
