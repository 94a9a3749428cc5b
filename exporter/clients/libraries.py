"""The libraries that can be a client, read off the files: a driver for each, and environments that can be made.

    exporter/clients/drivers/LIBRARY_driver.py    how to drive it
    deploy/clients/LIBRARY[-VERSION].txt          what `clients install` installs; in the wheel clients/requirements/

A new library is these two files. A requirements file has the hashes of each pin (`make lock` writes them), and says in
comments what pip has no word for:

    # python: 3.12 3.13      the Pythons for which its pins hold, in order of preference
    # megabytes: 1000        how much disk it takes
    # terms: ...             what is to be known before it is installed
"""

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
RUNNER = DRIVERS / "main.py"
SUFFIX = "_driver.py"
SAID = ("LIBRARY", "PYTHONS")

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Library:
    """One broker library. `oldest` and `newest` are the Python versions that it works on, both included."""

    name: str
    driver: Path
    oldest: Version
    newest: Version


@dataclass(frozen=True, slots=True)
class Recipe:
    """One environment that can be installed. `digest` changes with the pins."""

    name: str
    library: str
    requirements: Path
    pins: tuple[str, ...]
    pythons: tuple[Version, ...]
    megabytes: int
    terms: str
    digest: str


def find_libraries() -> Mapping[str, Library]:
    """Every library that has a driver, by name."""
    found = (_read_driver(path) for path in sorted(DRIVERS.glob("*" + SUFFIX)))
    return {library.name: library for library in found}


def find_recipes(folder: Path | None = None) -> Mapping[str, Recipe]:
    """Every environment that has a requirements file, by name; by default of the files that came with the exporter."""
    found = (_read_recipe(path) for path in sorted((folder or _requirements()).glob("*.txt")))
    return {recipe.name: recipe for recipe in found}


def version_text(version: Version) -> str:
    """For example 3.12."""
    return f"{version[0]}.{version[1]}"


def _requirements() -> Path:
    """Inside an installed package, or in the repository."""
    shipped = HERE / "requirements"
    return shipped if shipped.is_dir() else HERE.parents[1] / "deploy" / "clients"


def _read_driver(path: Path) -> Library:
    """What a driver says of itself, without running it here."""
    said = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign):
            names = [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            if len(names) == 1 and names[0] in SAID:
                said[names[0]] = ast.literal_eval(node.value)
    oldest, newest = said["PYTHONS"]
    return Library(said["LIBRARY"], path, oldest, newest)


def _read_recipe(path: Path) -> Recipe:
    text = path.read_text("utf-8")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = dict(line[1:].strip().split(": ", 1) for line in lines if line.startswith("#") and ": " in line)
    pins = tuple(line.removesuffix("\\").strip() for line in lines if not line.startswith(("#", "--hash=")))
    pythons = tuple(_version(word) for word in said["python"].split())
    return Recipe(
        name=path.stem,
        library=path.stem.partition("-")[0],
        requirements=path,
        pins=pins,
        pythons=pythons,
        megabytes=int(said["megabytes"]),
        terms=said.get("terms", ""),
        digest=hashlib.sha256("\n".join(pins).encode()).hexdigest()[:16],
    )


def _version(word: str) -> Version:
    major, minor = word.split(".")
    return int(major), int(minor)
