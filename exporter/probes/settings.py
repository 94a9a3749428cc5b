"""Ask a gateway for its own settings, on a connection of its own, for a target that opted in. Never seen on a real TWS.

One request, reqConfig. A gateway that leaves it unanswered, refuses it or ends the session is not asked again by the
caller. Nothing is ever changed.
"""

import asyncio
import time

from exporter.model import Target
from exporter.probes.api_session import ApiSession
from exporter.probes.connection import Connection
from exporter.probes.context import Abandoned, ProbeContext, conclude
from exporter.probes.handshake import probe_port_and_handshake
from exporter.probes.resolver import Resolver
from exporter.probes.session import in_session
from exporter.protocol import settings
from exporter.protocol.settings import GatewayConfig, SettingsAnswer, without_trusted_addresses

DEADLINE = 5.0  # seconds


async def probe_settings(
    target: Target,
    resolver: Resolver,
    deadline: float = DEADLINE,
    *,
    abandoned: Abandoned = lambda _: None,
) -> SettingsAnswer:
    """Ask once. `abandoned` gets the connections of a probe that is cancelled."""
    context = ProbeContext(
        target, Connection(asyncio.get_running_loop().time() + deadline), resolver, time.perf_counter
    )
    outcome: list[GatewayConfig | None] = []
    problem = await conclude(context, _ask(context, outcome), abandoned)
    config = outcome[-1] if outcome else None
    return SettingsAnswer(time.time(), context.opened, config, asked=bool(outcome), problem="" if config else problem)


async def _ask(context: ProbeContext, outcome: list[GatewayConfig | None]) -> str:
    """Why no settings came, if none came; what came is appended to `outcome` once the request was sent."""
    handshake = await probe_port_and_handshake(context)
    if not handshake.ok or handshake.server is None:
        return "no session was begun for it"
    if handshake.server.version < settings.SETTINGS_FROM:
        return f"server version {handshake.server.version} cannot tell them, {settings.SETTINGS_FROM} and newer can"
    problem = "no session was begun for it"

    async def use(session: ApiSession) -> None:
        nonlocal problem
        cause = session.send(settings.write_request(1))
        while cause is None and session.config is None and session.refusal is None:
            cause = await session.hear()
        own = context.connection.own_address
        outcome.append(None if session.config is None else without_trusted_addresses(session.config.config, own))
        refusal = session.refusal
        problem = str(cause or "no answer") if refusal is None else f"error {refusal.code}"

    await in_session(context, use)
    return problem
