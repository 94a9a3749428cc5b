"""`clients install` killed midway, with the real package index: never taken for usable, and complete when run again."""

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from exporter.clients.environments import VARIABLE, State, find_environment, find_python
from exporter.clients.libraries import find_recipes
from exporter.clients.worker import open_worker
from exporter.model import ClientSpec, Outcome
from exporter.simulator.gateway import Gateway
from tests.shell.support import alive, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NAME = "ib_async"
COMMAND = (sys.executable, "-c", "from exporter.cli.app import main; main()", "clients")
NO_INDEX = ("No matching distribution", "Could not find a version", "no fitting Python")
# What complains of files that a distribution lists and that are not there.
INCOMPLETE = """
import importlib.metadata
for distribution in importlib.metadata.distributions():
    files = distribution.files
    missing = [str(file) for file in files or () if file.suffix != ".pyc" and not distribution.locate_file(file).exists()]
    if files is None or missing:
        print(distribution.metadata["Name"], missing[:3])
"""


def variables(root: Path) -> Mapping[str, str]:
    """Environments under `root`, pip and not uv, whose output tells how far it is."""
    folders = [each for each in os.environ.get("PATH", "").split(os.pathsep) if not shutil.which("uv", path=each)]
    path = os.pathsep.join(folders)
    return {**os.environ, VARIABLE: str(root), "PATH": path, "COLUMNS": "200", "PIP_NO_COMPILE": "1"}


async def start(root: Path, *arguments: str) -> Process:
    """A command of its own process group."""
    return await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdout=PIPE, stderr=STDOUT, env=variables(root), start_new_session=True
    )


async def finished(process: Process) -> tuple[int, str]:
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def reach(process: Process, words: str) -> None:
    """Read on until it says that; without an index skip, in CI fail."""
    said = []
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode():
        if words in line:
            return
        said.append(line)
    text = "".join(said)
    if any(sign in text for sign in NO_INDEX) and not os.environ.get("CI"):
        pytest.skip("there is no package index")
    pytest.fail(f"it never came to {words!r}: {text}")


async def kill(process: Process) -> None:
    """The command and all that it started, at once."""
    os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    await until(lambda: not any(alive(pid) for pid in group(process.pid)))


def group(leader: int) -> list[int]:
    """The processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader:
            found.append(int(path.parent.name))
    return found


async def unpacking(root: Path) -> None:
    """Some of numpy is there; all of it takes a second or two."""
    await until(lambda: unpacked(root))


def unpacked(root: Path) -> list[Path]:
    """What is there of numpy."""
    return list(root.glob(f"{NAME}/lib/*/site-packages/numpy/*"))


async def test_an_install_that_is_killed_is_not_usable_and_is_completed_by_the_next(tmp_path: Path) -> None:
    """Killed twice, each time further: while it downloads, and by then while it unpacks."""
    await install_and_kill(tmp_path)
    await expect_unusable(tmp_path)
    await install_and_kill(tmp_path, unpacking)
    await expect_unusable(tmp_path)
    code, said = await finished(await start(tmp_path, "install", NAME))
    assert code == 0, said
    environment = find_environment(find_recipes()[NAME], tmp_path)
    assert environment.state is State.READY
    checker = await asyncio.create_subprocess_exec(environment.python, "-I", "-c", INCOMPLETE, stdout=PIPE)
    assert await finished(checker) == (0, "")
    code, said = await finished(await start(tmp_path, "check", NAME))
    assert (code, "usable" in said) == (0, True), said
    await expect(tmp_path, Outcome.OK)


async def install_and_kill(root: Path, moment: Callable[[Path], Awaitable[None]] | None = None) -> None:
    """An install that is killed once it downloads, or at a later moment."""
    process = await start(root, "install", NAME)
    try:
        await reach(process, "installing 5 packages")
        if moment is not None:
            await moment(root)
    finally:
        await kill(process)


async def expect_unusable(root: Path) -> None:
    """The environment is known as half made, and no probe begins with it."""
    assert find_environment(find_recipes()[NAME], root).state is State.HALF_MADE
    assert find_python(NAME, NAME, root) is None
    code, said = await finished(await start(root, "check", NAME))
    assert code != 0, said
    await expect(root, Outcome.UNAVAILABLE)


async def expect(root: Path, outcome: Outcome) -> None:
    """How a client with this environment ends against a gateway that works."""
    worker = open_worker(ClientSpec(NAME, NAME), root)
    try:
        async with Gateway("ok") as gateway:
            probe = await worker.probe("127.0.0.1", gateway.port, 9001, 60.0, 0.0)
    finally:
        await worker.stop()
    assert probe.result.outcome is outcome, probe.result.detail
