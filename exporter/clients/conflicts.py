"""What is wrong with an interpreter as a client, and what mends it. Pure: reads what drivers/list_packages.py prints.

Measured (docs/facts.md: packages): ibapi, ibapi-latest, ibapi-stable and nautilus-ibapi all bring the package `ibapi`
and overwrite each other without a message; `pip check` finds nothing wrong. So do eventkit and aeventkit.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.clients.libraries import Library, version_text

# What to install for a library, and which distribution it is.
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "ibapi": ("ibapi", "ibapi-latest", "ibapi-stable", "nautilus-ibapi"),
}


@dataclass(frozen=True, slots=True)
class Conflict:
    """One thing that is wrong, and the command that mends it."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class InstalledPackages:
    """What is installed in an interpreter, in the words of drivers/list_packages.py."""

    python: tuple[int, ...]
    distributions: Mapping[str, str]
    owners: Mapping[str, Sequence[str]]
    requires: Mapping[str, Sequence[str]]
    protobuf_code: bool


def read_packages(line: Mapping[str, Any]) -> InstalledPackages:
    """The JSON object of list_packages.py as a value. Raises KeyError for any other object."""
    return InstalledPackages(
        python=tuple(line["python"]),
        distributions=line["distributions"],
        owners=line["owners"],
        requires=line["requires"],
        protobuf_code=bool(line["protobuf_code"]),
    )


def find_conflicts(packages: InstalledPackages, library: Library, python: str) -> tuple[Conflict, ...]:
    """All that is wrong with `library` in the interpreter `python`, in the order in which to mend it."""
    pip = f"{python} -m pip"
    return (
        *_wrong_python(packages, library),
        *_not_installed(packages, library, pip),
        *_overwritten(packages, library, pip),
        *_missing_protobuf(packages, pip),
        *_wrong_ibapi(packages, library, pip),
    )


def _wrong_python(packages: InstalledPackages, library: Library) -> Sequence[Conflict]:
    version = (packages.python[0], packages.python[1])
    if library.oldest <= version <= library.newest:
        return ()
    kind = "old" if version < library.oldest else "new"
    span = f"{version_text(library.oldest)} to {version_text(library.newest)}"
    text = f"Python {version_text(version)} is too {kind} for {library.name}, which needs {span}"
    return [Conflict(text, f"make a new environment with Python {version_text(library.newest)} or one between")]


def _not_installed(packages: InstalledPackages, library: Library, pip: str) -> Sequence[Conflict]:
    names = DISTRIBUTIONS.get(library.name, (library.name.replace("_", "-"),))
    if any(name in packages.distributions for name in names):
        return ()
    argument = {"ibapi": "ibapi-latest protobuf", "nautilus_trader": "'nautilus_trader[ib]'"}.get(
        library.name, library.name
    )
    return [Conflict(f"{library.name} is not installed in it", f"{pip} install {argument}")]


def _overwritten(packages: InstalledPackages, library: Library, pip: str) -> Sequence[Conflict]:
    conflicts = []
    for package, owners in packages.owners.items():
        if len(owners) > 1:
            keep = _keep(package, owners, packages, library)
            text = f"{_listed(owners)} are both installed and overwrite each other's package `{package}`"
            if len(owners) > 2:  # noqa: PLR2004 - both means two
                text = text.replace(" are both ", " are all ")
            remedy = f"{pip} uninstall -y {' '.join(owners)} && {pip} install {keep}=={packages.distributions[keep]}"
            conflicts.append(Conflict(text, remedy))
    return conflicts


def _keep(package: str, owners: Sequence[str], packages: InstalledPackages, library: Library) -> str:
    """Which of the owners this library needs."""
    if package == "eventkit":
        return "aeventkit" if library.name == "ib_async" else "eventkit"
    if library.name == "nautilus_trader" and "nautilus-ibapi" in packages.distributions:
        return "nautilus-ibapi"
    return next((name for name in ("ibapi-latest", "ibapi-stable", "nautilus-ibapi") if name in owners), owners[0])


def _missing_protobuf(packages: InstalledPackages, pip: str) -> Sequence[Conflict]:
    if not packages.protobuf_code or "protobuf" in packages.distributions:
        return ()
    owner = _listed(packages.owners.get("ibapi", ("ibapi",)))
    return [
        Conflict(
            f"{owner} needs protobuf, which is missing and which it may not declare",
            f"{pip} install 'protobuf>=5.29.5'",
        )
    ]


def _wrong_ibapi(packages: InstalledPackages, library: Library, pip: str) -> Sequence[Conflict]:
    """nautilus_trader works with one edition of ibapi, and asks for it only in its extra `ib`."""
    if library.name != "nautilus_trader" or "nautilus-trader" not in packages.distributions:
        return ()
    version = packages.distributions["nautilus-trader"]
    remedy = f"{pip} install 'nautilus_trader[ib]=={version}'"
    requirements = (re.sub(r"[ ()]", "", want) for want in packages.requires.get("nautilus-trader", ()))
    requirement = next((want for want in requirements if "==" in want), None)
    installed = packages.distributions.get("nautilus-ibapi")
    if not packages.owners.get("ibapi"):
        return [Conflict(f"nautilus_trader {version} was installed without its extra `ib`: ibapi is missing", remedy)]
    if requirement is None or f"nautilus-ibapi=={installed}" == requirement:
        return ()
    return [
        Conflict(f"nautilus_trader {version} was made for {requirement}, and there is {_editions(packages)}", remedy)
    ]


def _editions(packages: InstalledPackages) -> str:
    return _listed([f"{name} {packages.distributions[name]}" for name in packages.owners.get("ibapi", ())])


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
