"""A day in half a minute: one simulated hour a second, with the reset window, a restart and everything that goes wrong.

Shown at its end: every connection counted, none left, none abandoned, none too many at a time, nothing forbidden sent.
"""

import asyncio
import random
from dataclasses import replace

import pytest

from exporter.model import Layer, Mode, Outcome, Target, Verdict
from exporter.protocol.wire import Request
from exporter.service.service import Service
from exporter.service.watch import HeartbeatTimings
from exporter.simulator.gateway import Gateway
from exporter.simulator.recorder import ClientEnd
from exporter.simulator.settings import GatewaySettings
from exporter.state.exporter import ExporterState
from tests.shell.support import descriptors, until

PACE = HeartbeatTimings(heartbeat=0.2, late=0.1, again=0.12, given_up=0.22)
INTERVAL, DEADLINE = 0.25, 0.2
HOUR = 1.0  # seconds
IDS = (9001, 9002, 9003)
VERSIONS = (176, 212, 226)
SEED = 4

# What happens at which hour, and the mode until the next line.
DAY = (
    (0.0, "ok"),
    (0.25, "upstream_lost"),  # IBKR's reset
    (0.9, "farm_broken"),
    (1.4, "ok"),
    (5.0, "refused"),  # the gateway's own restart: sessions are reset
    (5.4, "relay"),  # its relay is up, no gateway behind it
    (5.8, "silent"),
    (6.2, "ok"),  # a hello that was silent is followed by a lower one, of its own deadline
    (9.0, "handshake_then_silence"),
    (9.6, "requests_unanswered"),
    (10.4, "ok"),
    (11.5, "silent"),
    (12.0, "reset_at_once"),
    (12.8, "ok"),
    (14.0, "id_in_use"),
    (15.0, "ok"),
    (16.6, "refused"),
    (17.0, "close_after_start_api"),
    (17.8, "ok"),
    (19.0, "upstream_broken"),
    (20.0, "bytewise"),
    (21.0, "garbage"),
    (22.0, "wrong_account"),
    (23.0, "ok"),
)

pytestmark = pytest.mark.turned_clock
SEEN = {
    Verdict.HEALTHY,
    Verdict.UPSTREAM_DOWN,
    Verdict.FARM_DOWN,
    Verdict.PORT_CLOSED,
    Verdict.CLOSED_BEFORE_HANDSHAKE,
    Verdict.API_SILENT,
    Verdict.SESSION_SILENT,
    Verdict.SESSION_STALLED,
    Verdict.CLIENT_ID_IN_USE,
    Verdict.SESSION_REFUSED,
    Verdict.NOT_TWS_API,
    Verdict.ACCOUNT_MISSING,
}


def at(gateway: Gateway, name: str) -> Target:
    ids = {"client_ids": IDS, "watch": True, "account": "DU1234567"}
    return replace(Target(name, gateway.host, gateway.port, Mode.PAPER, INTERVAL, DEADLINE), **ids)  # type: ignore[arg-type]


async def live(gateway: Gateway, lag: float) -> None:
    """Play the day; each gateway a little apart from the others."""
    now = asyncio.get_running_loop().time
    began = now() + lag
    for hour, mode in DAY:
        await asyncio.sleep(began + hour * HOUR - now())
        await gateway.set_mode(mode)
    await asyncio.sleep(began + 24 * HOUR - now())


async def counted(service: Service, name: str, gateway: Gateway, refused: int) -> None:
    """Wait for a probe under way: its connections are counted when it ends."""
    await until(lambda: service.states[name].connections == gateway.recorder.opened + refused)


@pytest.mark.slow
async def test_a_day_leaves_nothing_behind_and_counts_everything() -> None:
    before = descriptors()
    moments = random.Random(SEED)  # noqa: S311 - no secret
    gateways = [Gateway("ok", setup=GatewaySettings(server_version=version), kept=2000) for version in VERSIONS]
    for gateway in gateways:
        await gateway.start()
    async with Service(ExporterState("test", "3"), timings=PACE) as service:
        verdicts: dict[str, set[Verdict]] = {}
        await service.apply([at(gateway, f"v{version}") for version, gateway in zip(VERSIONS, gateways, strict=True)])
        day = asyncio.gather(*(live(gateway, moments.uniform(0.0, INTERVAL)) for gateway in gateways))
        while not day.done():
            await asyncio.sleep(0.01)
            for name, state in service.states.items():
                verdicts.setdefault(name, set()).add(state.verdict)
            assert all(gateway.recorder.open_most <= 2 for gateway in gateways)  # a probe, and the watch
        await day

        for gateway, (name, state) in zip(gateways, service.states.items(), strict=True):
            assert SEEN - verdicts[name] == set(), name
            refused = state.failed[Layer.PORT, "", Outcome.REFUSED]  # counted, and never seen by a gateway
            await counted(service, name, gateway, refused)
            assert state.conflicts > 0
            assert service.states[name].probes[Layer.SESSION, ""] > 20
    await until(lambda: not any(gateway.recorder.open_now for gateway in gateways))
    for gateway in gateways:
        _audit(gateway)
        await gateway.stop()
    assert descriptors() == before


def _audit(gateway: Gateway) -> None:
    """Only startApi and requests for the time, only reserved ids, each once at a time, and every end of ours in order."""
    assert gateway.recorder.forbidden == 0
    assert gateway.recorder.most_as == dict.fromkeys(IDS, 1)
    assert set(gateway.recorder.messages) == {Request.START_API, Request.REQ_CURRENT_TIME}
    for record in gateway.recorder:
        assert record.client_id in (None, *IDS)
        assert record.client_end is not ClientEnd.RESET, record
        if record.our_end is None:
            assert record.client_end is ClientEnd.FIN, record
