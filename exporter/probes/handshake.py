"""The handshake layer: send the hello, read the reply, take the time where it happens. Never startApi."""

import time

from exporter import wire
from exporter.model import Cause, Layer, LayerResult, Outcome, Stage, Stamp
from exporter.probes.attempt import Attempt

OUTCOMES = {
    Cause.EOF: Outcome.CLOSED,
    Cause.RESET: Outcome.CLOSED,
    Cause.SILENCE: Outcome.TIMEOUT,
    Cause.UNFINISHED: Outcome.TIMEOUT,
    Cause.REDIRECT: Outcome.REJECTED,
    Cause.TOO_OLD: Outcome.REJECTED,
    Cause.API_ERROR: Outcome.REJECTED,
}


async def probe_handshake(attempt: Attempt) -> LayerResult:
    """Ask for the API's version. The duration is from the hello sent to the reply received, by the kernel's stamp."""
    connection, offer = attempt.connection, attempt.target.hello
    sent_at = time.time_ns()  # the clock of the kernel's stamps
    began = attempt.clock()
    cause = connection.send(wire.hello(offer))
    if cause is not None:
        return _failed(cause, attempt.clock() - began, Stage.HELLO)
    data = b""
    while True:
        received = await connection.receive()
        elapsed = attempt.clock() - began
        if received.cause is not None:
            return _unanswered(received.cause, elapsed, data)
        data += received.data
        try:
            reply = wire.read_reply(data, offer)
        except wire.NotTheApiError as error:
            return _failed(error.cause, elapsed, Stage.REPLY, str(error))
        if reply is not None:
            break
    if reply.cause is not None:
        return _failed(reply.cause, elapsed, Stage.REPLY, reply.detail)
    stamped = None if received.stamp is None else (received.stamp - sent_at) / 1e9
    # The stamp is wall clock time: where that clock was set meanwhile, ours, which never jumps, is the better one.
    kernel = stamped is not None and 0 < stamped <= elapsed
    seconds = stamped if stamped is not None and kernel else elapsed
    return LayerResult(
        Layer.HANDSHAKE,
        Outcome.OK,
        seconds,
        stages=((Stage.REPLY, seconds),),
        stamp=Stamp.KERNEL if kernel else Stamp.USER,
        server=reply.server,
    )


def _unanswered(cause: Cause, elapsed: float, data: bytes) -> LayerResult:
    if not data:
        return _failed(cause, elapsed, Stage.REPLY)
    detail = f"{len(data)} bytes had come: {wire.quoted(data)}"
    return _failed(Cause.UNFINISHED if cause is Cause.SILENCE else cause, elapsed, Stage.REPLY, detail)


def _failed(cause: Cause, seconds: float, stage: Stage, detail: str = "") -> LayerResult:
    outcome = OUTCOMES.get(cause, Outcome.GARBLED)
    return LayerResult(Layer.HANDSHAKE, outcome, seconds, stage, cause, detail, ((stage, seconds),))
