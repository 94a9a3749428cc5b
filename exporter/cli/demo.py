"""The demo: a fleet of simulated gateways, each with another fault that comes and goes, and the service on them.

The first gateways show client libraries: they work, one version of one fails, none gets an answer, all fail alike. The
others show the wire. It needs no TWS, no Docker and no configuration. Within half a minute the libraries have their
verdicts, within a minute every fault below has been seen.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.cli.demo_clients import FAULTY, SMALL, prepare
from exporter.clients.environments import VARIABLE
from exporter.config import Config, Listen
from exporter.model import ClientSpec, Mode, Target
from exporter.simulator.gateway import Gateway
from exporter.simulator.settings import GatewaySettings
from exporter.simulator.timeline import play_timeline, read_timeline
from exporter.web import server

INTERVAL = 5.0  # seconds: quicker than the default of 15, so that there is something to see
PATIENT_INTERVAL = 8.0  # seconds: a library that hangs needs five of them between two probes of the wire
DEADLINE = 2.0
SETUP = GatewaySettings(slow=1.4)  # seconds to an answer in the mode `slow`: above the limit, below the deadline
SPLIT_FAILS = ("ibapi-9.81.1", "nautilus_trader-1.220.0")  # versions that lose a reply in two segments


@dataclass(frozen=True, slots=True)
class DemoGateway:
    """One simulated gateway: its target's name, the modes it goes through, and the clients that are tried."""

    name: str
    timeline: str
    mode: Mode = Mode.PAPER
    clients: tuple[str, ...] = ()
    interval: float = INTERVAL


FLEET = (
    DemoGateway("steady", "0s:ok", Mode.LIVE),
    DemoGateway("freezes", "0s:ok,12s:silent,50s:ok,60s:repeat"),
    DemoGateway("half-a-reply", "0s:half_reply,45s:ok,60s:repeat"),
    DemoGateway("relay-without-gateway", "0s:relay,50s:ok,65s:repeat", Mode.LIVE),
    DemoGateway("untrusted-address", "0s:ok,8s:close_after_hello,55s:ok,70s:repeat"),
    DemoGateway("restarts", "0s:ok,15s:refused,45s:silent,52s:ok,75s:repeat", Mode.LIVE),
    DemoGateway("accept-queue-full", "0s:backlog_full,45s:ok,60s:repeat"),
    DemoGateway("web-server-on-the-port", "0s:http"),
    DemoGateway("vnc-on-the-port", "0s:vnc,50s:ok,65s:repeat"),
    DemoGateway("redirected", "0s:redirect,50s:ok,65s:repeat"),
    DemoGateway("too-old", "0s:too_old"),
    DemoGateway("sluggish", "0s:slow,40s:ok,55s:repeat", Mode.LIVE),
    DemoGateway("client-ids-taken", "0s:id_in_use,45s:ok,60s:repeat"),
    DemoGateway("begins-no-session", "0s:handshake_then_silence,50s:ok,65s:repeat"),
    DemoGateway("connected-but-deaf", "0s:ok,10s:requests_unanswered,55s:ok,70s:repeat", Mode.LIVE),
    DemoGateway("wrong-login", "0s:wrong_account"),
    DemoGateway("lost-its-servers", "0s:ok,20s:upstream_lost,55s:ok,80s:repeat", Mode.LIVE),
    DemoGateway("farm-down", "0s:ok,15s:farm_broken,45s:ok,60s:repeat"),
)
ACCOUNT = SETUP.accounts[0]
CLIENT_IDS = (9001, 9002, 9003)  # two for the probes, the last for the watch
# How to choose another port: the command's own option, and the same through `make`.
ADVICE = 'give the demo another address: --listen 127.0.0.1:PORT (make demo args="--listen 127.0.0.1:PORT")'
NO_SUCH_HOST = Target("no-such-host", "tws.example.invalid", 7497, Mode.PAPER, INTERVAL, DEADLINE)


async def show(address: Listen, say: Callable[[str], None], *, libraries: bool = True) -> None:
    """Start the fleet and watch it until Ctrl-C. Raises ListenError."""
    server.check_listen(address, ADVICE)  # before anything is installed
    clients = (await prepare(say)).specs if libraries else {}
    async with fleet(clients) as targets:
        config = Config(targets=targets, clients=clients, listen=(address,))

        def announce(url: str) -> None:
            say(f"\n{len(targets)} gateways, of which one is always well. Look at")
            say(f"  {url}                the status page: verdicts, evidence, required actions")
            say(f"  {url}metrics         what Prometheus scrapes")
            say(f"  {url}api/v1/status   the same as JSON")
            say(f"Client libraries that are tried: {', '.join(clients) or 'none'}")
            say(f"or run: {environments_prefix()}{sys.argv[0]} diagnose {targets[-2].endpoint}")
            say("Ctrl-C ends it all.\n")

        await server.serve(config, None, announce, ADVICE)


def environments_prefix() -> str:
    """What a command of another shell needs before it to find the libraries that were installed for this one."""
    given = os.environ.get(VARIABLE)
    if not given:
        return ""
    folder = Path(given)
    return f"{VARIABLE}={folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder} "


def library_gateways(clients: Mapping[str, ClientSpec]) -> tuple[DemoGateway, ...]:
    """Return the gateways that show client libraries, as far as these clients are there."""
    if not clients:
        return ()
    well = tuple(name for name in clients if name != FAULTY)
    small = tuple(name for name in SMALL if name in clients)
    gateways = []
    if FAULTY in clients:  # it works as far as the first request for contract details, at any gateway
        gateways.append(DemoGateway("one-version-fails", "0s:ok", clients=(*small, FAULTY)))
    if split := tuple(name for name in SPLIT_FAILS if name in clients):
        several = (*small, *split)
        gateways.append(
            DemoGateway("reply-in-two-segments", "0s:split_reply", clients=several, interval=PATIENT_INTERVAL)
        )
    gateways.append(DemoGateway("libraries-all-well", "0s:ok", clients=well))
    gateways.append(DemoGateway("silent-for-every-library", "0s:silent", clients=well))
    if len(small) > 1:
        gateways.append(
            DemoGateway("libraries-fail-alike", "0s:protobuf_first", clients=small, interval=PATIENT_INTERVAL)
        )
    return tuple(gateways)


@asynccontextmanager
async def fleet(clients: Mapping[str, ClientSpec]) -> AsyncIterator[tuple[Target, ...]]:
    """Start the fleet on free ports; gives the targets to watch. All ends with the context."""
    async with AsyncExitStack() as stack:
        players = []
        targets = []
        for row in (*library_gateways(clients), *FLEET):
            turns = read_timeline(row.timeline)
            gateway = await stack.enter_async_context(Gateway(turns[0].mode, setup=SETUP))
            players.append(asyncio.create_task(play_timeline(turns, gateway.set_mode), name=f"play {row.name}"))
            targets.append(
                Target(
                    row.name,
                    gateway.host,
                    gateway.port,
                    row.mode,
                    row.interval,
                    DEADLINE,
                    client_ids=CLIENT_IDS,
                    account=ACCOUNT,
                    clients=row.clients,
                    watch=True,
                )
            )
        try:
            yield (*targets, NO_SUCH_HOST)
        finally:
            for player in players:
                player.cancel()
            await asyncio.gather(*players, return_exceptions=True)
