"""The account download on our own wire, against the simulator."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest

from exporter import log
from exporter.metrics.exposition import exposition
from exporter.model import Cause, Layer, LayerResult, Mode, Outcome, Stage, Target, Verdict
from exporter.probes.download import download
from exporter.probes.resolver import Resolver
from exporter.protocol.download import PERMITTED, DownloadRequest
from exporter.protocol.messages import Inbox, Other
from exporter.protocol.wire import Request, frame
from exporter.service.service import Service
from exporter.simulator.gateway import Gateway
from exporter.simulator.recorder import ClientEnd
from exporter.simulator.settings import GatewaySettings, Holding
from exporter.state.claims import explanation
from exporter.state.exporter import ExporterState
from exporter.verdict.bug_report import bug_report
from exporter.web.pages import render_target, state_json, status_chunks
from tests.shell.support import PATIENCE, until

pytestmark = pytest.mark.turned_clock

OPTED_IN = GatewaySettings(permitted=frozenset({*Request, *PERMITTED}))
REQUESTS = [Stage(request.label) for request in DownloadRequest]
SENT = (71, 61, 64, 5, 99, 6, 6, 7, 62, 63)  # each subscription is cancelled at once
VERSIONS = (157, 176, 199, 200, 201, 204, 207, 213, 226)


def at(gateway: Gateway, **changes: object) -> Target:
    target = Target("gateway", gateway.host, gateway.port, Mode.PAPER, client_ids=(9001, 9002), download=True)
    return replace(target, **changes)  # type: ignore[arg-type]


async def downloaded(target: Target, **options: float) -> LayerResult:
    report = await download(target, Resolver(), **{"patience": 0.4, "spacing": 0.01, **options})  # type: ignore[arg-type]
    assert report.fault is None
    [result] = report.results
    assert result.layer is Layer.DOWNLOAD
    return result


async def ended(gateway: Gateway) -> None:
    await until(lambda: not gateway.recorder.open_now)


@pytest.mark.parametrize("version", VERSIONS)
async def test_each_request_is_answered_to_its_end_and_each_subscription_cancelled(version: int) -> None:
    async with Gateway(setup=replace(OPTED_IN, server_version=version)) as gateway:
        result = await downloaded(at(gateway), patience=5.0)
        await ended(gateway)
        [record] = gateway.recorder
    assert result.outcome is Outcome.OK, result
    assert [stage for stage, _ in result.stages] == REQUESTS
    assert [request.stage for request in result.requests] == REQUESTS
    assert all(request.messages for request in result.requests)
    assert (record.ids, record.forbidden, record.complaint) == (SENT, 0, "")
    assert (record.client_id, record.client_end) == (9001, ClientEnd.FIN)


@pytest.mark.parametrize("version", [176, 226])
@pytest.mark.parametrize("request_", DownloadRequest)
async def test_a_request_that_is_left_unanswered_is_named_and_the_others_go_on(
    request_: DownloadRequest, version: int
) -> None:
    async with Gateway(f"{request_.label}_unanswered", setup=replace(OPTED_IN, server_version=version)) as gateway:
        result = await downloaded(at(gateway))
        await ended(gateway)
        [record] = gateway.recorder
    assert (result.outcome, result.cause, result.stage) == (Outcome.TIMEOUT, Cause.SILENCE, Stage(request_.label))
    assert [request.stage for request in result.requests if request.seconds is None] == [Stage(request_.label)]
    assert len(result.requests) == len(DownloadRequest)
    asked = record.ids.index(Request.REQ_CURRENT_TIME)  # the gateway still answers
    assert record.ids[:asked] + record.ids[asked + 1 :] == SENT
    assert record.client_end is ClientEnd.FIN


async def test_an_end_of_stream_in_the_middle_of_the_account_values_is_named() -> None:
    async with Gateway("account_values_cut", setup=OPTED_IN) as gateway:
        result = await downloaded(at(gateway), patience=5.0)
    assert (result.outcome, result.cause, result.stage) == (Outcome.CLOSED, Cause.EOF, Stage.ACCOUNT_UPDATES)
    assert result.requests[-1].messages == 3


async def test_a_session_that_no_longer_answers_says_nothing_about_the_download() -> None:
    async with Gateway("requests_unanswered", setup=OPTED_IN) as gateway:
        result = await downloaded(at(gateway), patience=0.05)
        await ended(gateway)
        [record] = gateway.recorder
    assert (result.outcome, result.detail) == (Outcome.UNAVAILABLE, "the session itself no longer answered")
    assert record.ids == (71, 61, 64, Request.REQ_CURRENT_TIME), "the endpoint is free after the first request"


async def test_a_gateway_that_loses_ibkrs_servers_meanwhile_says_nothing_about_the_download() -> None:
    async with Gateway("executions_unanswered", setup=OPTED_IN) as gateway:
        probing = asyncio.create_task(downloaded(at(gateway), patience=2.0))
        await until(lambda: gateway.recorder.messages[DownloadRequest.EXECUTIONS] > 0)
        await gateway.set_mode("upstream_lost")
        result = await probing
    assert (result.outcome, result.detail) == (Outcome.UNAVAILABLE, "the gateway has lost IBKR's servers")


async def test_a_gateway_that_is_silent_from_the_start_keeps_the_endpoint_no_longer_than_a_probe_of_the_wire() -> None:
    async with Gateway("silent", setup=OPTED_IN) as gateway:
        async with asyncio.timeout(PATIENCE):
            report = await download(at(gateway, deadline=0.3), Resolver(), deadline=600.0)
    assert report.results[0].outcome is Outcome.UNAVAILABLE


@pytest.mark.parametrize("mode", ["refused", "silent", "id_in_use", "handshake_then_silence"])
async def test_without_a_session_there_is_no_download(mode: str) -> None:
    async with Gateway(mode, setup=OPTED_IN) as gateway:
        result = await downloaded(at(gateway), deadline=0.5)
        assert not any(gateway.recorder.messages[request] for request in PERMITTED)
    assert result.outcome is Outcome.UNAVAILABLE
    assert result.detail.startswith("no session was begun for it")


async def test_a_client_id_in_use_costs_one_more_connection_for_the_next() -> None:
    async with Gateway(setup=replace(OPTED_IN, taken_client_ids=frozenset({9001}))) as gateway:
        result = await downloaded(at(gateway))
        await ended(gateway)
        assert [record.client_id for record in gateway.recorder] == [9001, 9002]
        assert gateway.recorder.open_most == 1
    assert result.ok


async def test_a_download_whose_time_is_over_before_every_request_is_sent_says_nothing() -> None:
    async with Gateway(setup=OPTED_IN) as gateway:
        result = await downloaded(at(gateway), spacing=0.7, patience=5.0, deadline=2.0)
    assert (result.outcome, result.detail) == (Outcome.UNAVAILABLE, "its time was over before every request was sent")


async def test_a_request_that_the_whole_deadline_cuts_short_is_not_called_unanswered() -> None:
    async with Gateway("executions_unanswered", setup=OPTED_IN) as gateway:
        result = await downloaded(at(gateway), spacing=0.2, patience=5.0, deadline=3.0)
    assert (result.outcome, result.requests) == (Outcome.UNAVAILABLE, ())


async def test_requests_keep_their_distance() -> None:
    async with Gateway(setup=OPTED_IN) as gateway:
        await downloaded(at(gateway), spacing=0.2, patience=5.0)
        await ended(gateway)
        [record] = gateway.recorder
    sent = [message for message in record.messages if message.id in set(DownloadRequest)]
    asked = [message.at_ns for index, message in enumerate(sent) if message.id != 6 or sent[index - 1].id != 6]
    assert all(later - earlier >= 0.19e9 for earlier, later in pairwise(asked))


async def test_the_configured_account_is_the_one_that_is_named() -> None:
    async with Gateway(setup=replace(OPTED_IN, server_version=176, accounts=("DU7654321", "DU1234567"))) as gateway:
        await downloaded(at(gateway, account="DU1234567"))
        [record] = gateway.recorder
    assert [message.payload for message in record.messages if message.id == 6] == [
        b"6\x002\x001\x00DU1234567\0",
        b"6\x002\x000\x00DU1234567\0",
    ]


# In the service


@asynccontextmanager
async def serving(target: Target, **options: float) -> AsyncIterator[Service]:
    probing = partial(download, **{"patience": 0.3, "spacing": 0.01, **options})  # type: ignore[arg-type]
    async with Service(ExporterState("test", "3"), download=probing) as service:
        await service.apply([target])
        yield service


async def verdict_is(service: Service, verdict: Verdict, within: float = 15.0) -> None:
    async with asyncio.timeout(within):
        await service.wait_for(lambda: service.states["gateway"].verdict is verdict)


async def test_the_service_probes_the_download_of_a_target_that_opted_in_and_finds_its_recovery() -> None:
    async with Gateway("executions_unanswered", setup=OPTED_IN) as gateway:
        target = at(gateway, interval=0.5, download_interval=0.5)
        async with serving(target) as service:
            await verdict_is(service, Verdict.DOWNLOAD_STALLED)
            await gateway.set_mode("ok")
            await verdict_is(service, Verdict.HEALTHY)
            state = service.states["gateway"]
            assert state.download is not None
            assert state.download.result.ok
        assert gateway.recorder.open_most == 1
        assert gateway.recorder.forbidden == 0
        assert service.states["gateway"].connections == gateway.recorder.opened


async def test_a_target_that_has_not_opted_in_is_sent_none_of_it() -> None:
    async with Gateway() as gateway:
        async with serving(at(gateway, download=False, interval=0.3, download_interval=0.1)) as service:
            await until(lambda: gateway.recorder.opened > 3)
            assert service.states["gateway"].download is None
        await ended(gateway)
        assert not any(gateway.recorder.messages[request] for request in PERMITTED)
        assert gateway.recorder.forbidden == 0


async def test_a_freeze_within_a_download_ends_it_and_is_seen_as_soon_as_ever() -> None:
    async with Gateway("executions_unanswered", setup=OPTED_IN) as gateway:
        target = at(gateway, client_ids=(9001, 9002, 9003), watch=True, interval=2.0, deadline=1.0)
        async with serving(target, patience=20.0) as service:
            async with asyncio.timeout(PATIENCE):
                await service.wait_for(lambda: service.states["gateway"].watched.connected)
            await until(lambda: gateway.recorder.messages[DownloadRequest.EXECUTIONS] > 0)
            await gateway.set_mode("silent")
            await verdict_is(service, Verdict.API_SILENT)
        assert gateway.recorder.open_most <= 2
        assert service.states["gateway"].connections == gateway.recorder.opened


# On the command line, and contents


CANARY = GatewaySettings(
    accounts=("DU9876543", "DU8765432"),
    holdings=(Holding("CANARYSYM", 424242421, "CANARYEX", "7313700031337", 4242.4242, 3131.3131),),
    balance="987654321.12",
    permitted=OPTED_IN.permitted,
)
SECRETS = ("DU9876543", "DU8765432", "CANARY", "424242421", "7313700031337", "4242.42", "3131.31", "987654321")


@pytest.mark.parametrize("version", [157, 176, 200, 201, 206, 226])
@pytest.mark.parametrize("mode", ["ok", "account_updates_unanswered", "account_values_cut"])
async def test_no_content_of_the_account_appears_anywhere(
    mode: str, version: int, capfd: pytest.CaptureFixture[str]
) -> None:
    log.configure("debug", "console")
    async with Gateway(mode, setup=replace(CANARY, server_version=version)) as gateway:
        async with serving(at(gateway, interval=0.3, download_interval=0.3)) as service:
            async with asyncio.timeout(PATIENCE):
                await service.wait_for(lambda: service.states["gateway"].download is not None)
            state = service.states["gateway"]
        now = time.time()
        shown = [
            *exposition([state], now),
            *exposition([state], now, openmetrics=True),
            *status_chunks([state], now),
            render_target(state, now),
            json.dumps(state_json(state, now)),
            repr(state),
            repr(state.download),
            *(explanation(state, state.last).evidence if state.last else ()),
            *((bug_report(state.last, state.target, state.verdict, "ibkr-exporter"),) if state.last else ()),
        ]
        assert f"server version {version}" in "".join(shown)  # with its release, where that is known
    written = capfd.readouterr()
    for text in (*shown, written.out, written.err):
        assert not [secret for secret in SECRETS if secret in text]


async def test_a_broken_account_message_shows_none_of_its_bytes(capfd: pytest.CaptureFixture[str]) -> None:
    """Only the id of such a message is read, so nothing in it can fail."""
    rubbish = frame(b"\0\0\0\xce" + b"\xff\xffCANARYSYM\xff") + frame(b"\0\0\0\x06CANARYSYM")
    assert [type(each) for each in Inbox(226).feed(rubbish)] == [Other, Other]
    assert "CANARY" not in repr(Inbox(226).feed(rubbish))
    assert "CANARY" not in "".join(capfd.readouterr())
