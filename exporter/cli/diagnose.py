"""One look at a target from the outside in: every layer of the wire, then each client library, one after the other.

Where the wire answers, a client's failure is believed only if the wire answers again right after it. Where the API does
not answer but the port is open, the libraries are tried all the same: that they all fail shows that none is at fault.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from exporter.clients.pool import ClientPool, PooledClient
from exporter.clients.probe import EndpointLease, probe_client, unusable
from exporter.model import ClientSpec, Layer, Report, Target
from exporter.probes.resolver import Resolver
from exporter.probes.target import probe_target
from exporter.state.target import cut_short
from exporter.verdict.client_blame import ClientProbe, answered, confirm, discard, is_conclusive, skipped

LEAST = 0.5  # seconds that are left for a client, or it is not tried
SHARE = 0.25  # of the seconds that are left: for our own look before a client, and as much for the one after it
UNPROVEN = "the time was over before we saw whether the gateway still answers: give more with --timeout"

Tell = Callable[[str], object]


async def examine(
    target: Target, clients: Sequence[ClientSpec], limit: float | None, tell: Tell, crew: ClientPool | None = None
) -> Report:
    """The report of all of it, in `limit` seconds altogether; by default each has its own deadline."""
    began = time.perf_counter()
    until = None if limit is None else asyncio.get_running_loop().time() + limit
    resolver = Resolver()
    tell(f"probing {target.endpoint}")
    report = await probe_target(target, resolver, limit)
    port = report.layer(Layer.PORT)
    if not clients or report.fault is not None or port is None or not port.ok or not target.probe_ids:
        return replace(report, results=(*report.results, *(skipped(spec.name) for spec in clients)))
    crew = crew or ClientPool()
    try:
        await crew.configure({spec.name: spec for spec in clients})
        members = [member for spec in clients if (member := crew.member(spec.name)) is not None]
        tell(f"importing {', '.join(spec.name for spec in clients)}")
        problems = await asyncio.gather(*(_imported(member, until) for member in members))
        wire, client_probes = report, []
        for member, problem in zip(members, problems, strict=True):
            tell(f"trying {member.spec.name}")
            if problem is not None:
                client_probes.append(unusable(member, problem))
                continue
            trial, wire = await _tried(target, member, wire, resolver, until)
            client_probes.append(trial)
    finally:
        await crew.close()
    opened = wire.connections + sum(
        trial.connections + (trial.before.connections if trial.before else 0) for trial in client_probes
    )
    results = (*wire.results, *(trial.result for trial in client_probes))
    return replace(
        wire, at=report.at, seconds=time.perf_counter() - began, results=results, connections=opened, fault=wire.fault
    )


async def _imported(member: PooledClient, until: float | None) -> str | None:
    """Why the library cannot be tried, if it cannot."""
    try:
        async with asyncio.timeout_at(until):
            return await member.ready()
    except TimeoutError:
        return "the time was over before the library was imported"


async def _tried(
    target: Target, member: PooledClient, wire: Report, resolver: Resolver, until: float | None
) -> tuple[ClientProbe, Report]:
    """The trial of a client that was imported, and the latest look at the wire."""
    works, left = answered(wire), _left(until)
    ours = min(target.deadline, left * SHARE)
    limit = min(member.spec.deadline if works else min(member.spec.deadline, target.deadline), left - ours)
    if limit < LEAST:
        return unusable(member, "no time was left for it"), wire
    hurried = replace(target, deadline=ours)
    trial = await probe_client(hurried, member, resolver, limit, EndpointLease(), regardless=not works)
    fallen = trial.before is not None and not answered(trial.before)
    if works and (fallen or (is_conclusive(trial.result) and not trial.result.ok)):
        again = await probe_target(target, resolver, min(target.deadline, max(_left(until), 0.0)))
        if cut_short(again, target.deadline):  # it was not given its time: nothing is known of the gateway by that
            return replace(trial, result=discard(trial.result, UNPROVEN)), _counted(wire, again)
        wire, trial = _counted(again, wire), confirm(trial, again)
    return trial, wire


def _left(until: float | None) -> float:
    return math.inf if until is None else until - asyncio.get_running_loop().time()


def _counted(report: Report, other: Report) -> Report:
    """The report with the connections of the other one too."""
    return replace(report, connections=report.connections + other.connections)
