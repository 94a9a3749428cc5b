"""One look at a target with its client libraries: what the limit of the whole look means for each of its parts."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from exporter.cli.diagnose import UNPROVEN, examine
from exporter.clients.pool import ClientPool
from exporter.clients.worker import Worker
from exporter.model import ClientSpec, Mode, Outcome, Report, Target, Verdict
from exporter.simulator.gateway import Gateway
from exporter.verdict.rules import judge
from tests.shell.clients_fakes import write_driver

SPEC = ClientSpec("fake", "fake")
LIMIT = 3.0  # seconds
SLACK = 1.5  # seconds, to end the worker on a busy machine; the target's own deadline is far longer


def crew(folder: Path) -> ClientPool:
    return ClientPool(lambda spec: Worker(spec.name, write_driver(folder), sys.executable))


async def look(gateway: Gateway, members: ClientPool, tell: Callable[[str], object]) -> tuple[Report, Verdict, float]:
    target = Target("t", gateway.host, gateway.port, Mode.PAPER, deadline=20.0, client_ids=(9001,))
    loop = asyncio.get_running_loop()
    began = loop.time()
    report = await examine(target, [SPEC], LIMIT, tell, members)
    return report, judge(report, target), loop.time() - began


async def test_a_gateway_that_falls_silent_amid_the_look_costs_no_more_than_the_limit(tmp_path: Path) -> None:
    async with Gateway("ok") as gateway:
        changes: list[asyncio.Task[None]] = []

        def tell(what: str) -> None:
            if what.startswith("trying"):
                changes.append(asyncio.create_task(gateway.set_mode("silent")))

        report, verdict, took = await look(gateway, crew(tmp_path), tell)
        assert took < LIMIT + SLACK
        # The first look found it well, and no later one had its time: nothing else is claimed, of nobody.
        assert verdict is Verdict.HEALTHY
        client = report.results[-1]
        assert (client.outcome, client.detail) == (Outcome.UNAVAILABLE, UNPROVEN)
        assert report.connections == gateway.recorder.opened
