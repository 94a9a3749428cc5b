"""Clients through the running service: their own interval, one at a time, believed only between two answers."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.clients.pool import ClientPool
from exporter.clients.worker import Worker
from exporter.model import Cause, ClientSpec, Layer, LayerResult, Mode, Outcome, Target, Verdict
from exporter.probes.resolver import Resolver
from exporter.service.endpoint_lock import EndpointLock
from exporter.service.service import Service
from exporter.simulator.gateway import Gateway
from exporter.simulator.recorder import ClientEnd
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState
from exporter.verdict.client_blame import ClientProbe, answered
from exporter.verdict.explanation import explain
from tests.shell.clients_fakes import write_driver
from tests.shell.support import PATIENCE, alive, descendants, descriptors, until

# Says hello and begins a session with a bare socket, as a library would; then does {after}.
CONNECTS = """
import socket, struct
def begin(host, port, client_id, observer):
    def message(text):
        return struct.pack(">I", len(text)) + text
    observer.opened = True
    s = socket.create_connection((host, port), 100)
    observer.socket = s
    s.sendall(b"API\\0" + message(b"v100..176"))
    size = struct.unpack(">I", s.recv(4))[0]
    s.recv(size)
    observer.reach("connected", 176)
    s.sendall(message(b"71\\x002\\x00%d\\x00\\x00" % client_id))
    {after}
    observer.reach("ready")
    observer.reach("accounts", ["DU1234567"])
    return Session(observer)
"""
FAILS = "raise ValueError('a bug of the library')"
HANGS = "time.sleep(1000)"


def connects(after: str = "pass") -> str:
    return CONNECTS.replace("{after}", after)


def make_pool(folder: Path, extras: dict[str, str]) -> ClientPool:
    """Each client with a driver of its own."""

    def open_one(spec: ClientSpec) -> Worker:
        library = write_driver(folder, extras[spec.name], spec.name)
        return Worker(spec.name, library, spec.python or sys.executable)

    return ClientPool(open_one)


@asynccontextmanager
async def watching(folder: Path, *targets: Target, **extras: str) -> AsyncIterator[Service]:
    async with Service(ExporterState("test", "3"), pool=make_pool(folder, extras)) as service:
        await service.apply(targets, {name: ClientSpec(name, "fake", deadline=4.0) for name in extras})
        yield service


def at(gateway: Gateway, *clients: str, interval: float = 20.0, deadline: float = 2.0) -> Target:
    return Target(
        "gateway", gateway.host, gateway.port, Mode.PAPER, interval, deadline, client_ids=(9001,), clients=clients
    )


async def tried(service: Service, client: str, within: float = PATIENCE) -> LayerResult:
    async with asyncio.timeout(within):
        await service.wait_for(lambda: client in service.states["gateway"].client_probes)
    return service.states["gateway"].client_probes[client].result


async def in_verdict(service: Service, verdict: Verdict, within: float = PATIENCE) -> TargetState:
    async with asyncio.timeout(within):
        await service.wait_for(lambda: service.states["gateway"].verdict is verdict)
    return service.states["gateway"]


async def test_a_client_that_gets_through_leaves_the_target_healthy_and_is_shown(tmp_path: Path) -> None:
    async with Gateway("ok") as gateway, watching(tmp_path, at(gateway, "good"), good=connects()) as service:
        result = await tried(service, "good")
        state = service.states["gateway"]
        assert result.ok
        assert result.installed is not None
        assert (result.installed.version, state.verdict) == ("1.2.3", Verdict.HEALTHY)
        assert state.probes[Layer.CLIENT, "good"] == 1
        assert sum(state.client_times["good"].counts) == 1
        assert state.last is not None
        assert state.last.results[-1] is result
        assert state.connections == gateway.recorder.opened == 3  # the wire, the handshake before, the client


async def test_a_failure_between_two_answers_is_the_clients_fault(tmp_path: Path) -> None:
    async with (
        Gateway("ok") as gateway,
        watching(tmp_path, at(gateway, "good", "bad"), good=connects(), bad=connects(FAILS)) as service,
    ):
        state = await in_verdict(service, Verdict.CLIENT_FAULT)
        assert state.last is not None
        said = explain(state.last, state.target, state.verdict)
        assert said.headline.startswith("bad (bad 1.2.3 on Python 3.")
        assert state.connections == gateway.recorder.opened
        assert gateway.recorder.open_most == 1


async def test_clients_that_all_fail_accuse_no_single_one(tmp_path: Path) -> None:
    bad = connects(FAILS)
    async with Gateway("ok") as gateway, watching(tmp_path, at(gateway, "one", "two"), one=bad, two=bad) as service:
        state = await in_verdict(service, Verdict.CLIENTS_FAILING)
        assert Verdict.CLIENT_FAULT not in [change.verdict for change in state.changes]


async def test_a_client_is_not_started_while_the_wire_fails(tmp_path: Path) -> None:
    async with Gateway("silent") as gateway, watching(tmp_path, at(gateway, "good"), good=connects()) as service:
        result = await tried(service, "good")
        state = service.states["gateway"]
        assert (result.outcome, state.verdict) == (Outcome.SKIPPED, Verdict.API_SILENT)
        assert (Layer.CLIENT, "good") not in state.probes
        assert not any(b"v100..176" in record.hello for record in gateway.recorder), "the client's hello"


async def test_error_326_leads_to_the_next_reserved_id_and_is_counted(tmp_path: Path) -> None:
    taken = "if client_id == 9001:\n        observer.error(326, 'in use')\n        return Session(observer)"
    async with Gateway("ok") as gateway:
        target = replace(at(gateway, "good"), client_ids=(9001, 9002))
        async with watching(tmp_path, target, good=connects(taken)) as service:
            result = await tried(service, "good")
            assert result.ok, result
            assert service.states["gateway"].conflicts == 1
            assert service.states["gateway"].verdict is Verdict.HEALTHY


async def test_error_326_on_every_id_accuses_neither_the_gateway_nor_the_client(tmp_path: Path) -> None:
    taken = "observer.error(326, 'in use')\n    return Session(observer)"
    async with Gateway("ok") as gateway, watching(tmp_path, at(gateway, "good"), good=connects(taken)) as service:
        result = await tried(service, "good")
        assert result.cause is Cause.CLIENT_ID_IN_USE
        assert service.states["gateway"].verdict is Verdict.HEALTHY


async def test_a_client_that_cannot_be_started_says_nothing_of_the_target(tmp_path: Path) -> None:
    async with Gateway("ok") as gateway, watching(tmp_path, at(gateway, "good"), good="import no_such") as service:
        result = await tried(service, "good")
        assert result.outcome is Outcome.UNAVAILABLE
        await in_verdict(service, Verdict.HEALTHY)
        [status] = service.exporter.clients
        assert status.installed is None
        assert "no_such" in (status.problem or "")


async def test_a_probe_of_the_wire_waits_for_no_client_whose_time_is_over() -> None:
    async with Gateway("ok") as gateway, asyncio.timeout(PATIENCE):
        lock, target = EndpointLock(Resolver()), at(gateway, deadline=1000.0)
        now = asyncio.get_running_loop().time()
        async with lock.lease((target.host, target.port), now) as lease:
            probing = asyncio.create_task(lock.probe(target, None, lambda _: None))
            assert await lease.work(asyncio.create_task(hang())) is None
        assert answered(await probing)


async def hang() -> ClientProbe:
    await asyncio.Event().wait()
    raise AssertionError


async def test_one_process_serves_many_targets_and_ends_with_the_service(tmp_path: Path) -> None:
    before = descendants()
    async with Gateway("ok") as one, Gateway("ok") as two:
        targets = [at(one, "good", interval=6.0), replace(at(two, "good", interval=6.0), name="other")]
        async with watching(tmp_path, *targets, good=connects()) as service:
            async with asyncio.timeout(PATIENCE):
                await service.wait_for(lambda: all(state.client_probes for state in service.states.values()))
            [pid] = descendants() - before
        assert not alive(pid)


async def test_a_reload_ends_the_processes_of_clients_that_are_gone_or_changed(tmp_path: Path) -> None:
    before = descendants()
    async with Gateway("ok") as gateway:
        target = at(gateway, "good")
        async with watching(tmp_path, target, good=connects()) as service:
            await tried(service, "good")
            [first] = descendants() - before
            changed = {"good": ClientSpec("good", "fake", deadline=3.0)}
            await service.apply([target], changed)
            assert not alive(first)
            assert service.states["gateway"].client_probes == {}
            await tried(service, "good")
            await service.apply([replace(target, clients=())], {})
            assert descendants() == before


async def test_the_end_in_the_middle_of_a_try_leaves_nothing(tmp_path: Path) -> None:
    before, files = descendants(), descriptors()
    async with Gateway("ok") as gateway:
        async with watching(tmp_path, at(gateway, "bad"), bad=connects(HANGS)):
            await until(lambda: gateway.recorder.opened >= 3)
        assert descendants() == before
        await until(lambda: all(record.client_end is not ClientEnd.OPEN for record in gateway.recorder))
    await until(lambda: descriptors() <= files + 1)


async def test_the_connections_of_a_try_that_a_reload_cuts_short_are_counted(tmp_path: Path) -> None:
    async with Gateway("ok") as gateway:
        target = at(gateway, "bad")
        async with watching(tmp_path, target, bad=connects(HANGS)) as service:
            await until(lambda: gateway.recorder.opened >= 3)
            await service.apply([replace(target, interval=25.0, clients=())])
            assert service.states["gateway"].connections == 3  # the wire, the handshake before, the client


@pytest.mark.slow
async def test_many_tries_leave_no_process_and_no_file(tmp_path: Path) -> None:
    """Three clients, of which one fails and one hangs, probed three times over; `make bench` has thousands."""
    extras = {"good": connects(), "fails": connects(FAILS), "hangs": connects(HANGS)}
    async with Gateway("ok") as gateway:
        target = at(gateway, *extras, interval=300.0)
        async with watching(tmp_path, target, **extras) as service:
            left = []
            for turn in range(3):
                specs = {name: ClientSpec(name, "fake", deadline=1.0, interval=600.0 + turn) for name in extras}
                await service.apply([target], specs)  # every client has another name now, and is probed again
                for name in extras:
                    await tried(service, name, within=PATIENCE)
                left.append((len(descendants()), descriptors()))
            assert max(left[1:]) <= left[0]
            assert gateway.recorder.open_most == 1
