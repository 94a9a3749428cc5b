"""Install environments with a bar for each: how much is on the disk, of how much, and the elapsed time."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from exporter.cli.marks import bad, good
from exporter.clients.environments import find_environment
from exporter.clients.install import MEGABYTE, InstallError, find_uv, install, installed_bytes
from exporter.clients.libraries import Recipe

POLL = 0.5  # seconds between two looks at the disk


def install_environments(recipes: Sequence[Recipe], root: Path, console: Console) -> list[str]:
    """Install each environment and return the names of those that failed.

    Steps and results are lines; the bars show on a terminal only.
    """
    columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    failed = []
    for number, recipe in enumerate(recipes, 1):
        console.print(Text(f"[{number}/{len(recipes)}] {recipe.name}, {recipe.megabytes} MB", "bold"))
        if recipe.terms:
            console.print(Text(f"  Licence: {recipe.terms}", "dim"))
        started = time.monotonic()
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            error = _install(recipe, root, progress, console)
        if error is None:
            took = f"{time.monotonic() - started:.0f} s"
            console.print(Text(f"  {good(console)} ready in {took}: {root / recipe.name}", "green"), soft_wrap=True)
        else:
            failed.append(recipe.name)
            console.print(Text(f"  {bad(console)} {error}", "red"), soft_wrap=True)
            console.print(Text(f"    Remedy: {error.remedy}"), soft_wrap=True)
    return failed


def _install(recipe: Recipe, root: Path, progress: Progress, console: Console) -> InstallError | None:
    task = progress.add_task(recipe.name, total=recipe.megabytes * MEGABYTE)
    done = threading.Event()
    poll = threading.Thread(target=_poll, args=(recipe, root, progress, task, done), daemon=True)
    poll.start()
    try:
        install(recipe, root, lambda step: console.print(Text(f"  {step}"), soft_wrap=True), find_uv())
    except InstallError as error:
        return error
    finally:
        done.set()
        poll.join()
    return None


def _poll(recipe: Recipe, root: Path, progress: Progress, task: TaskID, done: threading.Event) -> None:
    while not done.wait(POLL):
        progress.update(task, completed=installed_bytes(find_environment(recipe, root)))
