"""Packages and recipes of our own, for installs that need no package index."""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

from exporter.clients.libraries import Recipe, find_recipes

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def write_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """A wheel that pip accepts."""
    stem = f"{name.replace('-', '_')}-{version}"
    contents = {
        **files,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text)}")
    contents[f"{stem}.dist-info/RECORD"] = "\n".join([*rows, f"{stem}.dist-info/RECORD,,"]) + "\n"
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return wheel


def make_recipe(folder: Path, *pins: str, python: str = PYTHON, megabytes: int = 1) -> Recipe:
    """A recipe read from a file, as the real ones are."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"# python: {python}\n# megabytes: {megabytes}\n# terms: Mind the terms.\n" + "\n".join(pins) + "\n"
    (folder / "fake.txt").write_text(text, "utf-8")
    return find_recipes(folder)["fake"]
