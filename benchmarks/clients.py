"""What client probes cost: CPU for each library after its first, the time added to its own connect, what is left.

    python benchmarks/clients.py [--probes 40] [--leaks 10000] [--tries 400] [--seconds 120]

The libraries are those of `make clients`; the gateway is simulated, in a process of its own. The leak run uses a driver
that needs no library, so that ten thousand probes take minutes; a tenth of them hang and are killed. Some hundred more
go through the whole service with real libraries, of which one hangs (clients_service.py). Writes
build/clients.json and exits with 1 if a bound is not kept.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from clients_service import CLIENTS, measure_tries

from exporter.clients.environments import State, default_root, list_environments
from exporter.clients.libraries import Library, find_libraries
from exporter.clients.worker import Worker
from exporter.log import configure
from exporter.model import Outcome

HERE = Path(__file__).parent
PROCESSES = 9  # in which a library connects without us
TICKS = os.sysconf("SC_CLK_TCK")
BOUNDS = {
    "cpu_seconds": 0.060,
    "added_seconds": 0.020,
    "memory_mb": 3.0,
    "processes": 0,
    "files": 0,
    "sockets": 0,
    "forbidden": 0,
    "core_share": 0.03,
}
FOUR = ("ibapi", "ib_insync", "ib_async", "nautilus_trader")
GATEWAY = """
import asyncio
from exporter.simulator.gateway import Gateway
async def main():
    async with Gateway("ok") as gateway:
        print(gateway.port, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
DRIVER = """
import time
LIBRARY, PYTHONS = "fake", ((3, 8), (3, 99))
def load():
    return {"version": "1"}
class Session:
    def __init__(self, observer, hangs):
        self.observer, self.hangs = observer, hangs
        observer.opened = True
    def ask_time(self):
        time.sleep(1000 if self.hangs else 0)
        self.observer.reach("time", 1)
    def ask_contract(self):
        self.observer.reach("contract", "")
    def close(self, seconds):
        pass
def begin(host, port, client_id, observer):
    observer.reach("connected", 176)
    observer.reach("ready")
    observer.reach("accounts", [])
    return Session(observer, port == 2)
"""


@asynccontextmanager
async def gateway() -> AsyncIterator[int]:
    """A simulated gateway in a process of its own; its port."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", GATEWAY, stdout=asyncio.subprocess.PIPE)
    try:
        assert child.stdout is not None  # noqa: S101 - asked for above
        yield int(await child.stdout.readline())
    finally:
        child.terminate()
        await child.wait()


async def measure_client(name: str, library: Library, python: str, port: int, probes: int) -> dict[str, Any]:
    """CPU of everything that a probe starts, the exporter's own share included, and how long the library took."""
    worker = Worker(name, library, python)
    installed = await worker.start()
    first = await worker.probe("127.0.0.1", port, 9001, 15.0, spacing=0.0)
    if not first.result.ok:
        raise RuntimeError(first.result.detail)
    fork_server = worker.pid
    before, ours = cpu(fork_server), time.process_time()
    copies, ready = 0.0, []
    for _ in range(probes):
        done = await worker.probe("127.0.0.1", port, 9001, 15.0, spacing=0.0)
        copies += done.cpu or 0.0
        ready.append(sum(seconds for _, seconds in done.result.stages[:2]))
    used = copies + (cpu(fork_server) - before) + (time.process_time() - ours)
    memory = resident(fork_server)
    await worker.stop()
    bare = [bare_connect(library.name, python, port) for _ in range(PROCESSES)]
    return {
        "version": installed.version,
        "import_seconds": installed.import_seconds,
        "cpu_seconds": used / probes,
        "connect_seconds": statistics.median(ready),
        "bare_seconds": statistics.median(bare),
        "added_seconds": statistics.median(ready) - statistics.median(bare),
        "zygote_mb": memory,
    }


async def measure_service(port: int, seconds: float) -> dict[str, Any]:
    """The share of one core that an exporter takes with four clients on one target every 60 s, its processes included.

    The window begins when every client was tried once: the imports, done once in a process's life, are not in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        clients = "".join(f"  {name}: {{library: {name}, interval: 60s}}\n" for name in FOUR)
        config = Path(folder) / "exporter.yaml"
        config.write_text(
            f"targets:\n  - {{name: bench, host: 127.0.0.1, port: {port}, mode: paper}}\n"
            f"clients:\n{clients}web: {{listen: '127.0.0.1:19497'}}\nlog: {{level: error}}\n",
            "utf-8",
        )
        command = [sys.executable, "-c", "from exporter.cli.app import main; main()", "serve", "--config", str(config)]
        child = await asyncio.create_subprocess_exec(*command)
        try:
            async with asyncio.timeout(180):
                while (await successes()) < len(FOUR):  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(1.0)
            before, began = family_cpu(child.pid), time.perf_counter()
            await asyncio.sleep(seconds)
            used, elapsed = family_cpu(child.pid) - before, time.perf_counter() - began
            memory = resident(child.pid)
        finally:
            child.terminate()
            await child.wait()
    return {"seconds": elapsed, "core_share": used / elapsed, "exporter_mb": memory}


async def successes() -> int:
    """How many clients of the exporter under test have got through."""

    def read() -> int:
        try:
            with urllib.request.urlopen("http://127.0.0.1:19497/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        return sum(line.startswith("ibkr_client_success{") and line.endswith(" 1") for line in lines)

    return await asyncio.to_thread(read)


def family_cpu(pid: int) -> float:
    """Seconds of a process and its children, those that have ended and were waited for included."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        if pid in (int(path.parent.name), int(fields[1])):
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def bare_connect(library: str, python: str, port: int) -> float:
    """The library's own connect, in its own interpreter, without us, as a program does it once it has started."""
    said = subprocess.run(  # noqa: S603 - an interpreter that we installed
        [python, "-I", str(HERE / "clients_bare.py"), library, "127.0.0.1", str(port)],
        capture_output=True,
        check=True,
        text=True,
        timeout=300,
    )
    return float(said.stdout)


async def measure_leaks(probes: int) -> dict[str, Any]:
    """Many probes, a tenth of them hung and killed: what is left of processes, files and memory."""
    with tempfile.TemporaryDirectory() as folder:
        driver = Path(folder) / "fake_driver.py"
        driver.write_text(DRIVER, "utf-8")
        worker = Worker("fake", Library("fake", driver, (3, 8), (3, 99)), sys.executable)
        await worker.start()
        await wave(worker, 400, 0.1)
        processes, files, memory = count_children(), count_files(), resident(os.getpid())
        began = time.perf_counter()
        hung = 0
        for _ in range(probes // 200):
            hung += await wave(worker, 200, 0.1)
        figures = {
            "probes": probes // 200 * 200,
            "hung": hung,
            "seconds": time.perf_counter() - began,
            "processes": count_children() - processes,
            "files": count_files() - files,
            "memory_mb": resident(os.getpid()) - memory,
            "zygote_mb": resident(worker.pid),
        }
        await worker.stop()
        figures["processes_after_stop"] = count_children()
        return figures


async def wave(worker: Worker, count: int, hanging: float) -> int:
    """`count` probes, sixteen at a time, a share of them hanging; how many were killed for it."""
    gate = asyncio.Semaphore(16)
    ports = [2 if number < count * hanging else 1 for number in range(count)]
    random.Random(1).shuffle(ports)  # noqa: S311 - an order, no secret

    async def one(port: int) -> bool:
        async with gate:
            done = await worker.probe("127.0.0.1", port, 9001, 0.5, spacing=0.0)
            wanted = Outcome.TIMEOUT if port == 2 else Outcome.OK  # noqa: PLR2004 - the driver's own sign
            if done.result.outcome is not wanted:
                raise RuntimeError(done.result.detail)
            return done.result.outcome is Outcome.TIMEOUT

    return sum(await asyncio.gather(*(one(port) for port in ports)))


def cpu(pid: int) -> float:
    """Seconds of a process, its waited-for children not included: those are counted one by one."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> float:
    """Megabytes."""
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


def count_children() -> int:
    """Processes below this one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("ascii", "replace")
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields.rpartition(")")[2].split()[1])
    found: set[int] = set()
    edge = {os.getpid()}
    while edge:
        edge = {pid for pid, parent in parents.items() if parent in edge} - found
        found |= edge
    return len(found)


def count_files() -> int:
    """Open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def write(figures: dict[str, Any]) -> None:
    """To build/clients.json."""
    Path("build").mkdir(exist_ok=True)
    Path("build/clients.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


async def main() -> int:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--probes", type=int, default=40)
    parser.add_argument("--leaks", type=int, default=10_000)
    parser.add_argument("--tries", type=int, default=400, help="of real libraries through the whole service")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long four clients are tried by an exporter")
    arguments = parser.parse_args()
    configure("error")
    figures: dict[str, Any] = {"bounds": BOUNDS, "clients": {}}
    async with gateway() as port:
        for environment in list_environments(default_root()):
            if environment.state is State.READY:
                name, library = environment.recipe.name, find_libraries()[environment.recipe.library]
                row = await measure_client(name, library, str(environment.python), port, arguments.probes)
                figures["clients"][name] = row
                print(name, json.dumps(row), flush=True)
        if arguments.seconds and all(name in figures["clients"] for name in FOUR):
            figures["service"] = await measure_service(port, arguments.seconds)
            print("service", json.dumps(figures["service"]), flush=True)
    if arguments.leaks:
        figures["leaks"] = await measure_leaks(arguments.leaks)
        print("leaks", json.dumps(figures["leaks"]), flush=True)
    if arguments.tries and all(name in figures["clients"] for name in CLIENTS):
        memory = partial(resident, os.getpid())
        figures["tries"] = await measure_tries(arguments.tries, count_children, count_files, memory)
        print("tries", json.dumps(figures["tries"]), flush=True)
    write(figures)
    rows = [*figures["clients"].values(), *(figures[name] for name in ("service", "leaks", "tries") if name in figures)]
    broken = [f"{name}: {row[name]}" for row in rows for name in BOUNDS if name in row and row[name] > BOUNDS[name]]
    print("every bound is kept" if not broken else f"NOT kept: {'; '.join(broken)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
