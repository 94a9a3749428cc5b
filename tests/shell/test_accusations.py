"""No library is accused of what the gateway, or the relay before it, did: the real libraries through the service."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from exporter.clients.pool import ClientPool
from exporter.model import ClientSpec, Doubt, Layer, LayerResult, Mode, Outcome, Target, Verdict
from exporter.service.service import Service
from exporter.simulator.gateway import Gateway
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState
from tests.shell.clients_real import make_client
from tests.shell.relay import Cut, Relay, relaying
from tests.shell.support import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CLIENTS = ("ib_async", "ibapi", "ibapi-9.81.1", "nautilus_trader")
INTERVAL, DEADLINE = 8.0, 5.0  # seconds: of the wire, of a client
HTTP = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
# What befalls one connection of a client, while all is well before and after it. The bytes: the reply to the hello ends
# at 30, the order id at 84, the farms' notices at some 420, EUR.USD at some 850.
ONCE: Mapping[str, Cut] = {
    "end at the accept": Cut(reset=False),
    "reset at the accept": Cut(),
    "end within the reply": Cut(12, reset=False),
    "reset after the reply": Cut(30),
    "reset after the order id": Cut(84),
    "reset within the notices": Cut(200),
    "end while it asks": Cut(460, reset=False),
    "reset while it asks": Cut(520),
    "words of another": Cut(reset=False, says=HTTP),
    "freeze": Cut(84, hold=DEADLINE + 1.0),
}
BRIEF = {"a freeze of three seconds": Cut(84, hold=3.0, mends=True), "a slow reply": Cut(hold=3.0, mends=True)}


@dataclass(frozen=True, slots=True)
class Staged:
    """A gateway behind a relay, and what the service makes of it."""

    relay: Relay
    service: Service
    target: Target

    @property
    def state(self) -> TargetState:
        """What is known of it now."""
        return self.service.states[self.target.name]


@asynccontextmanager
async def staged(
    client: str, cuts: Mapping[str, Cut], deadline: float = DEADLINE, interval: float = INTERVAL
) -> AsyncIterator[list[Staged]]:
    """One target for each cut, each with this client, whose library is imported already."""
    worker = make_client(client)
    await worker.start()
    async with AsyncExitStack() as stack:
        service = Service(ExporterState("test", "3"), pool=ClientPool(lambda _: worker))
        stages = []
        for name, cut in cuts.items():
            gateway = await stack.enter_async_context(Gateway("ok"))
            relay = await stack.enter_async_context(relaying(gateway.port, cut))
            target = Target(name, "127.0.0.1", relay.port, Mode.PAPER, interval, 2.0)
            target = replace(target, client_ids=(9001, 9002), clients=(client,))
            stages.append(Staged(relay, service, target))
        await stack.enter_async_context(service)
        spec = ClientSpec(client, client.partition("-")[0], deadline=deadline)
        await service.apply([stage.target for stage in stages], {client: spec})
        yield stages


async def follow(stage: Staged) -> tuple[list[LayerResult], set[Verdict]]:
    """The results of the client until it gets through, and every verdict meanwhile."""
    [client] = stage.target.clients
    results: list[LayerResult] = []
    verdicts = set()
    async with asyncio.timeout(PATIENCE):
        while not results or not results[-1].ok:
            verdicts.add(stage.state.verdict)
            trial = stage.state.client_probes.get(client)
            if trial is not None and trial.result not in results:
                results.append(trial.result)
            await asyncio.sleep(0.01)
    return results, verdicts


@pytest.mark.parametrize("client", CLIENTS)
async def test_what_befalls_one_connection_is_shown_accuses_nobody_and_is_tried_again_soon(client: str) -> None:
    async with staged(client, ONCE) as stages:
        for stage, followed in zip(stages, await asyncio.gather(*map(follow, stages)), strict=True):
            (results, verdicts), name = followed, stage.target.name
            assert stage.relay.met is not None, name
            assert verdicts <= {Verdict.UNKNOWN, Verdict.HEALTHY}, (name, results)
            failure, _ = results
            assert failure.outcome in (Outcome.CLOSED, Outcome.TIMEOUT, Outcome.GARBLED), (name, failure)
            assert failure.doubt is Doubt.ONCE
            assert stage.state.probes[Layer.CLIENT, client] == 2, name
            assert sum(count for key, count in stage.state.failed.items() if key[:2] == (Layer.CLIENT, client)) == 1


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_gateway_that_freezes_for_a_moment_or_is_slow_fails_no_library(client: str) -> None:
    async with staged(client, BRIEF, deadline=15.0, interval=20.0) as stages:
        for results, verdicts in await asyncio.gather(*map(follow, stages)):
            assert len(results) == 1
            assert verdicts <= {Verdict.UNKNOWN, Verdict.HEALTHY}
