"""What the tests with real processes and sockets share: to wait, to start the command, to count what is open."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exporter.probes.download import download
from exporter.probes.launcher_log import LogFollower
from exporter.probes.resolver import Resolver
from exporter.service.endpoint_lock import EndpointLock
from exporter.service.shared import Shared
from exporter.service.states import TargetStates
from exporter.service.watch import HEARTBEAT_TIMINGS

PATIENCE = 120.0  # seconds after which a test gives up; it never says how quick something must be
# The caller's environment without a target and without client libraries.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("IB_", "IBKR_"))}
CLEAN["IBKR_EXPORTER_CLIENTS_DIR"] = "/nonexistent"


def shared_of(
    states: TargetStates,
    *,
    resolver: Resolver | None = None,
    on_tick: Callable[[float, int], None] = lambda _, __: None,
) -> Shared:
    """Return what target loops share, for one target loop without the rest of the service."""
    return Shared(
        states=states,
        endpoints=EndpointLock(Resolver()),
        resolver=resolver or Resolver(),
        slots=asyncio.Semaphore(2),
        timings=HEARTBEAT_TIMINGS,
        open_log=LogFollower,
        on_tick=on_tick,
        download=lambda target, resolver, abandoned: download(target, resolver, abandoned=abandoned),
    )


async def until(condition: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait for a condition that no event announces."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not condition():
        if loop.time() > end:
            msg = f"not so within {within:.0f} seconds"
            raise TimeoutError(msg)
        await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait without an event loop."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            msg = f"not so within {within:.0f} seconds"
            raise TimeoutError(msg)
        time.sleep(0.01)


def free_port() -> int:
    """Return a free port below those that the kernel gives out, so that no other test gets it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def get(url: str, within: float = PATIENCE) -> str:
    """Return the body as soon as there is one."""
    end = time.monotonic() + within
    while True:
        try:
            with urllib.request.urlopen(url, timeout=within) as response:  # noqa: S310 - our own server
                body: bytes = response.read()
                return body.decode()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


@contextmanager
def started(command: Sequence[str], interrupt: Any = signal.SIG_DFL, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process that has `interrupt` for SIGINT, whatever our own caller chose; kill it in the end."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with inherited(signal.SIGINT, interrupt), inherited(signal.SIGHUP, signal.SIG_DFL):
        process = subprocess.Popen(command, text=True, **{**pipes, "env": CLEAN, **options})
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def inherited(number: signal.Signals, action: Any) -> Iterator[None]:
    """Processes that are started within have this action of a signal."""
    before = signal.signal(number, action)
    try:
        yield
    finally:
        signal.signal(number, before)


def alive(pid: int) -> bool:
    """Whether such a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants() -> set[int]:
    """All processes below ours, zombies too."""
    parents = {}
    for name in (path.name for path in Path("/proc").iterdir()):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text("ascii", "replace")
                parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
            except OSError:
                continue
    below: set[int] = set()
    edge = {os.getpid()}
    while edge:
        edge = {pid for pid, parent in parents.items() if parent in edge} - below
        below |= edge
    return below


def descriptors() -> int:
    """How many files are open in this process."""
    return len(list(Path("/proc/self/fd").iterdir()))
