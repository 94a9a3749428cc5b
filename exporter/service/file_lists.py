"""Lists of targets in files, read again when they change: what Prometheus calls file_sd."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.config.checks import InvalidValue
from exporter.config.discovery import FileSource
from exporter.config.errors import shortened
from exporter.config.list_files import MOST_FILES, TOO_MANY, list_files, read_list
from exporter.config.stamps import Stamp, stamps
from exporter.service.background import in_background
from exporter.service.bounded import LONGEST, BoundedCall
from exporter.service.lists import Answer

if TYPE_CHECKING:
    from exporter.config.target_groups import Entry

POLL = 2.0  # seconds between two looks at the files


class FileLists:
    """The files of one source. What a file last held counts until it can be read again, or is gone."""

    def __init__(self, source: FileSource, poll: float = POLL, timeout: float = LONGEST) -> None:
        self._source = source
        self._poll = poll
        self._read_bounded = BoundedCall(self._read, f"read {source.name}", timeout, in_background)
        self._look_bounded = BoundedCall(self._look, f"look at {source.name}", timeout)
        self._hangs = False
        self._used: Mapping[Path, Stamp] = {}
        self._good: dict[Path, tuple[Entry, ...]] = {}

    async def read(self) -> Answer:
        """Read every file now."""
        try:
            answer = await self._read_bounded()
        except TimeoutError:
            self._hangs = True
            return Answer(None, f"{self._source.where} cannot be read within {self._read_bounded.seconds:g} seconds")
        self._hangs = False
        return answer

    async def wait(self, asked: asyncio.Event) -> None:
        """Wait until a file has changed and stays so, hangs or no longer does, the interval is over, or `asked`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._source.refresh_interval
        seen = self._used
        while (left := end - loop.time()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), min(self._poll, left))
                return
            if self._hangs:
                if not self._read_bounded.under_way:
                    return
                continue
            try:
                now = await self._look_bounded()
            except TimeoutError:
                return  # the read says so
            settled, seen = now == seen, now
            if settled and now != self._used:
                return

    def _look(self) -> Mapping[Path, Stamp]:
        return stamps(list_files(self._source))

    def _read(self) -> Answer:
        self._used = self._look()
        if len(self._used) > MOST_FILES:
            return Answer(None, TOO_MANY)
        if not any(self._used.values()):
            return Answer(None, f"there is no file {self._source.where}")
        failures = []
        good: dict[Path, tuple[Entry, ...]] = {}
        for path in self._used:
            try:
                good[path] = read_list(path)
            except InvalidValue as fault:
                failures.append(f"{path}: {shortened(str(fault))}")
                good[path] = self._good.get(path, ())
        self._good = good
        return Answer(tuple(entry for entries in good.values() for entry in entries), "; ".join(failures) or None)
