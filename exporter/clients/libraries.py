"""The libraries that can be a client: one row for each driver beside its requirements. The table is read off the files.

    exporter/clients/drivers/NAME_driver.py    how to drive it
    deploy/clients/NAME.txt                    what `clients install` installs, and with which Python (in the wheel: clients/requirements/)
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
RUNNER = DRIVERS / "run.py"
SUFFIX = "_driver.py"

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Library:
    """One broker library. `oldest` and `newest` are the Python versions that it works on, both included."""

    name: str
    driver: Path
    oldest: Version
    newest: Version


def find_libraries() -> Mapping[str, Library]:
    """Every library that has a driver, by name."""
    found = (_read_driver(path) for path in sorted(DRIVERS.glob("*" + SUFFIX)))
    return {library.name: library for library in found}


def requirement_files() -> Path:
    """Where the requirements are: inside an installed package, or in the repository."""
    shipped = HERE / "requirements"
    return shipped if shipped.is_dir() else HERE.parents[1] / "deploy" / "clients"


def _read_driver(path: Path) -> Library:
    """What a driver says of itself, without running it here."""
    said = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in ("LIBRARY", "PYTHONS")
    }
    oldest, newest = said["PYTHONS"]
    return Library(said["LIBRARY"], path, oldest, newest)
