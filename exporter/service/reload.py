"""The configuration in force, and how another one takes its place: all of it, or nothing."""

import asyncio
import time
from collections.abc import Callable

import structlog

from exporter.config import Config, ConfigError
from exporter.service.open_files import FileBudget, limit_watches, warn_if_scarce
from exporter.service.service import Service

Load = Callable[[], Config]


class Reloader:
    """The configuration in force, in `config`; a call reads it again and puts all of it in force, or nothing."""

    def __init__(self, service: Service, load: Load, shares: FileBudget, config: Config) -> None:
        self.config = config
        self._service = service
        self._load = load
        self._shares = shares
        self._lock = asyncio.Lock()

    async def apply(self, config: Config) -> None:
        """Watch the targets of the configuration."""
        targets = limit_watches(config.targets, self._shares.watches)
        await self._service.apply(targets, config.clients, config.not_installed)
        self.config = config

    async def __call__(self) -> list[str]:
        """Give the problems of a configuration that is refused; none if the new one is in force."""
        log = structlog.get_logger(__name__)
        async with self._lock:  # two at once would leave the targets of the one with the settings of the other
            try:
                config = self._load()
            except ConfigError as error:
                self._service.reloaded(None)
                problems = [str(problem) for problem in error.problems]
                log.error("configuration refused, the running one is kept", problems=problems)  # noqa: TRY400 - no fault of ours
                return problems
            if len(config.targets) != len(self.config.targets):
                warn_if_scarce(self._shares, config.targets)
            await self.apply(config)
            self._service.reloaded(time.time())
            log.info("configuration reloaded", targets=len(config.targets))
            return []
