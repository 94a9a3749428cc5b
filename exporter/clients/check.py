"""Is a client usable? List what its interpreter has, then import the library there."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.clients.conflicts import Conflict, find_conflicts, read_packages
from exporter.clients.forkserver import UnusableError, environment
from exporter.clients.libraries import DRIVERS, Library
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


async def check_client(client: str, library: Library, python: str, limit: float = IMPORT_LIMIT) -> ClientCheck:
    """List the packages, then import; `limit` is the seconds for the import."""
    conflicts = await _find_conflicts(library, python)
    worker = Worker(client, library, python, import_limit=limit)
    try:
        installed = await worker.start()
    except UnusableError as error:
        return ClientCheck(client, library.name, python, None, conflicts, str(error))
    finally:
        await worker.stop()
    return ClientCheck(client, library.name, python, installed, conflicts)


async def _find_conflicts(library: Library, python: str) -> Sequence[Conflict]:
    try:
        process = await asyncio.create_subprocess_exec(
            python,
            "-I",
            str(DRIVERS / "list_packages.py"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment(),
        )
    except OSError:
        return ()  # the import gives the reason
    try:
        async with asyncio.timeout(LIST_LIMIT):
            output, _ = await process.communicate()
        return find_conflicts(read_packages(json.loads(output)), library, python)
    except (TimeoutError, ValueError, KeyError):
        return ()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
