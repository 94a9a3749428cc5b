"""What a client library connects to. It looks names up by itself, so a discovered name is looked up for it."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from exporter.clients.pool import PooledClient
from exporter.clients.probe import ENDING, SETTLING, EndpointLease, probe_client
from exporter.clients.worker import WorkerResult
from exporter.model import Cause, ClientSpec, Mode, Outcome, Target
from exporter.probes.resolver import Address, Query, Resolver, UnresolvedError
from exporter.simulator.gateway import Gateway
from tests.shell.clients_fakes import InLoopWorker
from tests.shell.support import PATIENCE

pytestmark = pytest.mark.turned_clock


class Remembering(InLoopWorker):
    """It remembers what it was told to connect to, and connects to this machine."""

    def __init__(self) -> None:
        super().__init__("fake")
        self.hosts: list[str] = []

    async def probe(
        self, host: str, port: int, client_id: int, deadline: float, *_: object, **__: object
    ) -> WorkerResult:
        self.hosts.append(host)
        return await super().probe("127.0.0.1", port, client_id, deadline)


async def probed(
    answers: Sequence[str], *, discovered: bool = True, host: str = "gateway.example"
) -> tuple[Outcome, list[str]]:
    """The outcome of a client's probe of a gateway by its name, and what the client was told to connect to."""

    def look_up(_: Query) -> list[Address]:
        if not answers:
            raise UnresolvedError(Cause.NAME_UNKNOWN, "")
        return [Address(2, (answer, gateway.port)) for answer in answers]

    async with Gateway("ok") as gateway:
        target = Target("a", host, gateway.port, Mode.PAPER, 30.0, 2.0, client_ids=(9001,), discovered=discovered)
        worker = Remembering()
        member = PooledClient(ClientSpec("fake", "fake"), worker)
        probe = await probe_client(target, member, Resolver(look_up), 5.0, EndpointLease())
    return probe.result.outcome, worker.hosts


async def test_a_client_gets_the_address_of_a_discovered_name_that_may_be_connected_to() -> None:
    assert await probed(["169.254.169.254", "127.0.0.1"]) == (Outcome.OK, ["127.0.0.1"])


async def test_a_client_gets_the_address_that_answered_before() -> None:
    assert await probed(["127.0.0.2", "127.0.0.1"]) == (Outcome.OK, ["127.0.0.1"])


async def test_a_client_is_not_started_where_a_discovered_name_leads_to_forbidden_addresses_alone() -> None:
    assert await probed(["169.254.169.254"]) == (Outcome.SKIPPED, [])


async def test_a_client_looks_up_the_name_of_a_configured_target_as_a_program_does() -> None:
    assert await probed(["127.0.0.1"], discovered=False) == (Outcome.OK, ["gateway.example"])


async def test_an_address_is_handed_on_as_it_is() -> None:
    assert await probed([], host="127.0.0.1") == (Outcome.OK, ["127.0.0.1"])


async def test_a_lookup_that_hangs_takes_no_longer_than_the_client_may() -> None:
    asked, answer = threading.Semaphore(0), threading.Event()

    def look_up(_: Query) -> list[Address]:
        asked.release()
        answer.wait(PATIENCE)
        return [Address(2, ("127.0.0.1", 1))]

    target = Target("a", "gateway.example", 1, Mode.PAPER, 30.0, 2.0, client_ids=(9001,), discovered=True)
    worker, now, limit = Remembering(), asyncio.get_running_loop().time, 20.0
    member, began = PooledClient(ClientSpec("fake", "fake"), worker), now()
    until = began + SETTLING + ENDING + 0.1
    try:
        probe = await probe_client(
            target, member, Resolver(look_up), limit, EndpointLease(), until=until, regardless=True
        )
        assert now() - began < limit / 2
    finally:
        answer.set()
    assert asked.acquire(timeout=PATIENCE)
    assert (probe.result.outcome, worker.hosts) == (Outcome.SKIPPED, [])
