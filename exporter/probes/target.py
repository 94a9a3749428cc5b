"""One tick of one target: probe layer after layer until one fails, over one connection, within one deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from exporter.model import Layer, LayerResult, Outcome, Report, Target
from exporter.probes.connection import Connection
from exporter.probes.context import Abandoned, ProbeContext, report_of
from exporter.probes.handshake import probe_handshake
from exporter.probes.port import probe_port
from exporter.probes.resolver import Resolver
from exporter.probes.session import probe_session
from exporter.protocol.hello import lower_offer

LOWER_SECONDS = 2.0  # for a lower hello; one that is answered takes milliseconds

Probe = Callable[[ProbeContext], Awaitable[LayerResult]]

PROBES: tuple[tuple[Layer, Probe], ...] = (
    (Layer.PORT, probe_port),
    (Layer.HANDSHAKE, probe_handshake),
    (Layer.SESSION, probe_session),  # only where client ids are reserved for us
)


async def probe_target(
    target: Target,
    resolver: Resolver,
    deadline: float | None = None,
    abandoned: Abandoned = lambda _: None,
) -> Report:
    """Probe every layer of the target once. `deadline` in seconds from now; by default the target's own.

    A cancelled probe has no report: then `abandoned` gets the number of connections that it had opened.
    """
    limit = target.deadline if deadline is None else deadline
    connection = Connection(asyncio.get_running_loop().time() + limit)
    context = ProbeContext(target, connection, resolver, time.perf_counter)
    return await report_of(context, _probe_layers(context), abandoned)


async def probe_lower_hello(target: Target, resolver: Resolver, deadline: float = LOWER_SECONDS) -> Report | None:
    """Port and handshake with a lower maximum version, where the usual hello got no answer; None if it is no higher."""
    lowered = lowered_target(target)
    return None if lowered is None else await probe_target(replace(lowered, client_ids=()), resolver, deadline)


def lowered_target(target: Target) -> Target | None:
    """The target with a hello of a lower maximum; None if its own is no higher."""
    offer = lower_offer(target.hello)
    return None if offer is None else replace(target, hello=offer)


async def _probe_layers(context: ProbeContext) -> tuple[LayerResult, ...]:
    results: list[LayerResult] = []
    for layer, probe in PROBES:
        if layer is Layer.SESSION and not context.target.probe_ids:
            continue
        if results and not results[-1].ok:
            results.append(LayerResult(layer=layer, outcome=Outcome.SKIPPED))
        else:
            results.append(await probe(context))
            context.server = results[-1].server or context.server
    return tuple(results)
