"""Find a Python of a wanted version. Each candidate is run first: a version manager's shim may have none behind it."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.clients.forkserver import environment
from exporter.clients.libraries import Version, version_text

# ssl, because pip downloads by https; venv and ensurepip, because Debian ships Pythons without them.
ASK = "import sys, ssl, {modules}; print(*sys.version_info[:3]); print(sys.executable)"
WITH_VENV = "venv, ensurepip"
LIMIT = 10.0  # seconds for an interpreter to say its version


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that was run."""

    path: Path
    version: tuple[int, int, int]


def find_interpreter(versions: Sequence[Version], modules: str = WITH_VENV) -> Interpreter | None:
    """The first Python of the wanted versions, in their order, that starts and can import `modules`."""
    for version in versions:
        for candidate in candidates(version, os.environ, Path.home()):
            interpreter = ask_version(candidate, modules)
            if interpreter is not None and interpreter.version[:2] == version:
                return interpreter
    return None


def ask_version(python: str, modules: str = "sys") -> Interpreter | None:
    """Run an interpreter and return its version; None if it does not start or lacks one of `modules`."""
    try:
        done = subprocess.run(  # noqa: S603 - a Python that the user has
            [python, "-I", "-c", ASK.format(modules=modules)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
            env=environment(),
        )
        numbers, path = done.stdout.splitlines()[:2]
        major, minor, micro = (int(number) for number in numbers.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(Path(path), (major, minor, micro))


def candidates(version: Version, variables: Mapping[str, str], home: Path) -> Iterator[str]:
    """Where a Python of this version may be, each path once."""
    text = version_text(version)
    pyenv = Path(variables.get("PYENV_ROOT") or home / ".pyenv")
    uv = Path(variables.get("UV_PYTHON_INSTALL_DIR") or home / ".local" / "share" / "uv" / "python")
    programs = Path(variables.get("LOCALAPPDATA") or home) / "Programs" / "Python"
    places: Iterable[Iterable[str | None]] = (
        [sys.executable] if sys.version_info[:2] == version else [],
        [shutil.which(f"python{text}", path=variables.get("PATH"))],
        _newest_first(pyenv / "versions", f"{text}*/bin/python"),
        _newest_first(uv, f"cpython-{text}.*/bin/python3"),
        (f"{folder}/python{text}" for folder in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")),
        [f"/Library/Frameworks/Python.framework/Versions/{text}/bin/python3"],
        [str(programs / f"Python{text.replace('.', '')}" / "python.exe")],
        (shutil.which(name, path=variables.get("PATH")) for name in ("python3", "python")),
    )
    seen = set()
    for path in itertools.chain.from_iterable(places):
        if path and path not in seen and Path(path).exists():
            seen.add(path)
            yield path


def _newest_first(folder: Path, pattern: str) -> list[str]:
    paths = folder.glob(pattern) if folder.is_dir() else []
    return sorted(map(str, paths), key=lambda path: [int(part) for part in re.findall("[0-9]+", path)], reverse=True)
