"""The workers of all clients: one for each client, shared by the targets, started at first use."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from exporter.clients.forkserver import UnusableError
from exporter.clients.worker import Worker, open_worker
from exporter.model import ClientSpec, InstalledVersion
from exporter.verdict.client_blame import ClientStatus

AT_ONCE = 4  # probes of one client: each is a process

Open = Callable[[ClientSpec], Worker]


class PooledClient:
    """One client with its worker."""

    def __init__(self, spec: ClientSpec, worker: Worker) -> None:
        self.spec = spec
        self.worker = worker
        self.places = asyncio.Semaphore(AT_ONCE)
        self.status: ClientStatus | None = None  # None: not yet tried

    async def ready(self) -> str | None:
        """Import the library; return why that failed, or None."""
        try:
            installed = await self.worker.start()
        except UnusableError as error:
            if self.status is None or self.status.problem != str(error):
                structlog.get_logger(__name__).warning("client unusable", client=self.spec.name, problem=str(error))
            self.status = ClientStatus(self.spec.name, problem=str(error))
            return str(error)
        self.status = ClientStatus(self.spec.name, installed)
        return None

    @property
    def installed(self) -> InstalledVersion | None:
        """The library's version; None before the import."""
        return self.status.installed if self.status is not None else None


class ClientPool:
    """The clients by name."""

    def __init__(self, open_one: Open = open_worker) -> None:
        self._open = open_one
        self._members: dict[str, PooledClient] = {}

    async def configure(self, clients: Mapping[str, ClientSpec]) -> None:
        """Keep exactly these clients. Unchanged ones keep their process."""
        removed = [name for name, member in self._members.items() if clients.get(name) != member.spec]
        await self._stop_clients(removed)
        for name, spec in clients.items():
            if name not in self._members:
                self._members[name] = PooledClient(spec, self._open(spec))

    def member(self, name: str) -> PooledClient | None:
        """The client of this name."""
        return self._members.get(name)

    @property
    def statuses(self) -> tuple[ClientStatus, ...]:
        """The status of every client whose start was tried."""
        return tuple(member.status for member in self._members.values() if member.status is not None)

    async def close(self) -> None:
        """Stop the worker of every client, and with it every process."""
        await self._stop_clients(list(self._members))

    async def _stop_clients(self, names: Sequence[str]) -> None:
        members = [self._members.pop(name) for name in names]
        for result in await asyncio.gather(*(member.worker.stop() for member in members), return_exceptions=True):
            if isinstance(result, Exception):
                with suppress(Exception):
                    structlog.get_logger(__name__).error("worker not stopped in order", exc_info=result)
