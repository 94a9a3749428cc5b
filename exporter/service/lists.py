"""What reads the list of one source, whatever its mechanism."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from exporter.config.target_groups import Entry


@dataclass(frozen=True, slots=True)
class Answer:
    """What one refresh gave. `entries` None: nothing that can be used. `failure` may also be of a part."""

    entries: tuple[Entry, ...] | None
    failure: str | None = None


class Lists(Protocol):
    """The lists of one source."""

    async def read(self) -> Answer:
        """Ask or read now."""
        ...

    async def wait(self, asked: asyncio.Event) -> None:
        """Wait until it is time to read again."""
        ...
