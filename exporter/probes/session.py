"""The session layer: startApi, nextValidId, managedAccounts, the farms' notices for a moment, one reqCurrentTime.

    client  startApi with a reserved client id
    server  managedAccounts, nextValidId in any order, then notices of the farms
    client  reqCurrentTime                                 once: a second within a second would be ignored
    server  currentTime                                    only this proves that requests are answered

A reserved id that is refused with error 326 costs one more connection for the next one, within the same deadline and
never while the first is open. Nothing else is tried twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from exporter.model import OUTCOME, Cause, Layer, LayerResult, Outcome, SessionFacts, Stage
from exporter.probes.api_session import ApiSession
from exporter.probes.context import ProbeContext
from exporter.probes.handshake import probe_port_and_handshake
from exporter.protocol.messages import KNOWN_VERSION
from exporter.text import joined

NOTICES_MOST = 0.5  # seconds after the answers that late notices are waited for
NOTICES_QUIET = 0.1  # seconds without any after which no more are expected: they come in one burst with the answers

# How a session ends for which a second connection, after a 326, could not be opened.
SECOND_CONNECTION = {
    Cause.CONNECT_REFUSED: Cause.RESET,
    Cause.CONNECT_TIMEOUT: Cause.SILENCE,
    Cause.EOF: Cause.EOF,
    Cause.RESET: Cause.RESET,
    Cause.BROKEN_OFF: Cause.EOF,
    Cause.SILENCE: Cause.SILENCE,
    Cause.UNFINISHED: Cause.UNFINISHED,
    Cause.OVERSIZED: Cause.OVERSIZED,
    Cause.TOO_OLD: Cause.TOO_OLD,
    Cause.API_ERROR: Cause.API_ERROR,
}


Use = Callable[[ApiSession], Awaitable[LayerResult | None]]


async def probe_session(context: ProbeContext) -> LayerResult:
    """Begin a session with the first reserved client id that is not in use, have one request answered, and end it."""

    async def use(session: ApiSession) -> LayerResult | None:
        failure = await session.ask_time()
        if failure is None:
            await _read_notices(context, session)
        return failure

    return await in_session(context, use)


async def in_session(context: ProbeContext, use: Use) -> LayerResult:
    """Begin a session with the first reserved client id that is not in use, and use it.

    The result is that of `use`, else that of the session, or how the session failed to begin.
    """
    conflicts = 0
    result = _failed(Cause.CLIENT_ID_IN_USE)
    for client_id in context.target.probe_ids:
        if conflicts:
            await context.renew()
            again = await probe_port_and_handshake(context)
            if not again.ok:
                cause = SECOND_CONNECTION.get(again.cause or Cause.MALFORMED, Cause.MALFORMED)
                result = _failed(cause, "on the connection for the next id")
                break
        result = await _begin_and_use(context, client_id, use)
        if result.cause is not Cause.CLIENT_ID_IN_USE:
            break
        conflicts += 1
    if not conflicts or result.session is None:
        return result
    refused = ", ".join(str(client_id) for client_id in context.target.probe_ids[:conflicts])
    detail = joined(result.detail, f"client ids in use: {refused}")
    return replace(result, detail=detail, session=replace(result.session, conflicts=conflicts))


async def _begin_and_use(context: ProbeContext, client_id: int, use: Use) -> LayerResult:
    version = context.server.version if context.server else 0
    if version > KNOWN_VERSION:
        detail = f"server version {version} is newer than {KNOWN_VERSION}, the newest whose messages we know"
        return LayerResult(layer=Layer.SESSION, outcome=Outcome.SKIPPED, cause=Cause.VERSION_UNKNOWN, detail=detail)
    session = ApiSession(context.connection, version, client_id, context.clock)
    return await session.begin() or await use(session) or session.result()


async def _read_notices(context: ProbeContext, session: ApiSession) -> None:
    """Read the notices that come unasked, until none comes for NOTICES_QUIET seconds, NOTICES_MOST at most."""
    connection, now = context.connection, asyncio.get_running_loop().time
    until = now() + NOTICES_MOST
    cause = None
    while cause is None:
        connection.wait_until(min(until, now() + NOTICES_QUIET))
        cause = await session.hear()
    connection.wait_until(connection.deadline)


def _failed(cause: Cause, detail: str = "") -> LayerResult:
    return LayerResult(
        layer=Layer.SESSION,
        outcome=OUTCOME[cause],
        seconds=None,
        stage=Stage.START_API,
        cause=cause,
        detail=detail,
        session=SessionFacts(),
    )
