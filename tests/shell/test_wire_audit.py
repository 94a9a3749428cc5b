"""What each library sends at each server version: only what a monitor may, over one connection that it ends in order.

The framing of the messages depends on the negotiated version, message by message (facts: protocol, section 2), and so
do the layouts of errors and contracts: the versions are the edges of all of these.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from exporter.clients.worker import ClientProbe
from exporter.model import Outcome, Stage
from exporter.simulator.gateway import Gateway
from exporter.simulator.record import ClientEnd, ConnectionRecord
from exporter.simulator.setup import Setup
from exporter.wire import Request
from tests.shell.clients_real import AT_ONCE, CLIENT_ID, CLIENTS, make_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LAYOUTS = (126, 134, 152, 163, 164, 166, 182, 186, 194)  # text: fields of contracts and errors that came or went
FRAMINGS = (201, 203, 205, 207, 213)  # raw ids; protobuf for errors, contracts, accounts, and all the rest
EDGES = sorted({version - before for version in (*LAYOUTS, *FRAMINGS) for before in (0, 1)} | {100, 157, 176, 178, 226})
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
UNANSWERED = 2.0


@dataclass(frozen=True, slots=True)
class Played:
    """One probe in a mode at a server version, and what the gateway saw of it."""

    mode: str
    version: int
    probe: ClientProbe
    records: tuple[ConnectionRecord, ...]


async def play_versions(client: str) -> list[Played]:
    """Every mode at every edge, a few at a time."""
    worker, gate = make_client(client), asyncio.Semaphore(AT_ONCE)

    async def one(mode: str, version: int) -> Played:
        async with gate, Gateway(mode, setup=Setup(server_version=version)) as gateway:
            deadline = UNANSWERED if mode == "requests_unanswered" else DEADLINE
            probe = await worker.probe("127.0.0.1", gateway.port, CLIENT_ID, deadline, 0.0)
            async with asyncio.timeout(5):
                while gateway.ledger.open_now:  # noqa: ASYNC110 - the ledger has no event
                    await asyncio.sleep(0.005)
            return Played(mode, version, probe, tuple(gateway.ledger.last()))

    oldest, _ = NEWEST[client]
    try:
        await worker.start()
        wanted = [(mode, version) for mode in MODES for version in EDGES if version >= oldest]
        return await asyncio.gather(*(one(mode, version) for mode, version in wanted))
    finally:
        await worker.stop()


def test_every_client_has_its_versions_here() -> None:
    assert set(NEWEST) == set(CLIENTS)


@pytest.mark.parametrize("client", CLIENTS)
async def test_each_library_sends_only_what_a_monitor_may_at_every_server_version(client: str) -> None:
    for played in await play_versions(client):
        outcome, stage, sent = MODES[played.mode]
        where, result = (played.mode, played.version), played.probe.result
        assert (result.outcome, result.stage) == (outcome, stage), (where, result)
        [record] = played.records
        assert record.version == min(played.version, NEWEST[client][1]), where
        assert (record.ids, record.forbidden, record.complaint) == (sent, 0, ""), where
        assert record.client_id == CLIENT_ID, where
        assert record.client_end is ClientEnd.FIN, where
