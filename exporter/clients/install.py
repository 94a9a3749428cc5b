"""Make an environment: find a Python, make a virtual environment, install the pins. Uses uv where it is installed.

It may be stopped at any moment and started again: pip and uv keep their downloads, and an environment without its mark
is made again from the start. It is not completed, because pip and uv take a package with metadata for installed,
whatever else of it is missing.
"""

import re
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
TRIES = 3  # of a download: pip tries a connection again, but not one that breaks in the middle of a file
BROKEN = re.compile(r"(?i)connection (broken|reset|aborted)|IncompleteRead|read timed out|error decoding response body")

OnStep = Callable[[str], object]


class InstallError(Exception):
    """An environment could not be made: the reason as text, and a `remedy`."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.remedy = remedy


def install(recipe: Recipe, root: Path, on_step: OnStep, uv: str | None = None) -> Environment:
    """Make one environment ready and return it. `on_step` gets a line at the beginning of each step.

    `uv` is its path; None uses venv and pip. What these print is shown only in an error. Raises InstallError.
    """
    environment = find_environment(recipe, root)
    if environment.state is State.READY:
        on_step("ready already")
        return environment
    check_room(recipe, root)
    outdated = environment.state is State.OUTDATED and ask_version(str(environment.python), "sys" if uv else "pip")
    (environment.path / MARK).unlink(missing_ok=True)
    if outdated:
        on_step("bringing the environment up to date")
    else:
        _make(recipe, environment, on_step, uv)
    on_step(f"installing {len(recipe.pins)} packages, {recipe.megabytes} MB")
    python = str(environment.python)
    if uv:
        command = [uv, "pip", "sync", "--python", python, str(recipe.requirements)]
    else:
        command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", "--no-deps"]
        command += ["-r", str(recipe.requirements)]
    _download(command, recipe, on_step)
    mark_ready(environment)
    return find_environment(recipe, root)


def find_uv() -> str | None:
    """The path of uv, or None where it is not installed."""
    return shutil.which("uv")


def check_room(recipe: Recipe, root: Path) -> None:
    """Raise InstallError if the disk is too full for the environment."""
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    free, needed = shutil.disk_usage(place).free, recipe.megabytes * MEGABYTE * ROOM
    if free < needed:
        msg = f"{recipe.name} needs {needed / MEGABYTE:.0f} MB, and {place} has {free / MEGABYTE:.0f} MB"
        raise InstallError(msg, "make room, or set IBKR_EXPORTER_CLIENTS_DIR to a place on another disk")


def installed_bytes(environment: Environment) -> int:
    """How much of the environment is on the disk so far."""
    total = 0
    for file in environment.path.rglob("*"):
        try:
            total += 0 if file.is_symlink() else file.stat().st_size
        except OSError:
            continue
    return total


def _make(recipe: Recipe, environment: Environment, on_step: OnStep, uv: str | None) -> None:
    """Make an empty virtual environment."""
    if environment.path.exists():
        on_step(f"removing what is left of {environment.path}")
        shutil.rmtree(environment.path)
    python = find_interpreter(recipe.pythons, "ssl" if uv else WITH_VENV)
    if python is not None:
        on_step(f"making an environment with {_describe(python)}")
    environment.path.parent.mkdir(parents=True, exist_ok=True)
    if uv:  # it may fetch a Python itself where it has the internet
        interpreter = str(python.path) if python else version_text(recipe.pythons[0])
        _run([uv, "venv", "--python", interpreter, str(environment.path)], recipe)
        return
    if python is None:
        versions = ", ".join(version_text(version) for version in recipe.pythons)
        msg = f"{recipe.name} needs one of Python {versions} with venv, and none was found"
        raise InstallError(msg, f"install one, for example `uv python install {version_text(recipe.pythons[0])}`")
    _run([str(python.path), "-m", "venv", str(environment.path)], recipe)


def _describe(python: Interpreter) -> str:
    return f"Python {'.'.join(map(str, python.version))} from {python.path}"


def _download(command: Sequence[str], recipe: Recipe, on_step: OnStep) -> None:
    """Run a step that downloads, again where the connection broke: all that comes is compared with its hash."""
    for left in reversed(range(TRIES)):
        try:
            _run(command, recipe)
        except InstallError as error:
            if not left or not BROKEN.search(str(error)):
                raise
            on_step("the connection to the package index broke: trying again")
        else:
            return


def _run(command: Sequence[str], recipe: Recipe) -> None:
    """Run a step; raise InstallError with the end of its output if it fails."""
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            kept.append(line.rstrip())
    if process.returncode:
        msg = f"{recipe.name}: `{' '.join(command[:4])} ...` failed with {process.returncode}: " + " | ".join(kept)
        raise InstallError(msg, "mend that and run the same command again: it goes on where it stopped")
