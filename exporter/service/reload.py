"""The configuration in force, and how another one takes its place: all of it, or nothing.

Its files may be on a network's file system that hangs. Then a reload is refused after half a minute, and the files are
read again once they can be; nothing else waits for them.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from exporter.config import Config, ConfigError, Problem
from exporter.config.merge_targets import merge_targets
from exporter.config.stamps import Stamp, stamps
from exporter.service.background import in_background
from exporter.service.bounded import LONGEST, BoundedCall
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

    def __init__(
        self,
        service: Service,
        load: Load,
        shares: FileBudget,
        config: Config,
        *,
        limit: float = LONGEST,
        look: Callable[[Iterable[Path]], Mapping[Path, Stamp]] = stamps,
    ) -> None:
        """Begin with `config`, which `load` gave. The files may take `limit` seconds to be read or looked at."""
        self.config = config
        self._service = service
        self._load = load
        self._look = look
        self._shares = shares
        self._written = config  # without the discovered targets
        self._lock = asyncio.Lock()  # what is in force changes
        self._reading = asyncio.Lock()  # one reload at a time, or the older could come into force after the newer
        self._read_bounded = BoundedCall(self._read, "read the configuration", limit, in_background)
        self._look_bounded = BoundedCall(lambda: look(list(self._files)), "look at the configuration", limit)
        self._hangs = False
        self._closed = False
        self._next: asyncio.Task[list[str]] | None = None
        self._reloads: set[asyncio.Task[list[str]]] = set()
        self._files = self._seen = config.files
        self._discovery = Discovery(self._on_refresh)
        self._left_out: Mapping[str, tuple[str, ...]] = {}

    async def apply(self, config: Config) -> None:
        """Watch the targets of the configuration, and those that are discovered, from now on."""
        async with self._lock:
            await self._apply(config)

    async def close(self) -> None:
        """End what reads the configuration, and what discovers targets. A reload under way changes nothing any more."""
        self._closed = True
        reloads = list(self._reloads)
        for reload in reloads:
            reload.cancel()
        await asyncio.gather(*reloads, return_exceptions=True)
        await self._discovery.close()

    async def _apply(self, config: Config) -> None:
        await self._discovery.configure(config.sources, config.rules)
        self._written = config
        await self._watch_all(end_suspensions=True)

    async def _watch_all(self, *, end_suspensions: bool) -> None:
        """Watch what is written and what is discovered."""
        written, discovered, before = self._written, self._discovery.targets, self.config.targets
        merged = await in_background(lambda: merge_targets(written.targets, discovered, before), "merge the targets")
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
        if self._closed:
            return
        if not changed:
            self._service.discovered(self._discovery.states(self._left_out))
            return
        async with self._lock:
            before = len(self.config.targets)
            await self._watch_all(end_suspensions=False)
            log = structlog.get_logger(__name__)
            log.info("discovered targets have changed", targets=len(self.config.targets), before=before)

    async def __call__(self) -> list[str]:
        """Give the problems of a configuration that is refused; none if the new one is in force.

        All who ask before it is begun to be read share one reload: while the files hang, no queue grows.
        """
        if self._closed:
            return ["the exporter ends"]
        if self._next is None:
            self._next = asyncio.create_task(self._reload(), name="reload")
            self._reloads.add(self._next)
            self._next.add_done_callback(self._reloads.discard)
        shared = self._next
        await asyncio.wait([shared])
        return ["the exporter ends"] if shared.cancelled() else shared.result()

    async def _reload(self) -> list[str]:
        async with self._reading:
            self._next = None
            try:
                before, read = await self._read_bounded()
            except TimeoutError:
                return self._refuse_hanging()
            self._hangs = False
            if isinstance(read, ConfigError):
                self._files = {**before, **read.files}
                return self._refuse([str(problem) for problem in read.problems])
            if isinstance(read, Exception):
                self._files = before
                self._service.reloaded(None)
                raise read
            self._files = read.files
            async with self._lock:
                try:
                    await self._apply(read)
                except Exception:
                    self._read_again()
                    self._service.reloaded(None)
                    raise
                self._service.reloaded(time.time())
            log = structlog.get_logger(__name__)
            log.info("configuration reloaded", targets=len(self.config.targets))
            return []

    def _read(self) -> tuple[Mapping[Path, Stamp], Config | Exception]:
        """The files' stamps, and what is in them. In a thread."""
        before = self._look(list(self._files))
        try:
            return before, self._load()
        except Exception as error:  # noqa: BLE001 - raised again, once what was looked at is known
            return before, error

    def _refuse(self, problems: list[str], *, logged: bool = False) -> list[str]:
        self._service.reloaded(None)
        if not logged:
            log = structlog.get_logger(__name__)
            log.error("configuration refused, the running one is kept", problems=problems)
        return problems

    def _refuse_hanging(self) -> list[str]:
        """Have them read once they can be. Logged once, however long they hang."""
        logged, self._hangs = self._hangs, True
        self._read_again()
        message = f"this file, or one that it names, cannot be read within {self._read_bounded.seconds:g} seconds"
        remedy = "See whether its file system hangs. It is read again as soon as it can be"
        return self._refuse([str(Problem(self.config.source, None, None, "", message, remedy))], logged=logged)

    def _read_again(self) -> None:
        """As if the files had changed: they are read after the next looks."""
        self._files = dict.fromkeys(self._files)

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
        if not self._files:
            return
        try:
            now = await self._look_bounded()
        except TimeoutError:
            if not self._hangs:
                self._refuse_hanging()
            return
        settled, self._seen = now == self._seen, now
        if settled and now != self._files:
            await self()


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
