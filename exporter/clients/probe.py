"""One probe of a target by a client, under a lease: while it lasts, no other probe of ours runs on that target.

    a pause                the gateway releases the client id that was used before
    a handshake            if it fails, the client is not started: the wire's verdict stands
    the client             with the first reserved id; after error 326 with the next, within the same deadline

A more urgent probe of the target ends the lease; then the client is stopped, and its result is discarded.
"""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from exporter.clients.pool import PooledClient
from exporter.model import Cause, LayerResult, Outcome, Report, Target
from exporter.probes.resolver import Resolver, UnresolvedError
from exporter.probes.target import probe_target
from exporter.protocol.error_codes import ID_IN_USE
from exporter.text import joined
from exporter.verdict.client_blame import ClientProbe, answered, discard, doubt_partial, enough, is_conclusive, skipped

SETTLING = 0.25  # seconds from one session to the next: an id is free a moment after its session's end
ENDING = 2 * SETTLING  # seconds kept for killing a client at the end of its time
COMPARED = (5, 7)  # connections of ours
LEAST = 0.1  # seconds that a client gets even if the wire's next probe is near


class EndpointLease:
    """One client's exclusive use of a target, from its creation to `end`."""

    def __init__(self, until: float = math.inf) -> None:
        self.until = until  # loop time; who waits for the endpoint then ends it
        self.opened = 0  # TCP connections of the client
        self.own_opened = 0  # our own, of the handshake right before
        self._wanted = asyncio.Event()
        self._over = asyncio.Event()

    async def wait(self, seconds: float | None) -> None:
        """Wait for the end of the lease; request it after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        self._wanted.set()
        await self._over.wait()

    def count_own(self, connections: int) -> None:
        """Count connections of our own."""
        self.own_opened += connections

    def end(self) -> None:
        """End the lease: the endpoint is free for other probes."""
        self._over.set()

    async def work(self, task: asyncio.Task[ClientProbe]) -> ClientProbe | None:
        """The task's result; None if the end of the lease was requested first, and the task cancelled."""
        requested = asyncio.create_task(self._wanted.wait())
        try:
            await asyncio.wait({task, requested}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for waiter in (task, requested):
                waiter.cancel()
            await asyncio.gather(task, requested, return_exceptions=True)


async def probe_client(
    target: Target,
    member: PooledClient,
    resolver: Resolver,
    limit: float,
    lease: EndpointLease,
    *,
    until: float = math.inf,
    regardless: bool = False,
    before: Report | None = None,
    more: str = "give the target a longer interval",
    on_start: Callable[[], object] = lambda: None,
) -> ClientProbe:
    """Probe with a client for at most `limit` seconds, and end before `until` (loop time).

    `regardless`: skip the handshake, because the gateway is known not to answer, and probe all the same. `before`
    stands in place of the handshake, where the gateway has only just answered. `more` says how it would get more time.
    """
    spec = member.spec
    await asyncio.sleep(SETTLING)
    if before is None and not regardless:
        before = await probe_target(replace(target, client_ids=()), resolver, abandoned=lease.count_own)
        lease.count_own(before.connections)
    unanswered = before is not None and not answered(before)
    now, end = asyncio.get_running_loop().time, until - ENDING
    host = None if unanswered else await _host(target, resolver, before, min(limit, end - now()))
    if host is None:
        return ClientProbe.of(skipped(spec.name, member.installed), time.time(), spec.interval, before=before)
    on_start()
    result, conflicts, had_seconds = await _connect(
        replace(target, host=host), member, max(min(limit, end - now()), LEAST), lease
    )
    if before is not None and result.outcome is Outcome.TIMEOUT and not enough(had_seconds, spec.deadline):
        result = discard(result, f"there was time for {had_seconds:.1f} s only: {more}")
    if is_conclusive(result) and not result.ok:
        await asyncio.sleep(SETTLING)
    return ClientProbe.of(
        result,
        time.time(),
        spec.interval,
        before=before,
        connections=lease.opened,
        conflicts=conflicts,
        limit=had_seconds,
    )


async def compare(probe: ClientProbe, handshake: Callable[[], Awaitable[Report]]) -> tuple[ClientProbe, list[Report]]:
    """Connect several times ourselves before a client's failure counts: a relay lets only some of its backends fail.

    The number is random, so that our connections do not keep step with the backends. Returns the probe as it counts,
    and the reports of the connections.
    """
    reports: list[Report] = []
    for _ in range(random.randint(*COMPARED)):  # noqa: S311 - no secret
        reports.append(await handshake())
        if not answered(reports[-1]):
            return doubt_partial(probe), reports
    return probe, reports


def unusable(member: PooledClient, problem: str) -> ClientProbe:
    """The probe of a client that cannot be used."""
    return ClientProbe.of(discard(skipped(member.spec.name), problem), time.time(), member.spec.interval)


def skip(member: PooledClient) -> ClientProbe:
    """The probe of a client that was not started, because the wire fails."""
    return ClientProbe.of(skipped(member.spec.name, member.installed), time.time(), member.spec.interval)


def resting(member: PooledClient, cause: Cause) -> ClientProbe:
    """The probe of a client that rests on this target, or is suspended until a reload."""
    result = replace(skipped(member.spec.name, member.installed), cause=cause)
    probe = ClientProbe.of(result, time.time(), member.spec.interval)
    return replace(probe, expires=math.inf) if cause is Cause.SUSPENDED else probe


def interrupted(member: PooledClient, target: Target, lease: EndpointLease) -> ClientProbe:
    """The probe of a client whose lease was ended: no result, but its connections count."""
    now = time.time()
    handshake = Report(target=target.name, at=now, seconds=0.0, results=(), connections=lease.own_opened)
    result = skipped(member.spec.name, member.installed)
    return ClientProbe(result=result, at=now, expires=now, before=handshake, connections=lease.opened)


async def _host(target: Target, resolver: Resolver, before: Report | None, limit: float) -> str | None:
    """What the client connects to; None: there is nothing that it may connect to.

    A client looks a name up by itself. So for a discovered target, whose name may resolve to an address that no list
    may name, it gets the address instead: the one that answered the handshake before, or the first.
    """
    if not target.discovered or resolver.literal(target) is not None:
        return target.host
    try:
        async with asyncio.timeout(limit):
            addresses = [str(address.sockaddr[0]) for address in await resolver.resolve(target)]
    except (UnresolvedError, TimeoutError):
        return None
    detail = before.results[0].detail if before is not None and before.results else ""
    return next((address for address in addresses if f" {detail}".endswith(f" {address} answered")), addresses[0])


async def _connect(
    target: Target, member: PooledClient, limit: float, lease: EndpointLease
) -> tuple[LayerResult, int, float]:
    """The client's result with the first free client id, the number of ids in use, and the seconds that it had."""
    end = asyncio.get_running_loop().time() + limit
    conflicts, result, left = 0, skipped(member.spec.name), limit
    async with member.places:
        for client_id in target.probe_ids:
            left = max(end - asyncio.get_running_loop().time(), LEAST)
            lease.opened += 1
            probe = await member.worker.probe(
                target.host, target.port, client_id, left, download=member.spec.download, account=target.account
            )
            lease.opened += probe.connections - 1
            result = replace(probe.result, installed=member.installed)
            if result.code != ID_IN_USE:
                break
            conflicts += 1
    if result.code == ID_IN_USE:
        result = replace(result, cause=Cause.CLIENT_ID_IN_USE)
    elif conflicts:
        used = ", ".join(map(str, target.probe_ids[:conflicts]))
        result = replace(result, detail=joined(result.detail, f"client ids in use: {used}"))
    return result, conflicts, left
