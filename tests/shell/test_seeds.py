"""The two documents that this project grew from, replayed with the real libraries.

(a) "TWS API not responding": the port is open, and the raw handshake, ibapi, ib_insync and nautilus_trader all fail.
(b) "NautilusTrader Adapter Bug": the handshake succeeds, nautilus_trader 1.220.0 fails, and other libraries succeed.
"""

import asyncio
from dataclasses import replace

import pytest

from exporter.cli.diagnose import examine
from exporter.clients.pool import ClientPool
from exporter.model import ClientSpec, Layer, Mode, Outcome, Report, Target, Verdict
from exporter.simulator.gateway import Gateway
from exporter.state.target import TargetState
from exporter.verdict.evidence import release
from exporter.verdict.explanation import explain
from exporter.verdict.rules import judge
from tests.shell.clients_real import CLIENTS, make_client
from tests.shell.support import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def target(gateway: Gateway, **changes: object) -> Target:
    common = Target("paper", gateway.host, gateway.port, Mode.PAPER, deadline=4.0, client_ids=(9001, 9002))
    return replace(common, **changes)  # type: ignore[arg-type]


def specs(*names: str) -> list[ClientSpec]:
    """Clients with the installed environments of these names; without one skip, in CI fail."""
    for name in names:
        make_client(name)
    return [ClientSpec(name, name.partition("-")[0], deadline=8.0) for name in names]


async def diagnosed(mode: str, *names: str) -> tuple[Target, Report, Verdict]:
    async with Gateway(mode) as gateway:
        wanted = target(gateway)
        report = await examine(wanted, specs(*names), None, lambda _: None)
        assert gateway.recorder.open_most <= 1
        assert (
            gateway.recorder.opened == report.connections or mode == "refused"
        )  # an attempt that reached no program counts
        assert gateway.recorder.forbidden == 0
        return wanted, report, judge(report, wanted)


def outcomes(report: Report) -> dict[str, Outcome]:
    return {result.client or result.layer.value: result.outcome for result in report.results}


async def test_an_open_port_with_a_silent_api_fails_every_library_and_none_is_blamed() -> None:
    names = ("ibapi", "ib_insync", "nautilus_trader")
    wanted, report, verdict = await diagnosed("silent", *names)
    assert outcomes(report) == {
        "port": Outcome.OK,
        "handshake": Outcome.TIMEOUT,
        "session": Outcome.SKIPPED,
        **dict.fromkeys(names, Outcome.TIMEOUT),
    }
    assert verdict is Verdict.API_SILENT
    said = explain(report, wanted, verdict)
    assert any("none of them is to blame" in line for line in said.evidence)
    actions = " ".join(said.actions)
    for words in (
        '"Enable ActiveX and Socket Clients" is ticked',
        f"the socket port is {wanted.port}",
        "the trusted IPs",
        "Global Configuration > API > Settings",
        "wait 10 seconds",
        "log in to the paper account",
        "ibkr-exporter diagnose",
    ):
        assert words in actions


async def test_a_good_handshake_and_one_failing_library_is_that_librarys_fault() -> None:
    wanted, report, verdict = await diagnosed("split_reply", "nautilus_trader-1.220.0", "ib_insync", "ib_async")
    assert outcomes(report) == {
        "port": Outcome.OK,
        "handshake": Outcome.OK,
        "session": Outcome.OK,
        "nautilus_trader-1.220.0": Outcome.TIMEOUT,
        "ib_insync": Outcome.OK,
        "ib_async": Outcome.OK,
    }
    assert verdict is Verdict.CLIENT_FAULT
    said = explain(report, wanted, verdict)
    assert "nautilus_trader 1.220.0 on Python 3." in said.headline
    assert "ib_insync" not in said.headline
    evidence = "\n".join(said.evidence)
    assert "failed at the stage connect" in evidence
    assert "ib_insync 0.9.86" in evidence
    assert "server version 226" in evidence
    assert any("another version" in action for action in said.actions)


async def test_all_libraries_pass_on_a_gateway_that_works() -> None:
    _, report, verdict = await diagnosed("ok", *CLIENTS)
    assert verdict is Verdict.HEALTHY
    clients = [result for result in report.results if result.client]
    assert [result.client for result in clients] == list(CLIENTS)
    assert all(result.ok and result.installed and release(result.installed) for result in clients)


async def test_a_closed_port_leaves_the_libraries_alone() -> None:
    _, report, verdict = await diagnosed("refused", "ib_insync")
    assert (outcomes(report)["ib_insync"], verdict) == (Outcome.SKIPPED, Verdict.PORT_CLOSED)


def tries(state: TargetState) -> int:
    return state.probes.get((Layer.CLIENT, "ibapi-9.81.1"), 0)


async def test_the_service_finds_the_fault_of_one_version_and_leaves_the_other_alone() -> None:
    from exporter.service.service import Service  # noqa: PLC0415
    from exporter.state.exporter import ExporterState  # noqa: PLC0415

    make_client("ibapi-9.81.1")
    clients = {"ibapi-9.81.1": ClientSpec("ibapi-9.81.1", "ibapi", deadline=5.0)}
    async with (
        Gateway("ok") as good,
        Gateway("split_reply") as split,
        Service(ExporterState("test", "3"), pool=ClientPool()) as service,
    ):
        targets = [
            target(good, name="good", interval=8.0, clients=tuple(clients), watch=True),
            target(split, name="split", interval=8.0, clients=tuple(clients)),
        ]
        await service.apply(targets, clients)
        # Two tries that time out, each with a wait for the wire, and the import. On a busy machine the library may get both
        # parts of a reply at once, and pass.
        async with asyncio.timeout(2 * PATIENCE):
            await service.wait_for(
                lambda: (
                    bool(service.states["good"].client_probes)
                    and service.states["split"].verdict is Verdict.CLIENT_FAULT
                )
            )
        verdicts = {name: state.verdict for name, state in service.states.items()}
        [status] = service.exporter.clients
    assert verdicts == {"good": Verdict.HEALTHY, "split": Verdict.CLIENT_FAULT}
    assert status.installed is not None
    assert status.installed.version.startswith("9.81.1")
    assert tries(service.states["split"]) >= 2, "one failure alone accuses nobody"
