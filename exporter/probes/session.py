"""The session layer: startApi, nextValidId, managedAccounts, the farms' notices for a moment, one reqCurrentTime.

    client  startApi with a reserved client id
    server  managedAccounts, nextValidId in any order, then notices of the farms
    client  reqCurrentTime                                 once: a second within a second would be ignored
    server  currentTime                                    only this proves that requests are answered

A reserved id that is refused with error 326 costs one more connection for the next one, within the same deadline and
never while the first is open. Nothing else is tried twice.
"""

import asyncio
from dataclasses import replace

from exporter.model import Cause, Layer, LayerResult, Outcome, SessionFacts, Stage
from exporter.probes.api_session import OUTCOMES, ApiSession
from exporter.probes.context import ProbeContext
from exporter.probes.handshake import probe_handshake
from exporter.probes.port import probe_port
from exporter.protocol.messages import KNOWN_VERSION

NOTICES_MOST = 0.5  # seconds after the answers that late notices are waited for
NOTICES_QUIET = 0.1  # seconds without any after which no more are expected: they come in one burst with the answers

# What the end of a second connection, after a 326, means for the session that it was opened for.
AGAIN = {Cause.CONNECT_REFUSED: Cause.RESET, Cause.CONNECT_TIMEOUT: Cause.SILENCE, Cause.BROKEN_OFF: Cause.EOF}


async def probe_session(attempt: ProbeContext) -> LayerResult:
    """Begin a session with the first reserved client id that is not in use, have one request answered, and end it."""
    conflicts = 0
    result = _failed(Cause.CLIENT_ID_IN_USE)
    for client_id in attempt.target.probe_ids:
        if conflicts:
            again = await _connect_again(attempt)
            if not again.ok:
                cause = again.cause or Cause.MALFORMED
                cause = AGAIN.get(cause, cause)
                result = _failed(cause if cause in OUTCOMES else Cause.MALFORMED, "on the connection for the next id")
                break
        result = await _converse(attempt, client_id)
        if result.cause is not Cause.CLIENT_ID_IN_USE:
            break
        conflicts += 1
    if not conflicts or result.session is None:
        return result
    refused = ", ".join(str(client_id) for client_id in attempt.target.probe_ids[:conflicts])
    detail = "; ".join(part for part in (result.detail, f"client ids in use: {refused}") if part)
    return replace(result, detail=detail, session=replace(result.session, conflicts=conflicts))


async def _converse(attempt: ProbeContext, client_id: int) -> LayerResult:
    version = attempt.server.version if attempt.server else 0
    if version > KNOWN_VERSION:
        detail = f"server version {version} is newer than {KNOWN_VERSION}, the newest whose messages we know"
        return LayerResult(layer=Layer.SESSION, outcome=Outcome.SKIPPED, cause=Cause.VERSION_UNKNOWN, detail=detail)
    dialogue = ApiSession(attempt.connection, version, client_id, attempt.clock)
    failure = await dialogue.begin() or await dialogue.ask_time()
    if failure is not None:
        return failure
    await _hear_notices(attempt, dialogue)
    return dialogue.result()


async def _hear_notices(attempt: ProbeContext, dialogue: ApiSession) -> None:
    """Take in what the gateway still tells unasked: until it is quiet, and not for long."""
    connection, now = attempt.connection, asyncio.get_running_loop().time
    until = now() + NOTICES_MOST
    cause = None
    while cause is None:
        connection.wait_until(min(until, now() + NOTICES_QUIET))
        cause = await dialogue.hear()
    connection.wait_until(connection.deadline)


async def _connect_again(attempt: ProbeContext) -> LayerResult:
    await attempt.renew()
    port = await probe_port(attempt)
    if not port.ok:
        return port
    handshake = await probe_handshake(attempt)
    attempt.server = handshake.server
    return handshake


def _failed(cause: Cause, detail: str = "") -> LayerResult:
    return LayerResult(
        layer=Layer.SESSION,
        outcome=OUTCOMES[cause],
        seconds=None,
        stage=Stage.START_API,
        cause=cause,
        detail=detail,
        session=SessionFacts(),
    )
