"""Lists of targets in files, read again when they change: what Prometheus calls file_sd."""

import asyncio
import glob
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from exporter.config.checks import InvalidValue
from exporter.config.discovery import FileSource
from exporter.config.errors import shortened
from exporter.config.stamps import Stamp, stamps
from exporter.config.target_groups import LARGEST, Entry, parse_list
from exporter.config.value_files import open_failure
from exporter.probes.threads import in_daemon_thread
from exporter.service.background import in_background
from exporter.service.lists import Answer

POLL = 2.0  # seconds between two looks at the files
TIMEOUT = 30.0  # seconds for all files; those of a network may hang
MOST_FILES = 1000
PIPE = "this is no regular file", "Write the list into a file"


class FileLists:
    """The files of one source. What a file last held counts until it can be read again, or is gone."""

    def __init__(self, source: FileSource, poll: float = POLL, timeout: float = TIMEOUT) -> None:
        self._source = source
        self._poll = poll
        self._timeout = timeout
        self._reading: asyncio.Task[Answer] | None = None  # under way; a hanging file costs one thread
        self._used: Mapping[Path, Stamp] = {}
        self._good: dict[Path, tuple[Entry, ...]] = {}

    async def read(self) -> Answer:
        """Read every file now."""
        if self._reading is None:
            self._reading = asyncio.create_task(in_background(self._read, f"read {self._source.name}"))
        reading = self._reading
        try:
            async with asyncio.timeout(self._timeout):
                answer = await asyncio.shield(reading)
        except TimeoutError:
            return Answer(None, f"{self._source.where} cannot be read within {self._timeout:g} seconds")
        finally:
            if reading.done():
                self._reading = None
        return answer

    async def wait(self, asked: asyncio.Event) -> None:
        """Wait until a file has changed and stays so, until the interval is over, or until `asked`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._source.refresh_interval
        seen = self._used
        while (left := end - loop.time()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), min(self._poll, left))
                return
            if self._reading is not None:
                continue
            now = await in_daemon_thread(self._look, f"look at {self._source.name}")
            settled, seen = now == seen, now
            if settled and now != self._used:
                return

    def _look(self) -> Mapping[Path, Stamp]:
        paths = {path for pattern in self._source.patterns for path in _matching(Path(pattern))}
        paths |= {Path(pattern) for pattern in self._source.patterns if "*" not in Path(pattern).name}
        return stamps(sorted(paths)[: MOST_FILES + 1])

    def _read(self) -> Answer:
        self._used = self._look()
        if len(self._used) > MOST_FILES:
            return Answer(None, f"more than {MOST_FILES} files have names of this pattern")
        if not any(self._used.values()):
            return Answer(None, f"there is no file {self._source.where}")
        failures = []
        good: dict[Path, tuple[Entry, ...]] = {}
        for path in self._used:
            try:
                good[path] = _read_list(path)
            except InvalidValue as fault:
                failures.append(f"{path}: {shortened(str(fault))}")
                good[path] = self._good.get(path, ())
        self._good = good
        return Answer(tuple(entry for entries in good.values() for entry in entries), "; ".join(failures) or None)


def _matching(pattern: Path) -> list[Path]:
    """The files of the pattern's directory, whose own name is no pattern, that match its last part."""
    return [Path(path) for path in glob.glob(f"{glob.escape(str(pattern.parent))}/{pattern.name}")]  # noqa: PTH207 - a pattern


def _read_list(path: Path) -> tuple[Entry, ...]:
    if path.exists() and not (path.is_file() or path.is_dir()):  # to open a pipe waits for its writer
        raise InvalidValue(*PIPE)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise InvalidValue(*open_failure(error, "Write the file, or leave it out of the patterns")) from None
    return parse_list(raw, str(path), is_json=path.suffix.lower() == ".json")
