"""The demo: a small fleet of simulated gateways, each with another fault that comes and goes, and the service on them.

It needs no TWS, no Docker and no configuration. Within a minute every fault below has been seen with its verdict.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from exporter.config import Config
from exporter.model import Mode, Target
from exporter.simulator.gateway import Gateway
from exporter.simulator.settings import GatewaySettings
from exporter.simulator.timeline import play_timeline, read_timeline
from exporter.web import server

INTERVAL = 5.0  # seconds: quicker than the default of 15, so that there is something to see
DEADLINE = 2.0
SETUP = GatewaySettings(slow=1.4)  # seconds to an answer in the mode `slow`: above the limit, below the deadline


@dataclass(frozen=True, slots=True)
class Extra:
    """One simulated gateway of the fleet: its target's name and the modes it goes through."""

    name: str
    timeline: str
    mode: Mode = Mode.PAPER


FLEET = (
    Extra("steady", "0s:ok", Mode.LIVE),
    Extra("freezes", "0s:ok,12s:silent,50s:ok,60s:repeat"),
    Extra("half-a-reply", "0s:half_reply,45s:ok,60s:repeat"),
    Extra("relay-without-gateway", "0s:relay,50s:ok,65s:repeat", Mode.LIVE),
    Extra("untrusted-address", "0s:ok,8s:close_after_hello,55s:ok,70s:repeat"),
    Extra("restarts", "0s:ok,15s:refused,45s:silent,52s:ok,75s:repeat", Mode.LIVE),
    Extra("accept-queue-full", "0s:backlog_full,45s:ok,60s:repeat"),
    Extra("web-server-on-the-port", "0s:http"),
    Extra("vnc-on-the-port", "0s:vnc,50s:ok,65s:repeat"),
    Extra("redirected", "0s:redirect,50s:ok,65s:repeat"),
    Extra("too-old", "0s:too_old"),
    Extra("sluggish", "0s:slow,40s:ok,55s:repeat", Mode.LIVE),
    Extra("client-ids-taken", "0s:id_in_use,45s:ok,60s:repeat"),
    Extra("begins-no-session", "0s:handshake_then_silence,50s:ok,65s:repeat"),
    Extra("connected-but-deaf", "0s:ok,10s:requests_unanswered,55s:ok,70s:repeat", Mode.LIVE),
    Extra("wrong-login", "0s:wrong_account"),
    Extra("lost-its-servers", "0s:ok,20s:upstream_lost,55s:ok,80s:repeat", Mode.LIVE),
    Extra("farm-down", "0s:ok,15s:farm_broken,45s:ok,60s:repeat"),
)
ACCOUNT = SETUP.accounts[0]
CLIENT_IDS = (9001, 9002, 9003)  # two for the probes, the last for the watch
# Its own option, and how it goes through `make`.
ADVICE = 'give the demo another address: --listen 127.0.0.1:PORT (make demo args="--listen 127.0.0.1:PORT")'
NO_SUCH_HOST = Target("no-such-host", "tws.example.invalid", 7497, Mode.PAPER, INTERVAL, DEADLINE)


async def show(host: str, port: int, say: Callable[[str], None]) -> None:
    """Start the fleet and watch it until Ctrl-C. Raises server.ListenError."""
    async with fleet() as targets:
        config = Config(targets=targets, listen_host=host, listen_port=port)

        def announce(url: str) -> None:
            say(f"\n{len(targets)} gateways, of which one is always well. Look at")
            say(f"  {url}                the status page: verdicts, evidence, required actions")
            say(f"  {url}metrics         what Prometheus scrapes")
            say(f"  {url}api/v1/status   the same as JSON")
            say(f"or run: {sys.argv[0]} diagnose {targets[1].endpoint}")
            say("Ctrl-C ends it all.\n")

        await server.serve(config, None, announce, ADVICE)


@asynccontextmanager
async def fleet() -> AsyncIterator[tuple[Target, ...]]:
    """Start the fleet on free ports; gives the targets to watch. All ends with the context."""
    async with AsyncExitStack() as stack:
        players = []
        targets = []
        for extra in FLEET:
            turns = read_timeline(extra.timeline)
            gateway = await stack.enter_async_context(Gateway(turns[0].mode, setup=SETUP))
            players.append(asyncio.create_task(play_timeline(turns, gateway.set_mode), name=f"play {extra.name}"))
            targets.append(
                Target(
                    extra.name,
                    gateway.host,
                    gateway.port,
                    extra.mode,
                    INTERVAL,
                    DEADLINE,
                    client_ids=CLIENT_IDS,
                    account=ACCOUNT,
                    watch=True,
                )
            )
        try:
            yield (*targets, NO_SUCH_HOST)
        finally:
            for player in players:
                player.cancel()
            await asyncio.gather(*players, return_exceptions=True)
