"""The handshake layer: send the hello, read the reply, take the time where it happens. Never startApi."""

import time
from dataclasses import replace
from functools import partial

from exporter.model import Cause, Layer, LayerResult, Outcome, Stage, Stamp
from exporter.probes.connection import Received
from exporter.probes.context import ProbeContext
from exporter.probes.port import probe_port
from exporter.protocol import hello, wire
from exporter.protocol.error_codes import error_texts
from exporter.protocol.hello import ReplyReader

_failed = partial(LayerResult.failed, Layer.HANDSHAKE)


async def probe_port_and_handshake(context: ProbeContext) -> LayerResult:
    """Connect and shake hands: the result of the handshake, or of the port if that failed."""
    port = await probe_port(context)
    if not port.ok:
        return port
    handshake = await probe_handshake(context)
    context.server = handshake.server
    return handshake


async def probe_handshake(context: ProbeContext) -> LayerResult:
    """Ask for the API's version. The duration is from the hello sent to the reply received, by the kernel's stamp."""
    connection, offer = context.connection, context.target.hello
    sent_at = time.time_ns()  # the clock of the kernel's stamps
    began = context.clock()
    unsent = connection.send(hello.hello(offer))  # a cause if the peer has gone; what it sent before is still read
    reader = ReplyReader(offer)
    while True:
        received = await connection.receive()
        elapsed = context.clock() - began
        if received.cause is not None:
            return _unanswered(unsent, received.cause, elapsed, reader)
        try:
            reply = reader.feed(received.data)
        except hello.NotTheApiError as error:
            return _failed(error.cause, elapsed, Stage.REPLY, str(error))
        if reply is not None and unsent is not None:
            return _unanswered(
                unsent, unsent, elapsed, reader
            )  # an answer without a question, from a peer that is gone
        if reply is not None:
            break
    if reply.cause is not None:
        return replace(_failed(reply.cause, elapsed, Stage.REPLY, reply.detail), code=reply.code)
    if reply.rest:  # messages of the session came in the same segment
        connection.keep(Received(reply.rest, received.stamp or sent_at))
    stamped = None if received.stamp is None else (received.stamp - sent_at) / 1e9
    # The stamp is wall clock time: where that clock was set meanwhile, ours, which never jumps, is the better one.
    kernel = stamped is not None and 0 < stamped <= elapsed
    seconds = stamped if stamped is not None and kernel else elapsed
    return LayerResult(
        layer=Layer.HANDSHAKE,
        outcome=Outcome.OK,
        seconds=seconds,
        stages=((Stage.REPLY, seconds),),
        detail=f"{_before(reader)} before it" if reader.passed else "",
        stamp=Stamp.KERNEL if kernel else Stamp.USER,
        server=reply.server,
    )


def _unanswered(unsent: Cause | None, ended: Cause, elapsed: float, reader: ReplyReader) -> LayerResult:
    """No whole reply: the hello could not be sent, or the peer ended the connection or sent nothing more."""
    cause, stage = (ended, Stage.REPLY) if unsent is None else (unsent, Stage.HELLO)
    if not reader.held and not reader.passed:
        return _failed(cause, elapsed, stage)
    parts = [f"{len(reader.held)} bytes had come: {wire.quoted(reader.held)}"] if reader.held else []
    detail = "; ".join([*([f"{_before(reader)} had come"] if reader.passed else []), *parts])
    if not reader.begun_as_message:
        return _failed(Cause.MALFORMED, elapsed, Stage.REPLY, detail)  # too short to judge, but no reply begins so
    if unsent is not None:
        return _failed(cause, elapsed, stage, detail)  # whatever came is no answer: nothing was asked
    return _failed(Cause.UNFINISHED if cause is Cause.SILENCE else Cause.BROKEN_OFF, elapsed, stage, detail)


def _before(reader: ReplyReader) -> str:
    """The messages before the reply, in words."""
    count = "one other message" if reader.passed == 1 else f"{reader.passed} other messages"
    return f"{count} ({error_texts(dict.fromkeys(reader.errors))})" if reader.errors else count
