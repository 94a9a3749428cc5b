"""The demo's gateways with client libraries."""

import asyncio
import os
from pathlib import Path

import pytest

from exporter.cli.demo import environments_prefix, fleet, library_gateways
from exporter.cli.demo_clients import FAULTY, SMALL, DemoClients, prepare
from exporter.clients.environments import VARIABLE
from exporter.config import Config
from exporter.model import ClientSpec, Outcome, Verdict
from exporter.service.service import Service
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState
from exporter.verdict.explanation import headline
from tests.shell.clients_real import make_client
from tests.shell.support import PATIENCE


def specs(*names: str) -> dict[str, ClientSpec]:
    return {name: ClientSpec(name, name.partition("-")[0], interval=12.0, deadline=5.0) for name in names}


@pytest.mark.parametrize(
    ("names", "gateways"),
    [
        ((), []),
        (("ib_async",), ["libraries-all-well", "silent-for-every-library"]),
        (SMALL, ["libraries-all-well", "silent-for-every-library", "libraries-fail-alike"]),
        (
            (*SMALL, FAULTY),
            ["one-version-fails", "libraries-all-well", "silent-for-every-library", "libraries-fail-alike"],
        ),
        (("ibapi-9.81.1",), ["reply-in-two-segments", "libraries-all-well", "silent-for-every-library"]),
    ],
)
def test_the_gateways_show_what_the_installed_libraries_can_show(names: tuple[str, ...], gateways: list[str]) -> None:
    made = library_gateways(specs(*names))
    assert [gateway.name for gateway in made] == gateways
    assert all(set(gateway.clients) <= set(names) for gateway in made)


async def test_the_demo_goes_on_without_what_cannot_be_installed_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    (tmp_path / "file").touch()  # where a folder must be
    lines: list[str] = []
    clients: DemoClients = await prepare(lines.append)
    assert clients.specs == {}
    assert set(clients.missing) == {*SMALL, FAULTY}
    assert [line for line in lines if "is not tried" in line] == [
        f"  {name} is not tried: {clients.missing[name]}" for name in (*SMALL, FAULTY)
    ]


def test_the_command_that_the_demo_suggests_finds_the_libraries_that_make_has_put_into_the_repository(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, str(Path.cwd() / "build" / "clients"))
    assert environments_prefix() == f"{VARIABLE}={Path('build', 'clients')} "
    monkeypatch.delenv(VARIABLE)
    assert environments_prefix() == ""


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_one_version_that_fails_is_named_beside_libraries_that_work_and_some_that_fail_alike() -> None:
    for name in SMALL:
        make_client(name)
    prepared = await prepare(print)
    if FAULTY in prepared.missing and not os.environ.get("CI"):
        pytest.skip(prepared.missing[FAULTY])
    clients = {name: prepared.specs[name] for name in (*SMALL, FAULTY)}
    async with fleet(clients) as targets, Service(ExporterState("test", "3")) as service:
        config = Config(targets=tuple(target for target in targets if target.clients), clients=clients)
        await service.apply(config.targets, clients)
        states = service.states

        def shown() -> bool:
            return (
                states["one-version-fails"].verdict is Verdict.CLIENT_FAULT
                and states["libraries-fail-alike"].verdict is Verdict.CLIENTS_FAILING
                and states["silent-for-every-library"].verdict is Verdict.API_SILENT
                and works(states["libraries-all-well"])
            )

        async with asyncio.timeout(2 * PATIENCE):
            await service.wait_for(shown)
        alike = [change.verdict for change in states["libraries-fail-alike"].changes]
        assert Verdict.CLIENT_FAULT not in alike
        fault = states["one-version-fails"]
        assert fault.last is not None
        assert "ib_async-1.0.0 (ib_async 1.0.0 on Python 3." in headline(fault.last, fault.target, fault.verdict)
        assert {result.client: result.ok for result in fault.last.results if result.client} == {
            "ib_async": True,
            "ib_insync": True,
            FAULTY: False,
        }


def works(state: TargetState) -> bool:
    last = state.last
    clients = [result.outcome for result in last.results if result.client] if last else []
    return clients == [Outcome.OK] * len(SMALL)
