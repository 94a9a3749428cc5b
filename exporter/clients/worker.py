"""Probe with a broker library in its own interpreter, within a deadline, whatever the library does.

    worker = open_worker(ClientSpec("ib_insync", "ib_insync"))
    probe = await worker.probe("127.0.0.1", 7497, client_id=9001, deadline=15.0)     # starts the interpreter if need be
    probe.result, worker.installed, worker.unusable
    await worker.stop()

The library is imported once; a probe's time does not include that. A library that hangs, crashes, prints or forks is
killed with all its children, and the result names the stage. Where the system cannot fork, each probe is a new process
(spawn.py).
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.clients.driver_result import ExitStatus, find_end, read_result, unavailable
from exporter.clients.environments import default_root, find_python
from exporter.clients.forkserver import CAN_FORK, ForkServer, UnusableError, start_fork_server
from exporter.clients.libraries import Library, find_libraries
from exporter.clients.output import Pipe, ProbeOutput
from exporter.clients.spawn import spawn_probe
from exporter.model import ClientSpec, InstalledVersion, LayerResult, Outcome, Stage

IMPORT_LIMIT = 120.0  # seconds: nautilus_trader took 15 on two busy cores with a cold disk
RETRY_AFTER = 300.0  # seconds until an import that failed is tried again


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """A probe's result, its CPU seconds, the number of orphans that were killed, and the end of what it printed."""

    result: LayerResult
    connections: int = 0  # TCP connections that were opened: one, or none
    cpu: float | None = None
    orphans: int = 0
    printed: str = ""


class Worker:
    """One client: a library as installed in one interpreter. It starts one fork server, at first use."""

    def __init__(
        self,
        client: str,
        library: Library,
        python: str | Callable[[], str | None],
        *,
        import_limit: float = IMPORT_LIMIT,
        fork: bool = CAN_FORK,
    ) -> None:
        """`client` is the name in the results. `python` is the interpreter, or finds it; None: not installed yet."""
        self.client = client
        self.installed: InstalledVersion | None = None
        self.unusable: str | None = None
        self._library = library
        self._python = (lambda: python) if isinstance(python, str) else python
        self._import_limit = import_limit
        self._fork = fork
        self._fork_server: ForkServer | None = None
        self._starting: asyncio.Task[ForkServer] | None = None
        self._failed_at = 0.0
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int:
        """The process id of the fork server, 0 while there is none."""
        return self._fork_server.process.pid if self._fork_server is not None and self._fork_server.alive else 0

    @property
    def preloaded(self) -> bool:
        """The library is imported before a probe begins, not in the probe's own process."""
        return self._fork_server is not None and not self._fork_server.lazy

    async def start(self) -> InstalledVersion:
        """Import the library now. Raises UnusableError; idempotent."""
        await self._running_server()
        if self.installed is None:
            raise UnusableError(self.unusable or "not started")
        return self.installed

    async def probe(
        self,
        host: str,
        port: int,
        client_id: int,
        deadline: float,
        spacing: float | None = None,
        *,
        download: bool = False,
        account: str | None = None,
    ) -> WorkerResult:
        """Probe once, within `deadline` seconds. `spacing` overrides the pause between two requests.

        `download`: the library also downloads the account, of several accounts `account`.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline
        request: dict[str, Any] = {"host": host, "port": port, "client_id": client_id}
        if download:
            request |= {"download": True, "account": account}
        if spacing is not None:
            request["spacing"] = spacing
        try:
            if not self._fork:
                return await self._spawn_probe(request | {"deadline": deadline}, until)
            async with asyncio.timeout_at(until):
                fork_server = await self._running_server()
        except TimeoutError:
            detail = f"import {self._library.name} was not done after {deadline:g} s; it goes on"
            return WorkerResult(unavailable(self.client, detail, Stage.IMPORTED))
        except UnusableError as error:
            return WorkerResult(unavailable(self.client, str(error), Stage.IMPORTED))
        return await self._fork_probe(fork_server, request | {"deadline": until - loop.time()}, until)

    async def stop(self) -> None:
        """End the interpreter and everything in it."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        fork_server, self._fork_server = self._fork_server, None
        if fork_server is not None:
            await fork_server.stop()

    async def _running_server(self) -> ForkServer:
        """The fork server, started if there is none. Cancelling the wait does not stop the import."""
        if self._fork_server is not None and self._fork_server.alive:
            return self._fork_server
        if self._fork_server is not None:
            await self._fork_server.stop()
            self._fork_server = None
        if self._starting is None:
            self._interpreter()
            now = asyncio.get_running_loop().time()
            if self.unusable is not None and now < self._failed_at + RETRY_AFTER:
                raise UnusableError(self.unusable)
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> ForkServer:
        try:
            fork_server, self.installed = await start_fork_server(
                self._interpreter(), self._library, self._import_limit
            )
        except UnusableError as error:
            self.unusable, self._failed_at = str(error), asyncio.get_running_loop().time()
            self.installed = None
            raise
        finally:
            self._starting = None
        self.unusable, self._fork_server = None, fork_server
        return fork_server

    def _interpreter(self) -> str:
        """The interpreter's path. Raises UnusableError while nothing is installed."""
        python = self._python()
        if python is None:
            self.installed = None
            self.unusable = f"not installed: `ibkr-exporter clients install {self._library.name}` does it"
            raise UnusableError(self.unusable)
        return python

    async def _fork_probe(self, fork_server: ForkServer, request: Mapping[str, Any], until: float) -> WorkerResult:
        loop = asyncio.get_running_loop()
        started, number, output, over = loop.time(), next(self._numbers), ProbeOutput(), False
        with closing(Pipe(output.splitter.feed)) as lines, closing(Pipe(output.printed.feed)) as printed:
            try:
                fork_server.start_probe(number, request, lines.write_end, printed.write_end)
                lines.close_write_end()
                printed.close_write_end()
                over = await output.wait(until)
            except OSError:
                fork_server.kill()
            finally:
                elapsed = loop.time() - started
                reaped = await asyncio.shield(fork_server.reap(number)) if fork_server.alive else {}
        if not fork_server.alive and find_end(output.lines) is None:
            lost = unavailable(self.client, "the process that holds the library was lost")
            return WorkerResult(lost, 1, printed=output.printed.text)
        exit_status = ExitStatus(not over, reaped.get("status"), imported=not fork_server.lazy)
        return self._result(output, elapsed, exit_status, reaped)

    async def _spawn_probe(self, request: Mapping[str, Any], until: float) -> WorkerResult:
        loop = asyncio.get_running_loop()
        started = loop.time()
        output, killed, status = await spawn_probe(self._interpreter(), self._library, request, until)
        return self._result(output, loop.time() - started, ExitStatus(killed, status, imported=False), {})

    def _result(
        self, output: ProbeOutput, elapsed: float, exit_status: ExitStatus, reaped: Mapping[str, Any]
    ) -> WorkerResult:
        """The result. Where the probe imported the library itself, its line has the version."""
        line = next((line for line in output.lines if line.get("stage") == Stage.IMPORTED and "version" in line), None)
        if line is not None:
            version, python = str(line["version"]), str(line.get("python", ""))
            seconds = float(line.get("seconds", 0.0))
            self.installed = InstalledVersion(self._library.name, version, python, import_seconds=seconds)
        result = read_result(self.client, output.lines, elapsed, exit_status, output.printed.text)
        end = find_end(output.lines) or {"opened": result.outcome is not Outcome.UNAVAILABLE}
        opened = 1 if end.get("opened") else 0
        return WorkerResult(result, opened, reaped.get("cpu"), reaped.get("orphans", 0), output.printed.text)


def open_worker(spec: ClientSpec, root: Path | None = None) -> Worker:
    """The worker of a configured client, with its own interpreter or the environment installed for it under `root`.

    Raises KeyError if there is no driver for its library.
    """
    library = find_libraries()[spec.library]

    def find() -> str | None:
        python = find_python(spec.name, spec.library, root or default_root())
        return str(python) if python is not None else None

    return Worker(spec.name, library, spec.python or find)
