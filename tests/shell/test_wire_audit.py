"""What each library sends at each server version: only what a monitor may, over one connection that it ends in order.

The framing of the messages depends on the negotiated version, message by message (docs/facts.md: framings), and so
do the layouts of errors and contracts: the versions are the edges of all of these.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.cli.diagnose import examine
from exporter.clients.worker import WorkerResult
from exporter.model import Mode, Outcome, Stage, Target
from exporter.protocol.download import PERMITTED
from exporter.protocol.wire import Request
from exporter.simulator.gateway import Gateway
from exporter.simulator.recorder import ClientEnd, ConnectionRecord
from exporter.simulator.settings import GatewaySettings
from tests.shell.clients_fakes import make_worker
from tests.shell.clients_real import AT_ONCE, CLIENT_ID, CLIENTS, make_client
from tests.shell.support import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LAYOUTS = (126, 134, 152, 163, 164, 166, 182, 186, 194)  # text: fields of contracts and errors that came or went
FRAMINGS = (201, 203, 205, 207, 213)  # raw ids; protobuf for errors, contracts, accounts, and all the rest
EDGES = sorted({version - before for version in (*LAYOUTS, *FRAMINGS) for before in (0, 1)} | {100, 157, 176, 178, 226})
ONE_EACH = (157, 201, 207, 226)  # text, raw ids, protobuf for a part, protobuf for all
NEWEST = {  # that a library announces, and the oldest that it accepts
    "ib_async": (157, 178),
    "ib_insync": (157, 176),
    "ibapi": (100, 226),
    "ibapi-9.81.1": (100, 157),
    "nautilus_trader": (100, 223),
    "nautilus_trader-1.220.0": (100, 187),
}
WHOLE = (Request.START_API, Request.REQ_CURRENT_TIME, Request.REQ_CONTRACT_DETAILS)
# How each of these modes ends, and what a library has sent by then.
MODES: Mapping[str, tuple[Outcome, Stage | None, tuple[Request, ...]]] = {
    "ok": (Outcome.OK, None, WHOLE),
    "farm_broken": (Outcome.OK, None, WHOLE),
    "id_in_use": (Outcome.REJECTED, Stage.READY, WHOLE[:1]),
    "close_after_start_api": (Outcome.CLOSED, Stage.READY, WHOLE[:1]),
    "requests_unanswered": (Outcome.TIMEOUT, Stage.TIME, WHOLE[:2]),
}
DEADLINE = 20.0  # seconds, on a machine that does much else
UNANSWERED = 10.0  # where no answer comes: a copy of a library gets as far on such a machine too


@dataclass(frozen=True, slots=True)
class Played:
    """One probe in a mode at a server version, and what the gateway saw of it."""

    mode: str
    version: int
    probe: WorkerResult
    records: tuple[ConnectionRecord, ...]


async def play_versions(client: str) -> list[Played]:
    """A whole session at every edge, and every other mode in each framing; a few at a time."""
    worker, gate = make_client(client), asyncio.Semaphore(AT_ONCE)

    async def one(mode: str, version: int) -> Played:
        async with gate, Gateway(mode, setup=GatewaySettings(server_version=version)) as gateway:
            deadline = UNANSWERED if mode == "requests_unanswered" else DEADLINE
            probe = await worker.probe("127.0.0.1", gateway.port, CLIENT_ID, deadline, 0.0)
            await until(lambda: not gateway.recorder.open_now)
            return Played(mode, version, probe, tuple(gateway.recorder.last()))

    oldest, _ = NEWEST[client]
    try:
        await worker.start()
        pairs = [("ok", version) for version in EDGES if version >= oldest]
        pairs += [(mode, version) for mode in MODES if mode != "ok" for version in ONE_EACH]
        return await asyncio.gather(*(one(mode, version) for mode, version in pairs))
    finally:
        await worker.stop()


def test_every_client_has_its_versions_here() -> None:
    assert set(NEWEST) == set(CLIENTS)


@pytest.mark.parametrize("client", CLIENTS)
async def test_each_library_sends_only_what_a_monitor_may_at_every_server_version(client: str) -> None:
    for played in await play_versions(client):
        outcome, stage, sent = MODES[played.mode]
        where, result = (played.mode, played.version), played.probe.result
        assert (result.outcome, result.stage) == (outcome, stage), (where, result.detail)
        [record] = played.records
        assert record.version == min(played.version, NEWEST[client][1]), where
        assert (record.ids, record.forbidden, record.complaint) == (sent, 0, ""), where
        assert record.client_id == CLIENT_ID, where
        assert record.client_end is ClientEnd.FIN, where


@pytest.mark.parametrize("opted_in", [False, True])
async def test_our_own_wire_sends_the_download_to_a_target_that_opted_in_and_to_no_other(*, opted_in: bool) -> None:
    async def sent(version: int) -> tuple[tuple[int | None, ...], ...]:
        permitted = frozenset({*Request, *(PERMITTED if opted_in else ())})
        async with Gateway(setup=GatewaySettings(server_version=version, permitted=permitted)) as gateway:
            target = Target("t", gateway.host, gateway.port, Mode.PAPER, client_ids=(9001,), download=opted_in)
            await examine(target, [], None, lambda _: None)
            await until(lambda: not gateway.recorder.open_now)
            assert gateway.recorder.forbidden == 0
            assert all(record.client_end is ClientEnd.FIN for record in gateway.recorder)
            return tuple(record.ids for record in gateway.recorder)

    session = (Request.START_API, Request.REQ_CURRENT_TIME)
    download = (Request.START_API, 61, 64, 5, 99, 6, 6, 7, 62, 63)  # each subscription is cancelled
    for seen in await asyncio.gather(*(sent(version) for version in EDGES)):
        assert seen == ((session, download) if opted_in else (session,))


# A library that asks for positions once its session has begun, in the framing of the server's version.
ASKS_TOO_MUCH = """
import types
def begin(host, port, client_id, observer):
    module = types.SimpleNamespace()
    observer.watch(module)
    s = observer.socket = module.socket.socket()
    s.connect((host, port))
    s.send(b"API\\0" + (9).to_bytes(4, "big") + b"v100..226")
    s.recv(4096)
    for payload in {payloads}:
        assert s.send(len(payload).to_bytes(4, "big") + payload) == 4 + len(payload)
    s.shutdown(1)
    while s.recv(4096):  # an end with answers unread is a reset, after which a gateway reads nothing more
        pass
    observer.reach("connected", 176)
    observer.reach("ready")
    observer.reach("accounts", [])
    return Session(observer)
"""
FRAMED: Mapping[int, tuple[bytes, ...]] = {
    200: (b"71\x002\x009001\x00\x00", b"61\x001\x00", b"49\x001\x00", b""),
    212: (b"\0\0\0\x472\x009001\x00\x00", b"\0\0\0\x3d1\x00", b"\0\0\0\x311\x00", b"\0\0"),
    226: (b"\0\0\x01\x0f\x08\xa9\x46", b"\0\0\x01\x05", b"\0\0\0\xf9", b"x"),
}


@pytest.mark.parametrize("version", FRAMED)
async def test_what_a_monitor_must_not_send_never_leaves_whatever_a_library_tries(tmp_path: Path, version: int) -> None:
    worker = make_worker(tmp_path, ASKS_TOO_MUCH.replace("{payloads}", repr(FRAMED[version])))
    try:
        async with Gateway("ok", setup=GatewaySettings(server_version=version)) as gateway:
            probe = await worker.probe("127.0.0.1", gateway.port, CLIENT_ID, DEADLINE, 0.0)
            await until(lambda: not gateway.recorder.open_now)
            [record] = gateway.recorder
    finally:
        await worker.stop()
    assert probe.result.ok, probe.result
    assert (record.ids, record.forbidden, record.complaint) == (WHOLE[:2], 0, "")
    assert record.client_id == CLIENT_ID
    assert "must not send: message 61" in probe.printed


@pytest.mark.parametrize("version", [176, 226])
@pytest.mark.parametrize("client", CLIENTS)
async def test_servers_that_come_back_within_a_session_make_no_library_ask_for_an_account(
    client: str, version: int
) -> None:
    """After error 1102 ib_insync and ib_async subscribe to the account summary by themselves."""
    worker = make_client(client)
    try:
        await worker.start()
        async with Gateway("upstream_lost", setup=GatewaySettings(server_version=version)) as gateway:
            probe = asyncio.create_task(worker.probe("127.0.0.1", gateway.port, CLIENT_ID, DEADLINE, 1.1))
            await until(lambda: gateway.recorder.messages[Request.REQ_CURRENT_TIME])
            await gateway.set_mode("ok")
            result = (await probe).result
            [record] = gateway.recorder
    finally:
        await worker.stop()
    assert result.ok, result
    assert (record.ids, record.forbidden) == (WHOLE, 0)
