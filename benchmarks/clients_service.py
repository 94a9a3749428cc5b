"""Hundreds of tries of real libraries through the whole service, some of them hung: what is left of them.

Twelve simulated gateways are tried with ib_async, and four more with ibapi 9.81.1, which hangs for ever on their reply
in two segments and is killed. The figures are taken while nothing is under way: once after a warm-up, once at the end.
The gateways are a process of their own, which also counts what is still connected to it.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from exporter.clients.pool import ClientPool
from exporter.model import ClientSpec, Layer, Mode, Outcome, Target
from exporter.service.service import Service
from exporter.state.exporter import ExporterState

CLIENTS = {
    "ib_async": ClientSpec("ib_async", "ib_async", interval=1.0, deadline=10.0),
    "ibapi-9.81.1": ClientSpec("ibapi-9.81.1", "ibapi", interval=1.0, deadline=2.0),
}
PASSING, HANGING = 12, 4  # gateways
WARM_UP = 0.25  # of the tries
PATIENCE = 5.0  # seconds that a try may take on average, all in all
GATEWAYS = """
import asyncio, sys
from contextlib import AsyncExitStack
from exporter.simulator.gateway import Gateway
async def main(modes):
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(Gateway(mode, kept=8)) for mode in modes]
        print(*[gateway.port for gateway in gateways], flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            of = lambda name: sum(getattr(gateway.ledger, name) for gateway in gateways)
            print(of("open_now"), of("opened"), of("forbidden"), flush=True)
asyncio.run(main(sys.argv[1:]))
"""

Count = Callable[[], float]


@asynccontextmanager
async def gateways() -> AsyncIterator[tuple[list[int], Callable[[], Any]]]:
    """Their ports, and what asks for the connections open now, opened ever, and messages that no monitor may send."""
    modes = ["ok"] * PASSING + ["split_reply"] * HANGING
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", GATEWAYS, *modes, stdin=pipe, stdout=pipe)
    assert child.stdin is not None  # noqa: S101 - asked for above
    assert child.stdout is not None  # noqa: S101 - as well
    talk, listen = child.stdin, child.stdout

    async def ask() -> list[int]:
        talk.write(b"\n")
        return [int(number) for number in (await listen.readline()).split()]

    try:
        yield [int(port) for port in (await listen.readline()).split()], ask
    finally:
        talk.close()
        await child.wait()


def make_targets(ports: Sequence[int]) -> list[Target]:
    """One for each gateway, each with its client; half of them are watched."""
    names = ["ib_async"] * PASSING + ["ibapi-9.81.1"] * HANGING
    return [
        Target(
            f"gateway {number}",
            "127.0.0.1",
            port,
            Mode.PAPER,
            client_ids=(9001, 9002, 9003),
            clients=(name,),
            watch=number % 2 == 0,
        )
        for number, (name, port) in enumerate(zip(names, ports, strict=True))
    ]


def all_tried(service: Service) -> bool:
    """Every library is imported, and the service has been through all that it does."""
    return all(state.client_probes for state in service.states.values())


def count_tries(service: Service) -> tuple[int, int]:
    """How many were made since the clients were configured, and how many of these hung."""
    states = service.states.values()
    made = sum(count for state in states for (layer, _), count in state.probes.items() if layer is Layer.CLIENT)
    hung = sum(
        count for state in states for key, count in state.failed.items() if key[::2] == (Layer.CLIENT, Outcome.TIMEOUT)
    )
    return made, hung


async def measure_tries(tries: int, children: Count, files: Count, memory: Count) -> dict[str, Any]:
    """What so many tries leave of processes, files and memory of this process, and of connections to the gateways."""
    async with gateways() as (ports, ask):
        nothing = children(), files()
        async with Service(ExporterState("bench", "3"), pool=ClientPool()) as service:
            targets = make_targets(ports)
            kept: list[tuple[float, float, float]] = []
            made = hung = 0
            began = time.perf_counter()
            for wanted in (int(tries * WARM_UP), tries):
                await service.apply(targets, CLIENTS)
                async with asyncio.timeout(tries * PATIENCE + 60):
                    while not all_tried(service) or count_tries(service)[0] < wanted:  # noqa: ASYNC110 - they have no event
                        await asyncio.sleep(0.1)
                made, hung = count_tries(service)
                await service.apply([], CLIENTS)  # nothing is under way, and the libraries stay imported
                await quiet(ask)
                kept.append((children(), files(), memory()))
        opened, _, forbidden = await quiet(ask)
        left = children() - nothing[0], files() - nothing[1]
    (processes, descriptors, before), (processes_after, descriptors_after, after) = kept
    return {
        "tries": made,
        "hung": hung,
        "seconds": time.perf_counter() - began,
        "processes": max(processes_after - processes, left[0]),
        "files": max(descriptors_after - descriptors, left[1]),
        "sockets": opened,
        "forbidden": forbidden,
        "memory_mb": after - before,
    }


async def quiet(ask: Callable[[], Any]) -> list[int]:
    """Wait until nothing is connected to a gateway, for ten seconds at most."""
    told: list[int] = []
    for _ in range(100):
        told = await ask()
        if told[0] == 0:
            break
        await asyncio.sleep(0.1)
    return told
