"""The configuration in force, and how another one takes its place: all of it, or nothing."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from exporter.config import Config, ConfigError
from exporter.config.merge_targets import merge_targets
from exporter.config.stamps import Stamp, stamps
from exporter.probes.threads import in_daemon_thread
from exporter.service.background import in_background
from exporter.service.discovery import Discovery
from exporter.service.open_files import FileBudget, limit_watches, warn_if_scarce
from exporter.service.service import Service

Load = Callable[[], Config]

POLL = 2.0  # seconds between two looks at the files
LOGGED = 20  # targets of one source that are logged; their number is logged too


class Reloader:
    """The configuration in force, in `config`, with the discovered targets; a call reads it again.

    All of what is read is put in force, or nothing.
    """

    def __init__(self, service: Service, load: Load, shares: FileBudget, config: Config) -> None:
        """Begin with `config`, which `load` gave."""
        self.config = config
        self._service = service
        self._load = load
        self._shares = shares
        self._written = config  # without the discovered targets
        self._lock = asyncio.Lock()
        self._files = self._seen = config.files
        self._discovery = Discovery(self._on_refresh)
        self._left_out: Mapping[str, tuple[str, ...]] = {}

    async def apply(self, config: Config) -> None:
        """Watch the targets of the configuration, and those that are discovered, from now on."""
        async with self._lock:
            await self._apply(config)

    async def close(self) -> None:
        """End what discovers targets."""
        await self._discovery.close()

    async def _apply(self, config: Config) -> None:
        await self._discovery.configure(config.sources, config.rules)
        self._written = config
        await self._watch_all(end_suspensions=True)

    async def _watch_all(self, *, end_suspensions: bool) -> None:
        """Watch what is written and what is discovered."""
        written, found, before = self._written, self._discovery.found, self.config.targets
        merged = await in_background(lambda: merge_targets(written.targets, found, before), "merge the targets")
        if len(merged.targets) != len(before):
            warn_if_scarce(self._shares, merged.targets)
        targets = limit_watches(merged.targets, self._shares.watches)
        await self._service.apply(targets, written.clients, written.not_installed, end_suspensions=end_suspensions)
        self.config = replace(written, targets=merged.targets)
        _log_clashes(merged.left_out, self._left_out)
        self._left_out = merged.left_out
        self._service.discovered(self._discovery.states(merged.left_out))

    async def _on_refresh(self, changed: bool) -> None:  # noqa: FBT001 - called by position
        """A source of targets was asked or read."""
        if not changed:
            self._service.discovered(self._discovery.states(self._left_out))
            return
        async with self._lock:
            before = len(self.config.targets)
            await self._watch_all(end_suspensions=False)
            log = structlog.get_logger(__name__)
            log.info("discovered targets have changed", targets=len(self.config.targets), before=before)

    async def __call__(self) -> list[str]:
        """Give the problems of a configuration that is refused; none if the new one is in force."""
        log = structlog.get_logger(__name__)
        async with self._lock:  # two reloads at once could mix the targets of one with the settings of the other
            before = self._files = await self._stamps()
            try:
                config = await in_background(self._load, "read the configuration")
            except ConfigError as error:
                self._service.reloaded(None)
                self._files = {**before, **error.files}
                problems = [str(problem) for problem in error.problems]
                log.error("configuration refused, the running one is kept", problems=problems)  # noqa: TRY400 - no fault of ours
                return problems
            self._files = config.files
            await self._apply(config)
            self._service.reloaded(time.time())
            log.info("configuration reloaded", targets=len(self.config.targets))
            return []

    async def follow(self, poll: float = POLL) -> None:
        """Look at the files every `poll` seconds, and reload when one has changed. Runs until cancelled."""
        while True:
            await asyncio.sleep(poll)
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - ours; the next change is to be followed all the same
                structlog.get_logger(__name__).exception("reload failed")

    async def look(self) -> None:
        """Reload if a file has changed, and looks as it did at the last look: one that is being written is not read."""
        now = await self._stamps()
        settled, self._seen = now == self._seen, now
        if settled and now != self._files:
            await self()

    async def _stamps(self) -> Mapping[Path, Stamp]:
        files = list(self._files)
        return await in_daemon_thread(lambda: stamps(files), "look at the configuration") if files else {}


def _log_clashes(clashes: Mapping[str, tuple[str, ...]], before: Mapping[str, tuple[str, ...]]) -> None:
    """Log the targets of each source that cannot be had because of others, where they are not those of `before`."""
    for source, texts in clashes.items():
        if texts != before.get(source):
            structlog.get_logger(__name__).warning(
                "discovered targets are left out: others have their name or client ids",
                config=source,
                problems=list(texts[:LOGGED]),
                number=len(texts),
            )
