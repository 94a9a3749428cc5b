"""The sources of discovered targets: each has a loop of its own (source_loop.py); a reload says which there are."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from exporter.config.discovery import FileSource, Source
from exporter.config.types import TargetRules
from exporter.model import Target
from exporter.service.file_lists import FileLists
from exporter.service.http_lists import HttpLists
from exporter.service.lists import Lists
from exporter.service.source_loop import SourceLoop
from exporter.state.discovery import SourceState

SHOWN = 20  # problems of one source that are kept


class Discovery:
    """Follows the sources that are configured. `close` ends it."""

    def __init__(
        self, refreshed: Callable[[bool], Awaitable[None]], lists: Callable[[Source], Lists] | None = None
    ) -> None:
        """`refreshed` is awaited after each refresh of a source; its argument says whether targets have changed."""
        self._refreshed = refreshed
        self._lists = lists or lists_of
        self._loops: dict[SourceLoop, asyncio.Task[None]] = {}

    async def configure(self, sources: Iterable[Source], rules: TargetRules) -> None:
        """Follow exactly these sources. One that is unchanged keeps its last good list, and is refreshed soon.

        One that is changed has the list of the former one until it is refreshed: its targets keep their history.
        """
        wanted = list(sources)
        kept: list[SourceLoop | None] = []
        for source in wanted:
            kept.append(next((loop for loop in self._loops if loop.source == source and loop not in kept), None))
        ended = [loop for loop in self._loops if loop not in kept]
        former = _former([source for source, same in zip(wanted, kept, strict=True) if same is None], ended)
        loops: list[SourceLoop] = []
        for source, same in zip(wanted, kept, strict=True):
            if same is None:
                loops.append(SourceLoop(source, self._lists(source), rules, self._refreshed))
                await loops[-1].inherit(former.get(source.name))
            else:
                loops.append(same)
                await same.use(rules)
        tasks = [self._loops[loop] for loop in ended]
        # Nothing is awaited between these lines: what begins is known to `close`, also where the above does not end.
        self._loops = {loop: self._follow(loop, source) for loop, source in zip(loops, wanted, strict=True)}
        await _end(tasks)

    def _follow(self, loop: SourceLoop, source: Source) -> asyncio.Task[None]:
        """The task of a loop: it begins, or goes on with the place that its source has now."""
        if loop not in self._loops:
            return asyncio.create_task(loop.run(), name=f"discovery {source.name}")
        loop.rename(source)
        loop.refresh_soon()
        return self._loops[loop]

    async def close(self) -> None:
        """Cancel the refreshes of all sources and wait for their ends."""
        loops, self._loops = self._loops, {}
        await _end(loops.values())

    @property
    def targets(self) -> Mapping[str, Iterable[Target]]:
        """The targets of the last good list of each source, by the source's place in the configuration."""
        return {loop.source.name: tuple(loop.targets.values()) for loop in self._loops}

    def states(self, left_out: Mapping[str, tuple[str, ...]]) -> tuple[SourceState, ...]:
        """What is known of each source; `left_out` are those of its targets that clash with others."""
        return tuple(_with_problems(loop, left_out.get(loop.source.name, ())) for loop in self._loops)


def _former(sources: Iterable[Source], loops: Iterable[SourceLoop]) -> dict[str, SourceLoop]:
    """The loop of which each source is a change, by the source's name: of the same files or URL, or in the same place.

    No loop is that of two sources, and its list says more than its place.
    """
    left = list(loops)
    found: dict[str, SourceLoop] = {}
    for part in (_list_of, _place_of):
        for source in sources:
            same = next((loop for loop in left if part(loop.source) == part(source)), None)
            if same is not None and source.name not in found:
                found[source.name] = same
                left.remove(same)
    return found


def _list_of(source: Source) -> object:
    return source.patterns if isinstance(source, FileSource) else source.url


def _place_of(source: Source) -> object:
    return source.name


def _with_problems(loop: SourceLoop, clashes: tuple[str, ...]) -> SourceState:
    resolved = loop.left_out
    texts = [*map(str, resolved.problems[:SHOWN]), *clashes[:SHOWN]]
    return replace(
        loop.state,
        targets=len(resolved.targets) - len(clashes),
        rejected=resolved.rejected + len(clashes),
        problems=tuple(texts[:SHOWN]),
    )


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def lists_of(source: Source) -> Lists:
    """What reads the lists of a source."""
    return FileLists(source) if isinstance(source, FileSource) else HttpLists(source)
