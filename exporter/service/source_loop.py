"""One source of discovered targets: refreshed on its own clock; the last good list stays until there is another."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog

from exporter.config.discovered import Discovered, resolve_entries
from exporter.config.discovery import Source
from exporter.config.target_groups import Entry
from exporter.config.types import TargetRules
from exporter.model import Target
from exporter.service.background import in_background
from exporter.service.lists import Answer, Lists
from exporter.state.discovery import SourceState, failed, succeeded

LOGGED = 20  # problems of one list that are logged; their number is logged too
PAUSE = 5.0  # seconds after a fault of ours
TargetsByKey = Mapping[tuple[str, str], Target]


class SourceLoop:
    """The targets that one source gives, in `targets`, and what is known of it, in `state`.

    `entries` are those of its last good list, `rules` what makes targets of them.
    """

    def __init__(
        self,
        source: Source,
        lists: Lists,
        rules: TargetRules,
        refreshed: Callable[[bool], Awaitable[None]],
        pause: float = PAUSE,
    ) -> None:
        """`refreshed` is awaited after each refresh; its argument says whether the targets have changed.

        `pause` seconds follow where that fails.
        """
        mechanism = source.name.partition("_")[0]
        self.source = source
        self.targets: TargetsByKey = {}
        self.state = SourceState(mechanism, source.name, source.where)
        self._lists = lists
        self.rules = rules
        self._refreshed = refreshed
        self._pause = pause
        self.entries: tuple[Entry, ...] = ()
        self._resolved = Discovered({})
        self._asked = asyncio.Event()
        self._log = structlog.get_logger(__name__)

    async def run(self) -> None:
        """Read the source's lists again and again until cancelled, and report each change of its targets."""
        changed = False
        while True:
            try:
                changed = await self.refresh() or changed
                await self._refreshed(changed)
                changed = False
                await self._lists.wait(self._asked)
            except Exception:  # noqa: BLE001 - ours; the next list is to be read, and what has changed to be put in force
                self._log.exception("discovery failed", config=self.source.name)
                await asyncio.sleep(self._pause)
            self._asked.clear()

    def refresh_soon(self) -> None:
        """Refresh as soon as possible, whatever the interval."""
        self._asked.set()

    def rename(self, source: Source) -> None:
        """The same source has another place in the configuration."""
        self.source = source
        self.state = replace(self.state, config=source.name)

    async def inherit(self, former: "SourceLoop | None") -> None:
        """Begin with the last good list of a loop that this one replaces, read by our own rules."""
        if former is not None:
            self.entries = former.entries
            before = former.targets if former.rules == self.rules else {}
            self._adopt(await self._resolve(self.entries, before))

    async def use(self, rules: TargetRules) -> None:
        """Read the last good list by these rules from now on: an entry that they refuse is not kept.

        Where that fails, the former rules stay, so that the next call does not take it for done.
        """
        if rules != self.rules:
            former, self.rules = self.rules, rules
            try:
                while True:
                    entries = self.entries
                    resolved = await self._resolve(entries, {})
                    if entries is self.entries:  # else a refresh has brought others meanwhile
                        break
            except BaseException:
                self.rules = former
                raise
            self._adopt(resolved)

    async def refresh(self) -> bool:
        """Read the list now; returns whether the targets have changed."""
        at, began = time.time(), time.perf_counter()
        before = self.targets
        failure = await self._read()
        seconds = time.perf_counter() - began
        self._log_failure(failure)
        self.state = succeeded(self.state, at, seconds) if failure is None else failed(self.state, at, seconds, failure)
        return self.targets is not before

    async def _read(self) -> str | None:
        """Read and adopt the list; returns why that failed."""
        try:
            answer = await self._lists.read()
            return await self._use_answer(answer)
        except Exception:  # noqa: BLE001 - ours, and no reason to lose the targets or the loop
            self._log.exception("discovery failed", config=self.source.name)
            return "a fault of the exporter, which its log shows"

    async def _use_answer(self, answer: Answer) -> str | None:
        entries = answer.entries
        if entries is None or (entries == self.entries and self.state.succeeded_at is not None):
            return answer.failure
        rules = self.rules
        resolved = await self._resolve(entries, self.targets)
        if rules is not self.rules:  # a reload came meanwhile
            resolved = await self._resolve(entries, self.targets)
        if entries and not resolved.targets:
            return f"none of the {len(entries)} targets of the list can be used: {resolved.problems[0]}"
        self.entries = entries
        self._adopt(resolved)
        return answer.failure

    async def _resolve(self, entries: tuple[Entry, ...], before: TargetsByKey) -> Discovered:
        rules = self.rules
        return await in_background(lambda: resolve_entries(entries, rules, before), f"resolve {self.source.name}")

    def _adopt(self, resolved: Discovered) -> None:
        if resolved.problems and resolved.problems != self._resolved.problems:
            texts = [str(problem) for problem in resolved.problems[:LOGGED]]
            self._log.warning(
                "discovered entries or labels are left out",
                config=self.source.name,
                left_out=resolved.rejected,
                problems=texts,
                number=len(resolved.problems),
            )
        self._resolved = resolved
        if resolved.targets != self.targets:
            self.targets = resolved.targets

    def _log_failure(self, failure: str | None) -> None:
        """Log a failure when it begins or is another one, and its end."""
        if failure == self.state.failure:
            return
        if failure is None:
            self._log.info("discovery works again", config=self.source.name, targets=len(self.targets))
        else:
            self._log.warning(
                "discovery failed, the last good list is kept",
                config=self.source.name,
                where=self.source.where,
                problem=failure,
                targets=len(self.targets),
            )

    @property
    def left_out(self) -> Discovered:
        """What is left out of the last good list."""
        return self._resolved
