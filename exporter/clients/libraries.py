"""The libraries that can be a client, and the environments that can be installed: one file for each.

    exporter/clients/drivers/LIBRARY_driver.py    how to drive it
    deploy/clients/LIBRARY[-VERSION].txt          what `clients install` installs; in the wheel clients/requirements/
    deploy/clients/demo/LIBRARY-VERSION.txt       a version with a known fault, which only the demo installs

A new library is these two files. A driver names its library in LIBRARY and its oldest and newest Python in PYTHONS;
outside of its functions it imports the standard library only. A requirements file has the hashes of each pin
(`make lock` writes them) and three comments for us:

    # python: 3.12 3.13      the Pythons for which its pins hold, in order of preference
    # megabytes: 1000        how much disk it takes
    # memory: 290            how much memory its process takes, in megabytes
    # terms: ...             its licence, shown before it is installed
"""

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
RUNNER = DRIVERS / "main.py"

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
    memory: int
    terms: str
    digest: str


def find_libraries() -> Mapping[str, Library]:
    """Every library that has a driver, by name."""
    libraries = (_read_driver(path) for path in sorted(DRIVERS.glob("*_driver.py")))
    return {library.name: library for library in libraries}


def find_recipes(folder: Path | None = None) -> Mapping[str, Recipe]:
    """Every environment that has a requirements file, by name; by default of the exporter's own files."""
    recipes = (_read_recipe(path) for path in sorted((folder or _requirements()).glob("*.txt")))
    return {recipe.name: recipe for recipe in recipes}


def find_demo_recipes() -> Mapping[str, Recipe]:
    """Return the versions with a known fault that the demo shows. Nothing else installs or tries them."""
    return find_recipes(_requirements() / "demo")


def version_text(version: Version) -> str:
    """Return a Python version as text, such as 3.12."""
    return f"{version[0]}.{version[1]}"


def _requirements() -> Path:
    """The directory of the requirements, in an installed package or in the repository."""
    shipped = HERE / "requirements"
    return shipped if shipped.is_dir() else HERE.parents[1] / "deploy" / "clients"


def _read_driver(path: Path) -> Library:
    module = importlib.import_module(f"exporter.clients.drivers.{path.stem}")
    oldest, newest = module.PYTHONS
    return Library(module.LIBRARY, path, oldest, newest)


def _read_recipe(path: Path) -> Recipe:
    text = path.read_text("utf-8")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    comments = dict(line[1:].strip().split(": ", 1) for line in lines if line.startswith("#") and ": " in line)
    pins = tuple(line.removesuffix("\\").strip() for line in lines if not line.startswith(("#", "--hash=")))
    pythons = tuple(_version(word) for word in comments["python"].split())
    return Recipe(
        name=path.stem,
        library=path.stem.partition("-")[0],
        requirements=path,
        pins=pins,
        pythons=pythons,
        megabytes=int(comments["megabytes"]),
        memory=int(comments.get("memory", 0)),
        terms=comments.get("terms", ""),
        digest=hashlib.sha256("\n".join(pins).encode()).hexdigest()[:16],
    )


def _version(word: str) -> Version:
    major, minor = word.split(".")
    return int(major), int(minor)
