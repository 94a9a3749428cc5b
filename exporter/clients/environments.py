"""The environments that `clients install` makes: where they are, and in what state. One for each requirements file.

    ROOT/NAME/            a virtual environment
    ROOT/NAME/MARK        written last, with the digest of the pins: without it, or with another digest, it is not ready

ROOT is IBKR_EXPORTER_CLIENTS_DIR, or the place where the platform keeps such data.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from exporter.clients.libraries import Recipe, find_recipes

VARIABLE = "IBKR_EXPORTER_CLIENTS_DIR"
MARK = ".ibkr-exporter.json"


class State(StrEnum):
    """How far an environment is installed."""

    MISSING = "missing"
    HALF_MADE = "half made"  # an install did not end; the next one starts over
    OUTDATED = "outdated"  # made from other pins
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment, made or not."""

    recipe: Recipe
    path: Path
    python: Path
    state: State


def clients_root(variables: Mapping[str, str], platform: str, home: Path) -> Path:
    """The directory of the environments."""
    if given := variables.get(VARIABLE):
        return Path(given).expanduser()
    if platform.startswith("win"):
        base = Path(variables.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(variables.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "ibkr-exporter" / "clients"


def default_root() -> Path:
    """`clients_root` of this process."""
    return clients_root(os.environ, sys.platform, Path.home())


def find_environment(recipe: Recipe, root: Path) -> Environment:
    """An environment as it is now."""
    path = root / recipe.name
    python = path / ("Scripts/python.exe" if sys.platform.startswith("win") else "bin/python")
    if not path.is_dir():
        state = State.MISSING
    elif (digest := _marked(path)) is None or not python.exists():
        state = State.HALF_MADE
    else:
        state = State.READY if digest == recipe.digest else State.OUTDATED
    return Environment(recipe, path, python, state)


def list_environments(root: Path) -> Sequence[Environment]:
    """Every environment that can be installed, ready or not."""
    return [find_environment(recipe, root) for recipe in find_recipes().values()]


def find_python(client: str, library: str, root: Path) -> Path | None:
    """The interpreter for a client that names none: the environment of its own name, else of its library, or None.

    An outdated environment still serves; a half-made one does not.
    """
    recipes = find_recipes()
    for name in (client, library):
        recipe = recipes.get(name)
        if recipe is not None and recipe.library == library:
            environment = find_environment(recipe, root)
            if environment.state in (State.READY, State.OUTDATED):
                return environment.python
    return None


def mark_ready(environment: Environment) -> None:
    """Write the mark: from now on it is ready."""
    mark = environment.path / MARK
    content = {"digest": environment.recipe.digest, "pins": environment.recipe.pins}
    temporary = mark.with_suffix(".new")
    temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    temporary.replace(mark)


def _marked(path: Path) -> str | None:
    try:
        return str(json.loads((path / MARK).read_text("utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
