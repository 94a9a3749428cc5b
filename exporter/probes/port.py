"""The port layer: resolve the name, then the TCP connect, address by address, all within the one deadline."""

import asyncio
from functools import partial

from exporter.model import Cause, Layer, LayerResult, Outcome, Stage, Stamp
from exporter.probes.context import ProbeContext
from exporter.probes.resolver import Address, UnresolvedError

# Of several addresses that fail, the one that says most of the target decides.
TELLING = (Cause.CONNECT_TIMEOUT, Cause.CONNECT_REFUSED, Cause.NO_ROUTE)

_failed = partial(LayerResult.failed, Layer.PORT)


async def probe_port(context: ProbeContext) -> LayerResult:
    """Connect to the first of the target's addresses that accepts, and leave the connection open in the context."""
    began = context.clock()
    addresses = context.resolver.literal(context.target)
    try:
        if addresses is None:
            async with asyncio.timeout_at(context.connection.deadline):
                addresses = await context.resolver.resolve(context.target)
    except UnresolvedError as error:
        return _failed(error.cause, context.clock() - began, Stage.RESOLVE, str(error))
    except TimeoutError:
        return _failed(Cause.NAME_TIMEOUT, context.clock() - began, Stage.RESOLVE, "")
    resolved = context.clock() - began
    return await _connect(context, addresses, resolved)


async def _connect(context: ProbeContext, addresses: list[Address], resolved: float) -> LayerResult:
    connection = context.connection
    failures: dict[Cause, list[str]] = {}
    began = context.clock()
    for index, address in enumerate(addresses):
        before = context.clock()
        give_up = connection.deadline - connection.remaining * (1 - 1 / (len(addresses) - index))
        ended = await connection.connect(address, give_up)
        took = context.clock() - before
        if not isinstance(ended, Cause):
            # The kernel's round trip is without our loop's load; one longer than we waited would be no measurement.
            measured = ended if ended is not None and ended <= took else None
            seconds = took if measured is None else measured
            return LayerResult(
                layer=Layer.PORT,
                outcome=Outcome.OK,
                seconds=seconds,
                detail=_which_answered(context, address, failures),
                stages=((Stage.RESOLVE, resolved), (Stage.CONNECT, seconds)),
                stamp=Stamp.USER if measured is None else Stamp.KERNEL,
            )
        connection.discard()
        failures.setdefault(ended, []).append(str(address.sockaddr[0]))
    cause = next(cause for cause in TELLING if cause in failures)
    only = str(addresses[0].sockaddr[0]) if len(addresses) == 1 else ""
    detail = _listed(failures) if not only else only if only != context.target.host else ""
    return _failed(cause, context.clock() - began, Stage.CONNECT, detail)


def _which_answered(context: ProbeContext, address: Address, failures: dict[Cause, list[str]]) -> str:
    """Which address it was, where that is not plain from the configuration."""
    answered = str(address.sockaddr[0])
    if answered == context.target.host:
        return ""
    return "; ".join(([_listed(failures)] if failures else []) + [f"{answered} answered"])


def _listed(failures: dict[Cause, list[str]]) -> str:
    return "; ".join(f"{', '.join(addresses)}: {cause.value}" for cause, addresses in failures.items())
