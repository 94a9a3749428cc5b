"""The real libraries from PyPI, as `make clients` installs them, against the simulator. None is mocked."""

import asyncio
import fcntl
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pytest

from exporter.clients.environments import VARIABLE, State, default_root, find_environment
from exporter.clients.libraries import find_libraries, find_recipes
from exporter.clients.worker import Worker, WorkerResult
from exporter.simulator.gateway import Gateway
from exporter.simulator.modes import MODES
from exporter.simulator.recorder import ClientEnd, ConnectionRecord

T = TypeVar("T")
CLIENTS = tuple(sorted(find_recipes()))
CLIENT_ID = 9001
AT_ONCE = 6  # a fork server that is asked for many more does not answer in time on a busy machine, and is replaced
DEADLINE = 4.0  # seconds: the slow mode answers after two
UNANSWERED = 8.0  # seconds, where no answer comes: a copy of a library starts within, on a busy machine too


def of_each_client(tests: type) -> dict[str, type]:
    """A class of these tests for each client, by its name: processes that share a run take whole classes."""
    return {f"Test_{client}": type(f"Test_{client}", (tests,), {"client": client}) for client in CLIENTS}


@dataclass(frozen=True, slots=True)
class Played:
    """One probe against one mode, and what the gateway saw of it."""

    probe: WorkerResult
    records: tuple[ConnectionRecord, ...]


def make_client(name: str) -> Worker:
    """The client with the installed environment of that name; without it skip, in CI fail."""
    recipe = find_recipes()[name]
    environment = find_environment(recipe, default_root())
    if environment.state is not State.READY:
        reason = f"{name} is {environment.state} in {default_root()}: `make clients` installs it, {VARIABLE} moves it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Worker(name, find_libraries()[recipe.library], str(environment.python))


def played_once(tmp_path_factory: pytest.TempPathFactory, name: str, play: Callable[[], T]) -> T:
    """What `play` gives, played once for all processes of a test run."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = shared / f"{name}.pickle"
        if not path.exists():
            path.write_bytes(pickle.dumps(play()))
        played: T = pickle.loads(path.read_bytes())  # noqa: S301 - our own
        return played


async def play(worker: Worker, mode: str, deadline: float = DEADLINE, spacing: float | None = 0.0) -> Played:
    """One probe against a gateway of its own."""
    async with Gateway(mode) as gateway:
        probe = await worker.probe("127.0.0.1", gateway.port, CLIENT_ID, deadline, spacing)
        for _ in range(500):  # the gateway may hear of the end a moment later
            if all(record.client_end is not ClientEnd.OPEN or record.ended_ns for record in gateway.recorder.last()):
                break
            await asyncio.sleep(0.01)
        return Played(probe, tuple(gateway.recorder.last()))


async def play_all(name: str, deadline_of: Callable[[str], float]) -> Mapping[str, Played]:
    """One probe against every mode, a few at a time."""
    worker, gate = make_client(name), asyncio.Semaphore(AT_ONCE)

    async def one(mode: str) -> Played:
        async with gate:
            return await play(worker, mode, deadline_of(mode))

    try:
        await worker.start()
        return dict(zip(MODES, await asyncio.gather(*(one(mode) for mode in MODES)), strict=True))
    finally:
        await worker.stop()
