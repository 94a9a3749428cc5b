"""Is a client usable? List what its interpreter has, then import the library there."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.clients.conflicts import Conflict, find_conflicts, read_packages
from exporter.clients.forkserver import UnusableError
from exporter.clients.libraries import DRIVERS, Library
from exporter.clients.spawn import spawn
from exporter.clients.worker import IMPORT_LIMIT, Worker
from exporter.model import InstalledVersion

LIST_LIMIT = 30.0  # seconds for reading the metadata of some hundred distributions from a cold disk


@dataclass(frozen=True, slots=True)
class ClientCheck:
    """The result of a check. `problem` says why the client cannot be used; a usable one may have conflicts too."""

    client: str
    library: str
    python: str
    installed: InstalledVersion | None
    conflicts: Sequence[Conflict]
    problem: str | None = None

    @property
    def usable(self) -> bool:
        """Its interpreter starts and the library imports."""
        return self.installed is not None


async def check_client(
    client: str, library: Library, python: str, limit: float = IMPORT_LIMIT, list_limit: float = LIST_LIMIT
) -> ClientCheck:
    """List the packages within `list_limit` seconds, then import within `limit` seconds."""
    conflicts = await _find_conflicts(library, python, list_limit)
    worker = Worker(client, library, python, import_limit=limit)
    try:
        installed = await worker.start()
    except UnusableError as error:
        return ClientCheck(client, library.name, python, None, conflicts, str(error))
    finally:
        await worker.stop()
    return ClientCheck(client, library.name, python, installed, conflicts)


async def _find_conflicts(library: Library, python: str, limit: float) -> Sequence[Conflict]:
    command = [python, "-I", str(DRIVERS / "list_packages.py")]
    try:
        output, _, _ = await spawn(command, b"", asyncio.get_running_loop().time() + limit)
        return find_conflicts(read_packages(output.lines[0]), library, python)
    except (UnusableError, LookupError):
        return ()  # the import gives the reason
