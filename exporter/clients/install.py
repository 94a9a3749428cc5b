"""Make an environment: find a Python, make a virtual environment, fill it from the pins. Uses uv where it is at hand.

It may be stopped at any moment and started again: what pip or uv has downloaded is in its cache,
and an environment without its mark is made anew. To go on with it would be to trust what stands there: pip and uv take
a package for installed whose metadata is there, whatever is missing of the rest.
"""

import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.clients.environments import MARK, Environment, State, find_environment, mark_ready
from exporter.clients.interpreters import WITH_VENV, Interpreter, ask_version, find_interpreter
from exporter.clients.libraries import Recipe, version_text

MEGABYTE = 1_000_000
ROOM = 1.5  # times the size: the wheels are unpacked beside their downloads
KEPT_LINES = 15

Tell = Callable[[str], object]


class InstallError(Exception):
    """An environment could not be made. The text says why; `remedy` what to do."""

    def __init__(self, text: str, remedy: str) -> None:
        """Keep the remedy beside the text."""
        super().__init__(text)
        self.remedy = remedy


def install(recipe: Recipe, root: Path, tell: Tell, uv: str | None = None) -> Environment:
    """Make one environment ready and return it. `tell` gets a line for each step and for what pip or uv says.

    `uv` is its path; None uses venv and pip. Raises InstallError.
    """
    environment = find_environment(recipe, root)
    if environment.state is State.READY:
        tell(f"{recipe.name}: ready already")
        return environment
    if recipe.terms:
        tell(f"{recipe.name}: {recipe.terms}")
    check_room(recipe, root)
    outdated = environment.state is State.OUTDATED and ask_version(str(environment.python), "sys" if uv else "pip")
    (environment.path / MARK).unlink(missing_ok=True)
    if outdated:
        tell(f"{recipe.name}: an environment is there, {environment.state}; going on with it")
    else:
        _make(recipe, environment, tell, uv)
    tell(f"{recipe.name}: installing {len(recipe.pins)} packages, {recipe.megabytes} MB")
    python = str(environment.python)
    if uv:
        command = [uv, "pip", "sync", "--python", python, str(recipe.requirements)]
    else:
        command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", "--no-deps"]
        command += ["-r", str(recipe.requirements)]
    _run(command, recipe, tell)
    mark_ready(environment)
    tell(f"{recipe.name}: ready in {environment.path}")
    return find_environment(recipe, root)


def find_uv() -> str | None:
    """uv, if it is at hand."""
    return shutil.which("uv")


def check_room(recipe: Recipe, root: Path) -> None:
    """Raise InstallError if the disk is too full for it."""
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    free, needed = shutil.disk_usage(place).free, recipe.megabytes * MEGABYTE * ROOM
    if free < needed:
        msg = f"{recipe.name} needs {needed / MEGABYTE:.0f} MB, and {place} has {free / MEGABYTE:.0f} MB"
        raise InstallError(msg, "make room, or set IBKR_EXPORTER_CLIENTS_DIR to a place on another disk")


def _make(recipe: Recipe, environment: Environment, tell: Tell, uv: str | None) -> None:
    """An empty virtual environment."""
    if environment.path.exists():
        tell(f"{recipe.name}: removing what is left of {environment.path}")
        shutil.rmtree(environment.path)
    python = find_interpreter(recipe.pythons, "ssl" if uv else WITH_VENV)
    tell(f"{recipe.name}: {_describe(python) if python else 'no fitting Python here'}")
    environment.path.parent.mkdir(parents=True, exist_ok=True)
    if uv:  # it may fetch a Python itself where it has the internet
        wanted = str(python.path) if python else version_text(recipe.pythons[0])
        _run([uv, "venv", "--python", wanted, str(environment.path)], recipe, tell)
        return
    if python is None:
        versions = ", ".join(version_text(version) for version in recipe.pythons)
        msg = f"{recipe.name} needs one of Python {versions} with venv, and none was found"
        raise InstallError(msg, f"install one, for example `uv python install {version_text(recipe.pythons[0])}`")
    _run([str(python.path), "-m", "venv", str(environment.path)], recipe, tell)


def _describe(python: Interpreter) -> str:
    return f"Python {'.'.join(map(str, python.version))} from {python.path}"


def _run(command: Sequence[str], recipe: Recipe, tell: Tell) -> None:
    """Run a step, its output line by line to `tell`; raise InstallError with the end of it if it fails."""
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            kept.append(line.rstrip())
            if line.strip():
                tell(f"{recipe.name}: {line.rstrip()}")
    if process.returncode:
        msg = f"{recipe.name}: `{' '.join(command[:4])} ...` failed with {process.returncode}: " + " | ".join(kept)
        raise InstallError(msg, "mend that and run the same command again: it goes on where it stopped")
