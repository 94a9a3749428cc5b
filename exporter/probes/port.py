"""The port layer: resolve the name, then the TCP connect, address by address, all within the one deadline."""

import asyncio

from exporter.model import Cause, Layer, LayerResult, Outcome, Stage, Stamp
from exporter.probes.context import ProbeContext
from exporter.probes.resolver import Address, UnresolvedError

OUTCOMES = {
    Cause.NAME_UNKNOWN: Outcome.UNAVAILABLE,
    Cause.NAME_TIMEOUT: Outcome.TIMEOUT,
    Cause.NO_ROUTE: Outcome.UNAVAILABLE,
    Cause.CONNECT_TIMEOUT: Outcome.TIMEOUT,
    Cause.CONNECT_REFUSED: Outcome.REFUSED,
}
# Of several addresses that fail, the one that says most of the target decides.
TELLING = (Cause.CONNECT_TIMEOUT, Cause.CONNECT_REFUSED, Cause.NO_ROUTE)


async def probe_port(attempt: ProbeContext) -> LayerResult:
    """Connect to the first of the target's addresses that accepts, and leave the connection open in the attempt."""
    began = attempt.clock()
    addresses = attempt.resolver.literal(attempt.target)
    try:
        if addresses is None:
            async with asyncio.timeout_at(attempt.connection.deadline):
                addresses = await attempt.resolver.resolve(attempt.target)
    except UnresolvedError as error:
        return _failed(error.cause, attempt.clock() - began, Stage.RESOLVE, str(error))
    except TimeoutError:
        return _failed(Cause.NAME_TIMEOUT, attempt.clock() - began, Stage.RESOLVE, "")
    resolved = attempt.clock() - began
    return await _connect(attempt, addresses, resolved)


async def _connect(attempt: ProbeContext, addresses: list[Address], resolved: float) -> LayerResult:
    connection = attempt.connection
    failures: dict[Cause, list[str]] = {}
    began = attempt.clock()
    for index, address in enumerate(addresses):
        before = attempt.clock()
        give_up = connection.deadline - connection.remaining * (1 - 1 / (len(addresses) - index))
        ended = await connection.connect(address, give_up)
        took = attempt.clock() - before
        if not isinstance(ended, Cause):
            # The kernel's round trip is without our loop's load; one longer than we waited would be no measurement.
            measured = ended if ended is not None and ended <= took else None
            seconds = took if measured is None else measured
            return LayerResult(
                layer=Layer.PORT,
                outcome=Outcome.OK,
                seconds=seconds,
                detail=_told(attempt, address, failures),
                stages=((Stage.RESOLVE, resolved), (Stage.CONNECT, seconds)),
                stamp=Stamp.USER if measured is None else Stamp.KERNEL,
            )
        connection.discard()
        failures.setdefault(ended, []).append(str(address.sockaddr[0]))
    cause = next(cause for cause in TELLING if cause in failures)
    detail = _listed(failures) if len(addresses) > 1 or addresses[0].sockaddr[0] != attempt.target.host else ""
    return _failed(cause, attempt.clock() - began, Stage.CONNECT, detail)


def _told(attempt: ProbeContext, address: Address, failures: dict[Cause, list[str]]) -> str:
    """Which address it was, where that is not plain from the configuration."""
    answered = str(address.sockaddr[0])
    if answered == attempt.target.host:
        return ""
    return "; ".join(([_listed(failures)] if failures else []) + [f"{answered} answered"])


def _listed(failures: dict[Cause, list[str]]) -> str:
    return "; ".join(f"{', '.join(addresses)}: {cause.value}" for cause, addresses in failures.items())


def _failed(cause: Cause, seconds: float, stage: Stage, detail: str) -> LayerResult:
    return LayerResult(
        layer=Layer.PORT,
        outcome=OUTCOMES[cause],
        seconds=seconds,
        stage=stage,
        cause=cause,
        detail=detail,
        stages=((stage, seconds),),
    )
