"""The watch on real sockets: how soon it sees, what it sends, how it leaves, and that it is no burden."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from exporter import log
from exporter.model import Cause, Mode, Outcome, Target, Verdict
from exporter.probes.resolver import Resolver
from exporter.protocol.wire import Request
from exporter.service import watch
from exporter.service.service import Service
from exporter.service.watch import HeartbeatTimings, pause, smoothed
from exporter.simulator import messages
from exporter.simulator.gateway import Gateway
from exporter.simulator.recorder import ClientEnd, ConnectionRecord
from exporter.simulator.settings import GatewaySettings
from exporter.state.exporter import ExporterState
from exporter.state.watch_events import WatchEvent, WatchEventKind
from exporter.web.pages import render_target
from tests.shell.support import PATIENCE, until

pytestmark = pytest.mark.turned_clock

PROBES, WATCH = 9001, 9002  # the client ids
VERSIONS = (176, 200, 201, 212, 213, 226)  # text, raw ids, protobuf: the first and the last of each
QUICK = HeartbeatTimings(
    heartbeat=0.2, late=0.1, again=0.12, given_up=0.22
)  # ten times the real one; the simulator takes it
MOMENTS = 50
SEED = 20261121


def at(gateway: Gateway, name: str = "gateway", interval: float = 15.0, **changes: object) -> Target:
    values = {"client_ids": (PROBES, WATCH), "watch": True, "account": "DU1234567", "deadline": 5.0} | changes
    return Target(name, gateway.host, gateway.port, Mode.PAPER, interval, **values)  # type: ignore[arg-type]


@asynccontextmanager
async def watching(*targets: Target, timings: HeartbeatTimings = watch.HEARTBEAT_TIMINGS) -> AsyncIterator[Service]:
    async with Service(ExporterState("test", "3"), timings=timings) as service:
        await service.apply(targets)
        yield service


async def connected(service: Service, name: str = "gateway") -> None:
    async with asyncio.timeout(PATIENCE):
        await service.wait_for(lambda: service.states[name].watched.connected)


async def in_verdict(service: Service, verdict: Verdict, name: str = "gateway", within: float = PATIENCE) -> float:
    """Seconds until the target has this verdict."""
    now = asyncio.get_running_loop().time
    began = now()
    async with asyncio.timeout(within):
        await service.wait_for(lambda: service.states[name].verdict is verdict)
    return now() - began


async def agreeing(service: Service, gateway: Gateway, name: str = "gateway") -> int:
    """The connections, once we count as many as the gateway saw: one under way is counted when it ends."""
    await until(lambda: service.states[name].connections == gateway.recorder.opened)
    return gateway.recorder.opened


async def settled(gateway: Gateway) -> None:
    await until(lambda: not gateway.recorder.open_now)


def of_watch(gateway: Gateway) -> list[ConnectionRecord]:
    return [record for record in gateway.recorder if record.client_id == WATCH]


async def measured(mode: str, verdict: Verdict) -> list[float]:
    """Seconds from the change to the verdict, for gateways that all change at another random moment of the heartbeat."""
    moments = random.Random(SEED)  # noqa: S311 - no secret
    gateways = [Gateway("ok", setup=GatewaySettings()) for _ in range(MOMENTS)]
    for gateway in gateways:
        await gateway.start()
    targets = [at(gateway, f"gateway {number}") for number, gateway in enumerate(gateways)]

    async def change(service: Service, gateway: Gateway, name: str, after: float) -> float:
        await connected(service, name)
        await asyncio.sleep(after)
        assert service.states[name].verdict is Verdict.HEALTHY
        await gateway.set_mode(mode)
        took = await in_verdict(service, verdict, name)
        between = [change.verdict for change in service.states[name].changes]
        assert set(between) <= {Verdict.HEALTHY, Verdict.SESSION_STALLED, verdict}
        return took

    try:
        async with watching(*targets) as service:
            return await asyncio.gather(
                *(
                    change(service, gateway, target.name, moments.uniform(0.0, 2.5))
                    for gateway, target in zip(gateways, targets, strict=True)
                )
            )
    finally:
        for gateway in gateways:
            await gateway.stop()


def told(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    half, most = ordered[len(ordered) // 2], ordered[-1]
    print(f"\n{name}: {len(ordered)} moments, median {half:.3f} s, most {most:.3f} s")  # noqa: T201 - a measurement


async def test_a_freeze_has_its_verdict_within_five_seconds_at_any_moment() -> None:
    seconds = await measured("silent", Verdict.API_SILENT)
    told("freeze to verdict", seconds)
    assert max(seconds) <= 5.0
    assert min(seconds) > 1.5  # and not before the gateway was given a second, twice


async def test_requests_that_stay_unanswered_have_their_verdict_within_five_seconds_at_any_moment() -> None:
    seconds = await measured("requests_unanswered", Verdict.SESSION_STALLED)
    told("requests unanswered to verdict", seconds)
    assert max(seconds) <= 5.0


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [
        ("upstream_lost", Verdict.UPSTREAM_DOWN),
        ("upstream_broken", Verdict.UPSTREAM_DOWN),
        ("farm_broken", Verdict.FARM_DOWN),
        ("refused", Verdict.PORT_CLOSED),
    ],
)
async def test_what_is_reported_or_ended_has_its_verdict_within_a_fifth_of_a_second(
    mode: str, verdict: Verdict
) -> None:
    seconds = await measured(mode, verdict)
    told(f"{mode} to verdict", seconds)
    assert max(seconds) <= 0.2


@pytest.mark.parametrize("version", VERSIONS)
async def test_links_and_farms_are_lost_and_found_with_no_probe_at_all(version: int) -> None:
    async with (
        Gateway("ok", setup=GatewaySettings(server_version=version)) as gateway,
        watching(at(gateway)) as service,
    ):
        await connected(service)
        for mode, verdict in (("upstream_lost", Verdict.UPSTREAM_DOWN), ("farm_broken", Verdict.FARM_DOWN)):
            await gateway.set_mode(mode)
            await in_verdict(service, verdict)
            await gateway.set_mode("ok")
            await in_verdict(service, Verdict.HEALTHY)
        assert gateway.recorder.opened == 2  # one probe at the start, and the watch


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_watch_sends_nothing_but_startapi_and_heartbeats_at_any_server_version_and_leaves_in_order(
    version: int,
) -> None:
    async with Gateway("ok", setup=GatewaySettings(server_version=version)) as gateway:
        async with watching(at(gateway), timings=QUICK) as service:
            await connected(service)
            [record] = of_watch(gateway)
            await until(lambda: len(record.messages) >= 5)
        await settled(gateway)
        assert gateway.recorder.forbidden == 0
        assert all(each.client_end is ClientEnd.FIN for each in gateway.recorder)
    assert (record.version, record.complaint) == (version, "")
    assert record.ids == (Request.START_API, *[Request.REQ_CURRENT_TIME] * (len(record.ids) - 1))


async def test_the_watch_sends_startapi_and_heartbeats_two_seconds_apart_and_nothing_else() -> None:
    async with Gateway("ok") as gateway:
        async with watching(at(gateway)) as service:
            await connected(service)
            await asyncio.sleep(4.5)
        await settled(gateway)
        [record] = of_watch(gateway)
        assert gateway.recorder.forbidden == 0
    assert record.client_end is ClientEnd.FIN
    assert record.ids == (Request.START_API, *[Request.REQ_CURRENT_TIME] * 3)
    asked = [message.at_ns / 1e9 for message in record.messages][1:]
    assert all(1.9 < later - earlier < 3.0 for earlier, later in pairwise(asked))


async def test_two_requests_are_never_closer_than_the_gateway_takes_even_when_one_is_late() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway)) as service:
        await connected(service)
        await gateway.set_mode("requests_unanswered")
        await in_verdict(service, Verdict.SESSION_STALLED)
        [record] = of_watch(gateway)
        await asyncio.sleep(0.5)
        asked = [message.at_ns / 1e9 for message in record.messages][1:]
    assert len(asked) == 3
    assert all(later - earlier >= 1.1 for earlier, later in pairwise(asked))


async def test_a_watched_gateway_sees_fewer_connections_than_an_unwatched_one() -> None:
    async with Gateway("ok") as watched, Gateway("ok") as unwatched:
        targets = (at(watched, "watched", 0.3), at(unwatched, "unwatched", 0.3, watch=False))
        async with watching(*targets) as service:
            await asyncio.sleep(6.0)
            fewer = await agreeing(service, watched, "watched")
            more = await agreeing(service, unwatched, "unwatched")
    print(f"\nconnections in 20 intervals: watched {fewer}, unwatched {more}")  # noqa: T201 - a measurement
    assert fewer < more / 2


async def test_a_gateway_that_is_down_is_not_bothered_by_the_watch() -> None:
    async with Gateway("close_at_once") as gateway, watching(at(gateway, interval=0.1)) as service:
        await asyncio.sleep(1.0)
        opened = await agreeing(service, gateway)
        probed = sum(count for (layer, _), count in service.states["gateway"].probes.items() if layer == "port")
        assert probed - 1 <= opened <= probed + 1
        await gateway.set_mode("ok")
        await connected(service)


async def test_the_watch_comes_back_after_an_end_and_not_before_an_interval_has_passed() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway, interval=0.5)) as service:
        await connected(service)
        await gateway.set_mode("refused")
        await in_verdict(service, Verdict.PORT_CLOSED)
        await gateway.set_mode("ok")
        await connected(service)
        first, second = of_watch(gateway)
        assert second.accepted_ns - first.ended_ns > 0.5e9
        assert service.states["gateway"].verdict is Verdict.HEALTHY


@pytest.mark.parametrize(
    ("short", "share", "least", "most"), [(0, 0.0, 15, 15), (1, 1.0, 22, 23), (3, 0.0, 60, 60), (99, 1.0, 720, 720)]
)
def test_pauses_grow_with_sessions_that_do_not_last(short: int, share: float, least: float, most: float) -> None:
    assert least <= pause(15.0, short, share) <= most


async def test_a_freeze_that_passes_is_followed_by_a_probe_and_health() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway, interval=60.0)) as service:
        await connected(service)
        await gateway.set_mode("silent")
        await in_verdict(service, Verdict.API_SILENT)
        await gateway.set_mode("ok")
        assert await in_verdict(service, Verdict.HEALTHY) < 1.0


async def test_a_client_id_of_the_watch_that_is_in_use_is_counted_and_blames_no_gateway() -> None:
    setup = GatewaySettings(taken_client_ids=frozenset({WATCH}))
    with capture_logs() as lines:
        async with Gateway("ok", setup=setup) as gateway, watching(at(gateway, interval=0.2)) as service:
            async with asyncio.timeout(PATIENCE):
                await service.wait_for(lambda: service.states["gateway"].conflicts >= 2)
            state = service.states["gateway"]
            assert f"client id {WATCH} is in use" in render_target(state, time.time())
            await agreeing(service, gateway)
    [said] = [line for line in lines if line["event"] == "the watch's client id is in use"]
    assert (said["log_level"], said["client_id"]) == ("warning", WATCH)
    assert state.verdict is Verdict.HEALTHY
    assert state.watched.ended is not None
    assert (state.watched.ended.outcome, state.watched.ended.code) == (Outcome.REJECTED, 326)


async def test_one_client_id_is_for_the_probes_and_there_is_no_watch() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway, interval=0.1, client_ids=(PROBES,))) as service:
        await asyncio.sleep(0.5)
        assert not service.states["gateway"].watched.connected
        assert {record.client_id for record in gateway.recorder} == {PROBES}


async def test_a_reload_ends_the_session_in_order_and_begins_another_for_the_changed_target() -> None:
    async with Gateway("ok") as gateway, watching(at(gateway)) as service:
        await connected(service)
        await service.apply([at(gateway, slow_after=0.5)])
        assert not service.states["gateway"].watched.connected
        await connected(service)
        await service.apply([])
        await settled(gateway)
        assert [record.client_end for record in of_watch(gateway)] == [ClientEnd.FIN, ClientEnd.FIN]


class Tight:
    """A gateway that tells news only to sessions that are there already, and still talks when they leave."""

    def __init__(self) -> None:
        self.sessions: dict[int, asyncio.StreamWriter] = {}
        self.ends: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"226")
        writer.write(messages.reply(176, "20261121 02:00:00 EST"))
        client = int((await reader.read(64)).split(b"\0")[5])
        self.sessions[client] = writer
        writer.write(messages.managed_accounts(176, ("DU1234567",)) + messages.next_valid_id(176, 1))
        while await reader.read(64):
            writer.write(messages.current_time(176, 1_795_226_420))
        try:
            for _ in range(5):
                writer.write(messages.error(176, -1, 2104, "OK:usfarm", 0))
                await writer.drain()
                await asyncio.sleep(0.005)
            self.ends.append("in order")
        except ConnectionError as error:
            self.ends.append(repr(error))
        writer.close()


async def test_what_only_the_watch_received_stands_until_it_receives_otherwise_and_it_leaves_in_order() -> None:
    gateway = Tight()
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    target = Target("gateway", "127.0.0.1", server.sockets[0].getsockname()[1], Mode.PAPER, 0.1, watch=True)
    async with server:
        async with watching(replace(target, client_ids=(PROBES, WATCH))) as service:
            await connected(service)
            gateway.sessions[WATCH].write(messages.error(176, -1, 1100, "lost", 0))
            await in_verdict(service, Verdict.UPSTREAM_DOWN)
            changes, probed = len(service.states["gateway"].changes), service.states["gateway"].connections
            await asyncio.sleep(1.0)
            assert service.states["gateway"].connections > probed
            assert len(service.states["gateway"].changes) == changes
            gateway.sessions[WATCH].write(messages.error(176, -1, 1102, "found", 0))
            await in_verdict(service, Verdict.HEALTHY)
        await asyncio.sleep(0.1)
    assert set(gateway.ends) == {"in order"}
    assert len(gateway.ends) == service.states["gateway"].connections


async def test_no_account_number_is_in_the_log() -> None:
    log.configure("debug")
    with capture_logs() as lines:
        async with Gateway("wrong_account") as gateway, watching(at(gateway)) as service:
            await in_verdict(service, Verdict.ACCOUNT_MISSING)
            await connected(service)
    logged = " ".join(str(value) for line in lines for value in line.values())
    assert "does not manage account DU…567" in logged
    assert "DU1234567" not in logged
    assert "DU7654321" not in logged


# --- one watch by itself, without a service


@asynccontextmanager
async def alone(
    gateway: Gateway, timings: HeartbeatTimings = QUICK, **changes: object
) -> AsyncIterator[list[WatchEvent]]:
    seen: list[WatchEvent] = []
    working = asyncio.Event()
    working.set()
    target = replace(at(gateway, interval=0.2), **changes)  # type: ignore[arg-type]
    task = asyncio.create_task(watch.run(target, Resolver(), working, seen.append, timings=timings, jitter=lambda: 0.0))
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def seeing(seen: list[WatchEvent], kind: WatchEventKind, number: int = 1) -> WatchEvent:
    await until(lambda: sum(one.kind is kind for one in seen) >= number)
    return [one for one in seen if one.kind is kind][number - 1]


async def test_a_request_that_is_lost_is_asked_once_more_and_nothing_ends() -> None:
    async with Gateway("ok") as gateway, alone(gateway, HeartbeatTimings(0.2, 0.1, 0.2, 0.6)) as seen:
        await seeing(seen, WatchEventKind.ANSWERED)
        await gateway.set_mode("requests_unanswered")
        await seeing(seen, WatchEventKind.UNANSWERED)
        await gateway.set_mode("ok")
        seen.clear()
        await seeing(seen, WatchEventKind.ANSWERED)
        await asyncio.sleep(0.3)
        assert WatchEventKind.ENDED not in [one.kind for one in seen]
        asked = [message.at_ns / 1e9 for message in of_watch(gateway)[0].messages][1:]
        assert all(later - earlier > 0.18 for earlier, later in pairwise(asked))


async def test_a_frozen_session_is_given_up_in_order_and_says_since_when() -> None:
    async with Gateway("ok") as gateway, alone(gateway) as seen:
        await seeing(seen, WatchEventKind.ANSWERED)
        await gateway.set_mode("silent")
        late = await seeing(seen, WatchEventKind.UNANSWERED)
        ended = await seeing(seen, WatchEventKind.ENDED)
        assert ended.result is not None
        assert (ended.result.outcome, ended.result.cause) == (Outcome.TIMEOUT, Cause.SILENCE)
        assert ended.since == late.since
        assert ended.since is not None
        assert 0.2 < ended.at - ended.since < 1.0
        assert of_watch(gateway)[0].client_end is ClientEnd.FIN


@pytest.mark.parametrize(
    ("mode", "cause"), [("refused", Cause.RESET), ("close_after_start_api", Cause.EOF), ("silent", Cause.SILENCE)]
)
async def test_every_end_is_reported_once_with_every_connection_counted_once(mode: str, cause: Cause) -> None:
    async with Gateway("ok" if cause is not Cause.EOF else mode) as gateway, alone(gateway, deadline=0.3) as seen:
        if cause is not Cause.EOF:
            await seeing(seen, WatchEventKind.BEGAN)
            await gateway.set_mode(mode)
        ended = await seeing(seen, WatchEventKind.ENDED)
        assert ended.result is not None
        assert ended.result.cause is cause
        await seeing(seen, WatchEventKind.ENDED, 3)
    assert sum(one.opened for one in seen) == sum(1 for one in seen if one.kind is WatchEventKind.ENDED)


async def test_the_end_by_our_own_hand_has_no_result() -> None:
    async with Gateway("ok") as gateway:
        async with alone(gateway) as seen:
            await seeing(seen, WatchEventKind.BEGAN)
        assert (seen[-1].kind, seen[-1].result) == (WatchEventKind.ENDED, None)
        await settled(gateway)
        assert of_watch(gateway)[0].client_end is ClientEnd.FIN


async def test_a_connect_without_an_answer_is_left_behind_at_once_and_counted() -> None:
    async with Gateway("backlog_full") as gateway:
        async with alone(gateway) as seen:
            await asyncio.sleep(0.1)
        assert [(one.kind, one.opened) for one in seen] == [(WatchEventKind.ENDED, 1)]


async def test_a_fault_of_our_own_ends_one_session_and_not_the_watch() -> None:
    sights: list[WatchEventKind] = []

    def tell(sighting: WatchEvent) -> None:
        sights.append(sighting.kind)
        if sights == [WatchEventKind.BEGAN]:
            msg = "a fault of ours"
            raise RuntimeError(msg)

    async with Gateway("ok") as gateway:
        working = asyncio.Event()
        working.set()
        task = asyncio.create_task(watch.run(at(gateway, interval=0.05), Resolver(), working, tell, timings=QUICK))
        await until(lambda: sights.count(WatchEventKind.ANSWERED) >= 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await settled(gateway)
        assert sights[:3] == [WatchEventKind.BEGAN, WatchEventKind.ENDED, WatchEventKind.BEGAN]
        assert [record.client_end for record in of_watch(gateway)] == [ClientEnd.FIN, ClientEnd.FIN]


# --- gateways that take their time, and bad ones


@pytest.mark.parametrize(
    ("usual", "waits"),
    [
        (0.0, (2.0, 1.0, 1.2, 2.2)),
        (0.5, (2.0, 1.0, 1.2, 2.2)),
        (1.5, (2.0, 3.0, 3.2, 4.2)),
        (2.5, (2.0, 5.0, 5.2, 6.2)),
        (60.0, (2.0, 5.0, 5.2, 6.2)),
    ],
)
def test_a_gateway_is_given_twice_the_time_it_usually_takes_but_not_more_than_the_deadline(
    usual: float, waits: tuple[float, ...]
) -> None:
    assert HeartbeatTimings().deadlines(usual, 5.0) == pytest.approx(waits)
    assert HeartbeatTimings().deadlines(usual, 0.5) == HeartbeatTimings().deadlines(0.0, 5.0)


def test_one_slow_answer_is_forgotten_within_half_a_minute() -> None:
    usual = 5.0
    for _ in range(14):  # heartbeats
        usual = smoothed(usual, 0.001)
    assert HeartbeatTimings().deadlines(usual, 5.0) == HeartbeatTimings().deadlines(0.0, 5.0)
    assert smoothed(2.0, 3.0) == 3.0


async def test_a_gateway_that_is_slow_as_ever_is_neither_suspected_nor_given_up() -> None:
    moments = random.Random(SEED)  # noqa: S311 - no secret
    setup = GatewaySettings(thinking=lambda: moments.uniform(0.22, 0.42))
    async with Gateway("ok", setup=setup) as gateway, alone(gateway, deadline=0.6) as seen:
        await seeing(seen, WatchEventKind.ANSWERED, 8)
        assert {one.kind for one in seen} == {WatchEventKind.BEGAN, WatchEventKind.ANSWERED}
        await gateway.set_mode("silent")
        ended = await seeing(seen, WatchEventKind.ENDED)
        assert ended.result is not None
        assert ended.result.cause is Cause.SILENCE
        assert ended.since is not None
        assert 0.5 < ended.at - ended.since < 1.2  # the deadline, and the time from late to given up


@pytest.mark.slow
async def test_answers_of_two_to_five_seconds_leave_a_target_slow_and_its_freeze_is_seen_within_eight() -> None:
    """The bound: a heartbeat (2 s), the deadline (5 s) and from late to given up (1.2 s)."""
    moments = random.Random(SEED)  # noqa: S311 - no secret
    gateways = [Gateway("ok", setup=GatewaySettings(thinking=lambda: moments.uniform(2.2, 4.5))) for _ in range(10)]
    for gateway in gateways:
        await gateway.start()
    targets = [at(gateway, f"gateway {number}", 60.0) for number, gateway in enumerate(gateways)]

    async def freeze(service: Service, gateway: Gateway, name: str, after: float) -> float:
        await connected(service, name)
        await asyncio.sleep(after)
        assert [change.verdict for change in service.states[name].changes] == [Verdict.SLOW]
        assert len(of_watch(gateway)) == 1
        assert gateway.recorder.opened == 2  # no heartbeat led to a probe
        await gateway.set_mode("silent")
        return await in_verdict(service, Verdict.SESSION_STALLED, name, within=10.0)

    try:
        async with watching(*targets) as service:
            seconds = await asyncio.gather(
                *(
                    freeze(service, gateway, target.name, moments.uniform(15.0, 22.0))
                    for gateway, target in zip(gateways, targets, strict=True)
                )
            )
    finally:
        for gateway in gateways:
            await gateway.stop()
    told("freeze of a slow gateway to verdict", seconds)
    assert max(seconds) <= 8.2 + 0.3


async def test_a_heartbeat_that_was_answered_late_is_not_followed_by_another_at_once() -> None:
    async with Gateway("ok", setup=GatewaySettings(thinking=lambda: 0.25)) as gateway:
        async with alone(gateway, deadline=1.0) as seen:
            await seeing(seen, WatchEventKind.ANSWERED, 4)
        await settled(gateway)
        asked = [message.at_ns / 1e9 for message in of_watch(gateway)[0].messages][2:]
        assert all(later - earlier > 0.44 for earlier, later in pairwise(asked))
