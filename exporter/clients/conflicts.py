"""What is wrong with an interpreter as a client, and what mends it. Pure: reads what drivers/list_packages.py said.

Measured (docs/facts.md: packages): ibapi, ibapi-latest, ibapi-stable and nautilus-ibapi all bring the package `ibapi`
and overwrite each other in silence; `pip check` finds nothing wrong. So do eventkit and aeventkit.
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
class Look:
    """What is installed in an interpreter, as drivers/list_packages.py tells it."""

    python: tuple[int, ...]
    distributions: Mapping[str, str]
    owners: Mapping[str, Sequence[str]]
    wants: Mapping[str, Sequence[str]]
    protobuf_code: bool


def read_look(said: Mapping[str, Any]) -> Look:
    """The JSON object of list_packages.py as a value. Raises KeyError if it is another."""
    return Look(
        tuple(said["python"]), said["distributions"], said["owners"], said["wants"], bool(said["protobuf_code"])
    )


def find_conflicts(look: Look, library: Library, python: str) -> tuple[Conflict, ...]:
    """All that is wrong with `library` in the interpreter `python`; the first is to be mended first."""
    pip = f"{python} -m pip"
    found = [
        *_wrong_python(look, library),
        *_not_installed(look, library, pip),
        *_overwritten(look, library, pip),
        *_missing_protobuf(look, pip),
        *_wrong_ibapi(look, library, pip),
    ]
    return tuple(found)


def _wrong_python(look: Look, library: Library) -> Sequence[Conflict]:
    version = (look.python[0], look.python[1])
    if library.oldest <= version <= library.newest:
        return ()
    kind = "old" if version < library.oldest else "new"
    span = f"{version_text(library.oldest)} to {version_text(library.newest)}"
    text = f"Python {version_text(version)} is too {kind} for {library.name}, which needs {span}"
    return [Conflict(text, f"make the environment anew with Python {version_text(library.newest)} or one between")]


def _not_installed(look: Look, library: Library, pip: str) -> Sequence[Conflict]:
    names = DISTRIBUTIONS.get(library.name, (library.name.replace("_", "-"),))
    if any(name in look.distributions for name in names):
        return ()
    wanted = {"ibapi": "ibapi-latest protobuf", "nautilus_trader": "'nautilus_trader[ib]'"}.get(
        library.name, library.name
    )
    return [Conflict(f"{library.name} is not installed in it", f"{pip} install {wanted}")]


def _overwritten(look: Look, library: Library, pip: str) -> Sequence[Conflict]:
    found = []
    for package, owners in look.owners.items():
        if len(owners) > 1:
            keep = _keep(package, owners, look, library)
            text = f"{_listed(owners)} are both installed and overwrite each other's package `{package}`"
            if len(owners) > 2:  # noqa: PLR2004 - both means two
                text = text.replace(" are both ", " are all ")
            remedy = f"{pip} uninstall -y {' '.join(owners)} && {pip} install {keep}=={look.distributions[keep]}"
            found.append(Conflict(text, remedy))
    return found


def _keep(package: str, owners: Sequence[str], look: Look, library: Library) -> str:
    """Which of the owners this library needs."""
    if package == "eventkit":
        return "aeventkit" if library.name == "ib_async" else "eventkit"
    if library.name == "nautilus_trader" and "nautilus-ibapi" in look.distributions:
        return "nautilus-ibapi"
    return next((name for name in ("ibapi-latest", "ibapi-stable", "nautilus-ibapi") if name in owners), owners[0])


def _missing_protobuf(look: Look, pip: str) -> Sequence[Conflict]:
    if not look.protobuf_code or "protobuf" in look.distributions:
        return ()
    owner = _listed(look.owners.get("ibapi", ("ibapi",)))
    return [
        Conflict(
            f"{owner} needs protobuf, which is missing and which it may not declare",
            f"{pip} install 'protobuf>=5.29.5'",
        )
    ]


def _wrong_ibapi(look: Look, library: Library, pip: str) -> Sequence[Conflict]:
    """nautilus_trader works with one edition of ibapi, and asks for it only in its extra `ib`."""
    if library.name != "nautilus_trader" or "nautilus-trader" not in look.distributions:
        return ()
    version = look.distributions["nautilus-trader"]
    remedy = f"{pip} install 'nautilus_trader[ib]=={version}'"
    wants = (re.sub(r"[ ()]", "", want) for want in look.wants.get("nautilus-trader", ()))
    wanted = next((want for want in wants if "==" in want), None)
    installed = look.distributions.get("nautilus-ibapi")
    if not look.owners.get("ibapi"):
        return [Conflict(f"nautilus_trader {version} was installed without its extra `ib`: ibapi is missing", remedy)]
    if wanted is None or f"nautilus-ibapi=={installed}" == wanted:
        return ()
    return [Conflict(f"nautilus_trader {version} was made for {wanted}, and there is {_editions(look)}", remedy)]


def _editions(look: Look) -> str:
    return _listed([f"{name} {look.distributions[name]}" for name in look.owners.get("ibapi", ())])


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
