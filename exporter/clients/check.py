"""Is a client usable? Look at what its interpreter has, then import the library there for real."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.clients.conflicts import Conflict, find_conflicts, read_look
from exporter.clients.forkserver import Imported, UnusableError, environment
from exporter.clients.libraries import DRIVERS, Library
from exporter.clients.worker import IMPORT_LIMIT, Worker

LOOK_LIMIT = 30.0  # seconds for reading the metadata of some hundred distributions from a cold disk


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found out about a client. `problem` says why it cannot be used; there may be conflicts all the same."""

    client: str
    library: str
    python: str
    installed: Imported | None
    conflicts: Sequence[Conflict]
    problem: str | None = None

    @property
    def usable(self) -> bool:
        """Its interpreter starts and the library imports."""
        return self.installed is not None


async def check_client(client: str, library: Library, python: str, limit: float = IMPORT_LIMIT) -> Checked:
    """Look, then import; `limit` in seconds for the import."""
    conflicts = await _look(library, python)
    worker = Worker(client, library, python, import_limit=limit)
    try:
        installed = await worker.start()
    except UnusableError as error:
        return Checked(client, library.name, python, None, conflicts, str(error))
    finally:
        await worker.stop()
    return Checked(client, library.name, python, installed, conflicts)


async def _look(library: Library, python: str) -> Sequence[Conflict]:
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
        return ()  # the import will say it better
    try:
        async with asyncio.timeout(LOOK_LIMIT):
            said, _ = await process.communicate()
        return find_conflicts(read_look(json.loads(said)), library, python)
    except (TimeoutError, ValueError, KeyError):
        return ()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
