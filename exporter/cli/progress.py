"""What `diagnose` shows while it runs: the wire's verdict at once, then the libraries as they come.

On a terminal, a table that is drawn again as it fills and that the report replaces at the end. Elsewhere, a line for
each result on standard error, so that standard output holds the report alone.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from exporter.cli.diagnose import Progress, Show
from exporter.cli.report import COLOURS, line_of, rows_of, table_of
from exporter.model import Target
from exporter.text import joined
from exporter.verdict.explanation import headline
from exporter.verdict.rules import judge, severity

REFRESH = 4  # times a second


@contextmanager
def progress_of(target: Target) -> Iterator[Show]:
    """Show the progress of a diagnosis while the context lasts."""
    console = Console()
    if not console.is_terminal:
        console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(console, target).show
        return
    table = LiveTable(target)
    with Live(table, console=console, refresh_per_second=REFRESH, transient=True):
        yield table.show


class LiveTable:
    """The progress as a table; rich draws it several times a second."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._progress: Progress | None = None
        self._since = time.monotonic()

    def show(self, progress: Progress) -> None:
        """Show this progress from now on."""
        self._progress, self._since = progress, time.monotonic()

    def __rich__(self) -> Group | Text:
        """Return the table; rich calls this for each refresh."""
        lasted = f"{time.monotonic() - self._since:.0f} s"
        if self._progress is None:
            return Text(f"probing {self._target.endpoint}, {lasted}")
        rows = rows_of(result for result in self._progress.report.results if _done(self._progress, result.client))
        pending = Text(f"{remaining(self._progress)} ({lasted})", "dim")
        return Group(table_of(rows), verdict_so_far(self._progress, self._target), pending)


class Lines:
    """The progress as lines, each printed once."""

    def __init__(self, console: Console, target: Target) -> None:
        self._console = console
        self._target = target
        self._printed: set[str] = set()

    def show(self, progress: Progress) -> None:
        """Print what is new: the wire, the account download, each with its verdict, each library, and what is next."""
        first, wire = not self._printed, False
        for result in progress.report.results:
            name = result.client or result.layer.value
            if name not in self._printed and _done(progress, result.client):
                self._print(line_of(rows_of([result])[0]))
                self._printed.add(name)
                wire = wire or result.client is None
        if wire:
            self._print(verdict_so_far(progress, self._target))
        if first or progress.running is not None:
            self._print(Text(remaining(progress)))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


def verdict_so_far(progress: Progress, target: Target) -> Text:
    """Return the verdict of what has been probed."""
    verdict = judge(progress.report, target)
    words = (f"{verdict.value}", f"bold {COLOURS[severity(verdict)]}")
    return Text.assemble(("So far: ", "bold"), words, f"  {headline(progress.report, target, verdict)}")


def remaining(progress: Progress) -> str:
    """Return which client is being probed, and which are still to come."""
    return joined(
        f"probing {progress.running}" if progress.running else "",
        f"importing {', '.join(progress.importing)}" if progress.importing else "",
        f"then {', '.join(progress.waiting)}" if progress.waiting else "",
    )


def _done(progress: Progress, client: str | None) -> bool:
    return client is None or client not in (progress.running, *progress.importing, *progress.waiting)
