"""The gateway's own settings, on targets that opted in: asked for once, on a connection of its own."""

import asyncio
import errno
from dataclasses import replace

import pytest

from exporter.cli.diagnose import examine
from exporter.metrics.exposition import exposition
from exporter.model import AddressFamily, Layer, Mode, Target, Verdict
from exporter.probes.resolver import Address, Query, Resolver
from exporter.probes.settings import probe_settings
from exporter.protocol import protobuf, settings
from exporter.protocol.settings import SettingsAnswer, read_response, without_trusted_addresses
from exporter.protocol.wire import Request
from exporter.service.service import Service
from exporter.service.states import TargetStates
from exporter.service.target_loop import TargetLoop
from exporter.simulator.gateway import Gateway
from exporter.simulator.gateway_config import answer
from exporter.simulator.messages import Message
from exporter.simulator.recorder import ClientEnd
from exporter.simulator.settings import GatewaySettings
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState
from exporter.verdict.explanation import explain
from exporter.verdict.gateway_settings import remarks
from exporter.verdict.rules import judge
from tests.shell.support import PATIENCE, shared_of, until

pytestmark = pytest.mark.turned_clock

OPTED_IN = GatewaySettings(permitted=frozenset({*Request, settings.REQUEST}))


def at(gateway: Gateway, **changes: object) -> Target:
    target = Target("gateway", gateway.host, gateway.port, Mode.PAPER, 0.3, 0.2, client_ids=(9001,), settings=True)
    return replace(target, **changes)  # type: ignore[arg-type]


def response(setup: GatewaySettings) -> bytes:
    """What the simulated gateway with these settings answers, without its length and id."""
    request = Message(settings.REQUEST, body=protobuf.encode({1: 1}))
    return answer(setup, request)[8:]


async def asked(gateway: Gateway, deadline: float = 5.0) -> SettingsAnswer:
    answer = await probe_settings(at(gateway), Resolver(), deadline)
    await until(lambda: not gateway.recorder.open_now)
    assert all(record.client_end is ClientEnd.FIN for record in gateway.recorder)
    assert gateway.recorder.forbidden == 0
    return answer


@pytest.mark.parametrize("version", [219, 223, 226])
async def test_the_settings_are_read_as_numbers_and_flags(version: int) -> None:
    async with Gateway(setup=replace(OPTED_IN, server_version=version)) as gateway:
        answer = await asked(gateway)
        [record] = gateway.recorder
    assert record.ids == (Request.START_API, settings.REQUEST)
    assert record.messages[1].payload.hex() == "000001340801"  # as ibapi 10.51.1 sends it
    assert answer.config is not None
    assert answer.config.values == {
        "read_only_api": 0,
        "socket_port": 4002,
        "master_client_id": 7,
        "reject_messages_above_max_rate": 0,
        "maintain_connection_on_incorrect_fields": 1,
        "allow_localhost_only": 0,
        "trusted_addresses": 1,
    }
    assert (answer.config.exit_time, answer.config.exit_kind) == ("11:45 PM", "Auto restart")


async def test_an_older_gateway_is_not_asked() -> None:
    async with Gateway(setup=replace(OPTED_IN, server_version=218)) as gateway:
        answer = await asked(gateway)
        assert not gateway.recorder.messages[settings.REQUEST]
    assert (answer.asked, answer.config) == (False, None)


@pytest.mark.parametrize(
    ("mode", "problem"),
    [("settings_unanswered", "silence"), ("settings_refused", "error 10357"), ("settings_closed", "eof")],
)
async def test_a_gateway_that_does_not_tell_them_says_why(mode: str, problem: str) -> None:
    async with Gateway(mode, setup=OPTED_IN) as gateway:
        answer = await asked(gateway, 0.5)
    assert (answer.asked, answer.config, answer.problem) == (True, None, problem)


async def test_what_explains_a_failure_becomes_evidence() -> None:
    setup = replace(OPTED_IN, api_settings=((1, 1), (18, 9001)))
    async with Gateway(setup=setup) as gateway:
        report = await examine(at(gateway), [], None, lambda _: None)
        verdict = judge(report, at(gateway))
        evidence = explain(report, at(gateway), verdict).evidence
        assert report.connections == gateway.recorder.opened == 2
    assert verdict is Verdict.HEALTHY
    assert any("the API is read-only" in line for line in evidence)
    assert any("master client id, 9001, is one of ours" in line for line in evidence)
    assert any("Auto restart at 11:45 PM" in line for line in evidence)


async def test_a_gateway_that_leaves_the_request_unanswered_is_not_asked_again() -> None:
    async with Gateway("settings_closed", setup=OPTED_IN) as gateway, Service(ExporterState("test", "3")) as service:
        await service.apply([at(gateway)])
        async with asyncio.timeout(PATIENCE):
            await service.wait_for(lambda: service.states["gateway"].settings is not None)
        seen = gateway.recorder.opened
        await until(lambda: gateway.recorder.opened > seen + 3)
        assert gateway.recorder.messages[settings.REQUEST] == 1
        assert gateway.recorder.open_most == 1


async def test_a_fault_of_ours_while_asking_ends_no_other_probe_of_the_target() -> None:
    def break_down(_: Query) -> list[Address]:
        raise OSError(errno.EMFILE, "too many open files")

    states, now = TargetStates(), asyncio.get_running_loop().time()
    shared = shared_of(states, resolver=Resolver(break_down))
    async with Gateway(setup=OPTED_IN) as gateway:
        target = at(gateway, host="localhost", address_family=AddressFamily.IPV4)
        states.put(TargetState(target))
        loop = asyncio.create_task(TargetLoop(target, (), shared, now, now).run())
        await until(lambda: loop.done() or states["gateway"].probes.get((Layer.HANDSHAKE, ""), 0) > 3)
        assert not loop.done()
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def test_they_become_a_metric_and_a_target_that_has_not_opted_in_is_not_asked() -> None:
    async with Gateway(setup=OPTED_IN) as gateway, Service(ExporterState("test", "3")) as service:
        await service.apply([at(gateway)])
        async with asyncio.timeout(PATIENCE):
            await service.wait_for(lambda: service.states["gateway"].settings is not None)
        state = service.states["gateway"]
        assert state.last is not None
        text = "".join(exposition([state], state.last.at))
        assert 'ibkr_setting{target="gateway",setting="socket_port"} 4002' in text
        await service.apply([at(gateway, settings=False)])
        assert service.states["gateway"].settings is None
        assert gateway.recorder.messages[settings.REQUEST] == 1


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ((27, 0), "one malformed request (error 320) ends"),
        ((26, 1), "rejects messages above its maximum rate"),
        ((29, "operator time zone"), "times of instruments in operator time zone: UTC format cured"),
    ],
)
def test_a_setting_that_ends_sessions_or_stalls_a_download_is_evidence(
    setting: tuple[int, int | str], words: str
) -> None:
    config = read_response(response(replace(OPTED_IN, api_settings=(setting,))))
    target = Target("t", "192.0.2.1", 4002, Mode.PAPER, download=True)
    assert words in " ".join(remarks(SettingsAnswer(0.0, 1, config, asked=True), target))


TRUSTING = (("192.0.2.7", True), ("::ffff:192.0.2.7", True), ("192.0.2.8", False), ("2001:db8::1%eth0", True))


@pytest.mark.parametrize(("own", "trusted"), TRUSTING)
def test_our_address_is_compared_with_the_trusted_ones_and_those_are_dropped(own: str, *, trusted: bool) -> None:
    setup = replace(OPTED_IN, trusted_addresses=("192.0.2.7", "2001:db8::1", "192.0.2.0/24"))
    config = without_trusted_addresses(read_response(response(setup)), own)
    assert (config.trusts_us, config.trusted, config.values["trusted_addresses"]) == (trusted, (), 3)
    target = Target("t", "192.0.2.1", 4002, Mode.PAPER)
    words = " ".join(remarks(SettingsAnswer(0.0, 1, config, asked=True), target))
    assert ("not among its trusted addresses" in words) is not trusted


@pytest.mark.parametrize("own", ["127.0.0.1", "::1", None])
def test_the_gateways_own_machine_needs_no_trust(own: str | None) -> None:
    assert (
        without_trusted_addresses(read_response(response(replace(OPTED_IN, trusted_addresses=()))), own).trusts_us
        is None
    )


def test_nothing_here_can_change_a_setting() -> None:
    assert settings.write_request(5).hex() == "00000006000001340805"
    assert (settings.REQUEST, settings.RESPONSE) == (108, 110)
    assert 109 not in {*Request, settings.REQUEST}


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("eof", "the gateway ended the connection when it was asked"),
        ("reset", "the gateway reset the connection when it was asked"),
        ("silence", "the gateway does not answer the request"),
        ("error 10357", "the gateway refuses to tell them to API clients (error 10357)"),
        ("no session was begun for it", "no session was begun for it"),
        ("", "no answer"),
    ],
)
def test_an_answer_that_is_missing_is_named_in_words(problem: str, words: str) -> None:
    target = Target("t", "h", 1, Mode.PAPER)
    assert list(remarks(SettingsAnswer(0.0, 1, problem=problem), target)) == [
        f"The gateway's settings are not known: {words}."
    ]
