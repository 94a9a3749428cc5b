"""What the frame promises: no traces of one machine, no mocks, and nothing forgotten by the import contracts."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

PURE = {"maintenance", "metrics", "model", "protocol", "state", "text", "verdict", "web.pages"}
# The roots of a system account and of a workplace, as they begin a path; in pieces, so that this file holds none.
MACHINE_PATHS = [f"/{root}/" for root in ("root", "work", "home/[a-z]")]
# Whose home is a documented place in an image or an example, not this machine's.
EXEMPT = re.compile(r"/home/(?:you|user|trader|exporter|ibgateway)\b")
# Imports every module as where the names are missing that Windows lacks; what others wrote is imported before.
ON_WINDOWS = """
import asyncio, importlib, os, pkgutil, select, signal, socket, subprocess, sys, sysconfig
import aiohttp.web, jinja2, markdown_it, prometheus_client, pydantic, rich.table, structlog, typer.main, yaml
import exporter
sysconfig.get_config_vars()
lacks = {os: "O_NONBLOCK O_CLOEXEC O_NOCTTY fork killpg setsid", select: "poll", signal: "SIGHUP SIGKILL"}
for module, names in (lacks | {socket: "AF_UNIX"}).items():
    for name in names.split():
        delattr(module, name)
sys.modules.update(dict.fromkeys(("fcntl", "resource", "termios")))
sys.platform = "win32"
for found in pkgutil.walk_packages(exporter.__path__, "exporter."):
    if ".drivers." not in found.name:
        importlib.import_module(found.name)
        print(found.name)
"""
PUBLIC_INDEX = re.compile(r"(?:pypi|pythonhosted|npmjs)\.(?:org|com)|\bdeb(?:ian)?\.debian\.|proxy\.golang\.")


def committed(repository: Path, *patterns: str) -> list[Path]:
    """The files under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=repository, check=True, capture_output=True, text=True
    )
    return [repository / name for name in listed.stdout.split("\0") if name and (repository / name).is_file()]


def lines(files: list[Path]) -> list[tuple[str, str]]:
    """Every line of the text files, with its place."""
    found = []
    for file in files:
        text = file.read_bytes().decode("utf-8", "replace")
        found += [(f"{file}:{number}", line) for number, line in enumerate(text.splitlines(), 1)]
    return found


def index_hosts() -> set[str]:
    """The hosts that this machine's package clients are set up for, if any."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True)
    settings = [value for name, value in os.environ.items() if name.lower().startswith(("pip_", "uv_", "npm_config_"))]
    files = [Path.home() / name for name in (".npmrc", ".config/uv/uv.toml", ".config/pip/pip.conf", ".pip/pip.conf")]
    files += [Path("/etc/pip.conf"), Path("/etc/uv/uv.toml"), *Path("/etc/apt").glob("sources.list*/*")]
    settings += [file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file()]
    hosts = {urlsplit(url).hostname for url in re.findall(r"https?://[^\s'\"]+", "\n".join([told.stdout, *settings]))}
    return {host for host in hosts if host and host not in ("localhost", "127.0.0.1")}


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_no_committed_file_names_a_path_of_somebodys_machine(repository: Path, path: str) -> None:
    pattern = re.compile(rf"(?<![\w.~*$}}])(?:{path})")
    found = [
        f"{place}: {line.strip()[:160]}"
        for place, line in lines(committed(repository))
        if pattern.search(EXEMPT.sub("", line))
    ]
    assert found == []


def test_no_committed_file_names_a_package_index(repository: Path) -> None:
    """A copy of the project installs from whatever index its machine is set up for."""
    hosts = index_hosts()
    found = [
        place
        for place, line in lines(committed(repository))
        if PUBLIC_INDEX.search(line) or any(host in line for host in hosts)
    ]
    assert found == []


def test_no_test_replaces_parts_behind_the_programs_back(repository: Path) -> None:
    """A test that wants a mock has found a missing parameter."""
    words = re.compile(r"\bunittest[.]mock\b|\bmock[.]patch|\bMagic" + r"Mock\b|\bmocker\b")
    sources = [file for file in committed(repository, "tests/**.py") if file != Path(__file__)]
    assert [place for place, line in lines(sources) if words.search(line)] == []


def test_every_pure_package_is_kept_from_io(repository: Path) -> None:
    tool = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    [contract] = [one for one in tool["importlinter"]["contracts"] if "pure" in one["name"]]
    assert {name.removeprefix("exporter.") for name in contract["source_modules"]} == PURE


def test_every_module_can_be_imported_where_there_is_nothing_of_unix(repository: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ON_WINDOWS], check=False, capture_output=True, text=True, cwd=repository
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "exporter.web.server" in ran.stdout.split()


def test_the_wheel_holds_every_file_of_the_package(repository: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=repository, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("exporter/")}
    expected = {file.relative_to(repository).as_posix() for file in committed(repository, "exporter")}
    assert expected - held == set()
    assert wheel.name.startswith("ibkr_exporter-")


@pytest.mark.parametrize(("ci", "code"), [("true", pytest.ExitCode.TESTS_FAILED), ("", pytest.ExitCode.OK)])
def test_a_skip_fails_in_ci_and_only_there(repository: Path, tmp_path: Path, ci: str, code: int) -> None:
    (tmp_path / "conftest.py").write_bytes((repository / "tests" / "conftest.py").read_bytes())
    (tmp_path / "test_it.py").write_text("import pytest\n\ndef test_it() -> None:\n    pytest.skip('no promtool')\n")
    run = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(run, check=False, capture_output=True, text=True, env={**os.environ, "CI": ci}, cwd=tmp_path)
    assert done.returncode == code, done.stdout
    assert ("in CI nothing may be missing: Skipped: no promtool" in done.stdout) is (ci == "true")
