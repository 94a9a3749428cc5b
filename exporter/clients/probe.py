"""One try of a client against a target, in a turn in which we probe that target in no other way.

    a moment of rest       the gateway lets go of the client id that was used before
    a handshake            if it fails, the client is not started: the wire's verdict stands
    the client             with the first reserved id; after error 326 with the next, within the same deadline

Whoever needs the target urgently ends the turn; then the client is stopped, and nothing is said of it.
"""

import asyncio
import contextlib
import math
import time
from dataclasses import replace

from exporter.clients.pool import PooledClient
from exporter.model import Cause, LayerResult, Outcome, Report, Target
from exporter.probes.resolver import Resolver
from exporter.probes.target import probe_target
from exporter.verdict.client_blame import EXPIRY, ClientProbe, answered, discard, enough, is_conclusive, skipped

SETTLING = 0.25  # seconds from one session to the next: an id is free a moment after its session's end
ENDING = 2 * SETTLING  # seconds from the end of a client's time to that of its try: it may have to be killed first
LEAST = 0.1  # seconds for a client, however near the wire's next probe is
IN_USE = 326


class EndpointLease:
    """The time in which one client alone has a target."""

    def __init__(self) -> None:
        """It begins."""
        self.opened = 0  # TCP connections of the client
        self.looked = 0  # our own, of the handshake right before
        self._wanted = asyncio.Event()
        self._over = asyncio.Event()

    async def wait(self, seconds: float | None) -> None:
        """Wait for its end; after so many seconds, ask for that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        self._wanted.set()
        await self._over.wait()

    def look(self, connections: int) -> None:
        """We have looked at the target with so many connections of our own."""
        self.looked += connections

    def end(self) -> None:
        """It is over."""
        self._over.set()

    async def work(self, task: asyncio.Task[ClientProbe]) -> ClientProbe | None:
        """The task's result; None if it was ended because somebody wants the target."""
        wanted = asyncio.create_task(self._wanted.wait())
        try:
            await asyncio.wait({task, wanted}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for one in (task, wanted):
                one.cancel()
            await asyncio.gather(task, wanted, return_exceptions=True)


async def probe_client(
    target: Target,
    member: PooledClient,
    resolver: Resolver,
    limit: float,
    turn: EndpointLease,
    *,
    until: float = math.inf,
    regardless: bool = False,
) -> ClientProbe:
    """One trial, the client's own time limited to `limit` seconds, and such that all of it is over `until` (loop time).

    `regardless` of whether the gateway answers there is no handshake: it is known not to.
    """
    spec = member.spec
    await asyncio.sleep(SETTLING)
    before = None
    if not regardless:
        before = await probe_target(replace(target, client_ids=()), resolver, abandoned=turn.look)
        turn.look(before.connections)
    now = time.time()
    if before is not None and not answered(before):
        return ClientProbe(skipped(spec.name, member.installed), now, now + EXPIRY * spec.interval, before)
    left = until - ENDING - asyncio.get_running_loop().time()
    result, conflicts, had = await _connect(target, member, max(min(limit, left), LEAST), turn)
    if before is not None and result.outcome is Outcome.TIMEOUT and not enough(had, spec.deadline):
        result = discard(result, f"there was time for {had:.1f} s only: give the target a longer interval")
    if is_conclusive(result) and not result.ok:
        await asyncio.sleep(SETTLING)
    now = time.time()
    return ClientProbe(result, now, now + EXPIRY * spec.interval, before, turn.opened, conflicts, had)


def unusable(member: PooledClient, problem: str) -> ClientProbe:
    """The trial of a client that cannot be used."""
    now = time.time()
    result = discard(skipped(member.spec.name), problem)
    return ClientProbe(result, now, now + EXPIRY * member.spec.interval)


def skip(member: PooledClient) -> ClientProbe:
    """The trial of a client that was not started, because the wire fails."""
    now = time.time()
    return ClientProbe(skipped(member.spec.name, member.installed), now, now + EXPIRY * member.spec.interval)


def interrupted(member: PooledClient, target: Target, turn: EndpointLease) -> ClientProbe:
    """The trial of a client that had to make room: it says nothing, and what it had opened is counted."""
    now = time.time()
    handshake = Report(target=target.name, at=now, seconds=0.0, results=(), connections=turn.looked)
    return ClientProbe(skipped(member.spec.name, member.installed), now, now, handshake, turn.opened)


async def _connect(
    target: Target, member: PooledClient, limit: float, turn: EndpointLease
) -> tuple[LayerResult, int, float]:
    """The client's result with the first id that is free, how many were not, and the seconds that it had."""
    until = asyncio.get_running_loop().time() + limit
    conflicts, result, left = 0, skipped(member.spec.name), limit
    async with member.places:
        for client_id in target.probe_ids:
            left = max(until - asyncio.get_running_loop().time(), LEAST)
            turn.opened += 1
            probe = await member.worker.probe(target.host, target.port, client_id, left)
            turn.opened += probe.connections - 1
            result = replace(probe.result, installed=member.installed)
            if result.code != IN_USE:
                break
            conflicts += 1
    if result.code == IN_USE:
        result = replace(result, cause=Cause.CLIENT_ID_IN_USE)
    elif conflicts:
        used = ", ".join(map(str, target.probe_ids[:conflicts]))
        result = replace(
            result, detail="; ".join(part for part in (result.detail, f"client ids in use: {used}") if part)
        )
    return result, conflicts, left
