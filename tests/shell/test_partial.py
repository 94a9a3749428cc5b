"""A relay of whose backends one does not answer: it is named, and no library is accused of it."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from exporter.cli.diagnose import examine
from exporter.clients.pool import ClientPool
from exporter.model import ClientSpec, Layer, Mode, Outcome, Target, Verdict
from exporter.service.service import Service
from exporter.simulator.gateway import Gateway
from exporter.state.exporter import ExporterState
from exporter.verdict.rules import judge
from tests.shell.clients_fakes import InLoopWorker
from tests.shell.relay import round_robin

pytestmark = pytest.mark.turned_clock

ACCUSING = {Verdict.CLIENT_BREAKS_GATEWAY, Verdict.CLIENT_FAULT, Verdict.CLIENTS_FAILING}
FAULTS = {"hanging": "silent", "eof": "close_at_once", "reset": "reset_at_once"}
BACKENDS = (2, 3, 4)
MINUTES_20 = 1200.0


def pool() -> ClientPool:
    return ClientPool(lambda spec: InLoopWorker(spec.name))


async def test_a_relay_with_several_backends_is_named_and_accuses_no_library_in_twenty_minutes() -> None:
    clients = ("one", "other")
    specs = {name: ClientSpec(name, "fake") for name in clients}
    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(Gateway("ok"))
        targets = []
        for fault, mode in FAULTS.items():
            bad = await stack.enter_async_context(Gateway(mode))
            for backends in BACKENDS:
                ports = [*[good.port] * (backends - 1), bad.port]
                port = await stack.enter_async_context(round_robin(*ports))
                target = Target(f"{fault} {backends}", "127.0.0.1", port, Mode.PAPER)
                targets.append(replace(target, client_ids=(9001,), clients=clients))
        service = await stack.enter_async_context(Service(ExporterState("test", "3"), pool=pool()))
        await service.apply(targets, specs)
        named: set[str] = set()
        verdicts: dict[str, set[Verdict]] = {target.name: set() for target in targets}
        until = asyncio.get_running_loop().time() + MINUTES_20
        while asyncio.get_running_loop().time() < until:
            await service.wait_for(lambda: True)
            await asyncio.sleep(1.0)
            for name, state in service.states.items():
                verdicts[name].add(state.verdict)
                if state.last is not None and "a relay with several backends" in " ".join(state.last.remarks):
                    named.add(name)
        for name, state in service.states.items():
            assert not verdicts[name] & ACCUSING, (name, verdicts[name])
            tried = sum(count for key, count in state.probes.items() if key[0] is Layer.CLIENT)
            assert tried >= 3, (name, state.falls)
            assert state.last is not None
        assert named == {target.name for target in targets}


@pytest.mark.parametrize("backends", BACKENDS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_diagnosis_through_such_a_relay_accuses_no_library_whatever_it_meets(fault: str, backends: int) -> None:
    async with Gateway("ok") as good, Gateway(FAULTS[fault]) as bad:
        ports = [*[good.port] * (backends - 1), bad.port]
        for first in range(backends):
            async with round_robin(*ports[first:], *ports[:first]) as port:
                target = Target("relay", "127.0.0.1", port, Mode.PAPER, 15.0, 0.5, client_ids=(9001,))
                spec = ClientSpec("one", "fake", deadline=1.5)
                report = await examine(target, [spec], None, lambda _: None, pool=pool())
                assert judge(report, target) not in ACCUSING, report
                [client] = [result for result in report.results if result.client]
                not_probed = client.outcome in (Outcome.SKIPPED, Outcome.UNAVAILABLE)  # the machine is busy
                assert client.ok or not_probed or client.doubt or not report.results[1].ok, report
