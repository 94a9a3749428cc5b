"""The clock of a target's clients: each is tried on its own interval, one after the other.

A client whose failure is not yet believed is tried again one interval of the target later, then along its grid again.
A try is begun where its deadline ends before the next probe of the wire is due, if there is such a time, and else has
the time until then; that probe waits for half its own deadline and then takes the target. A library that is being
imported holds up nobody.
"""

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import structlog

from exporter.clients.pool import PooledClient
from exporter.clients.probe import EndpointLease, interrupted, probe_client, skip, unusable
from exporter.model import Report, Target
from exporter.probes.resolver import Resolver
from exporter.service import schedule
from exporter.verdict.client_blame import CONVINCING, ClientProbe, answered, confirm, is_conclusive

AROUND = 1.0  # seconds of a try beside the client's own, at a gateway that answers quickly


@dataclass(frozen=True, slots=True)
class Ground:
    """One target as its clients' rounds need it.

    `turn` gives it to one client alone, `probe` probes the whole wire now and judges that, `tell` keeps a trial and
    says whether the client is to be tried again soon. `due` is when the wire is probed next (the loop's clock), not
    later than now while that goes on, and `ticked` is told when it was. `answering` says whether it answered when it
    was last probed.
    """

    resolver: Resolver
    turn: Callable[[], AbstractAsyncContextManager[EndpointLease]]
    probe: Callable[[], Coroutine[Any, Any, Report]]
    tell: Callable[[ClientProbe], bool]
    due: Callable[[], float]
    ticked: asyncio.Event
    answering: Callable[[], bool]


async def run(target: Target, members: Sequence[PooledClient], ground: Ground, origin: float) -> None:
    """Try the clients for ever, each along its own grid that starts at `origin` (the loop's clock)."""
    loop = asyncio.get_running_loop()
    queue = [(origin, place) for place in range(len(members))]
    while True:
        due, place = heapq.heappop(queue)
        await asyncio.sleep(due - loop.time())
        soon = False
        try:
            soon = await probe_once(target, members[place], ground)
        except Exception:  # noqa: BLE001 - our own fault: it ends this try, not the clock
            structlog.get_logger(__name__).exception("trial failed", target=target.name)
        following = schedule.next_tick(origin, members[place].spec.interval, loop.time(), due).due
        heapq.heappush(queue, (min(following, loop.time() + target.interval) if soon else following, place))


async def probe_once(target: Target, member: PooledClient, ground: Ground) -> bool:
    """One client, once: its failure is believed only if the whole wire still answers right after it.

    Returns whether it is to be tried again soon.
    """
    problem = await member.ready()
    if problem is not None:
        return ground.tell(unusable(member, problem))
    until = await _room(target, member.spec.deadline, ground)
    if not ground.answering():
        return ground.tell(skip(member))
    turn = None
    try:
        async with ground.turn() as turn:
            trying = probe_client(target, member, ground.resolver, member.spec.deadline, turn, until=until)
            trial = await turn.work(asyncio.create_task(trying))
        if trial is None:
            return ground.tell(interrupted(member, target, turn))
        failed = is_conclusive(trial.result) and not trial.result.ok
        fallen = trial.before is not None and not answered(trial.before)
        if failed or fallen:
            trial = confirm(trial, await ground.probe())
    except asyncio.CancelledError:
        if turn is not None:  # the configuration changes, or the process ends: what was opened is counted all the same
            ground.tell(interrupted(member, target, turn))
        raise
    return ground.tell(trial)


async def _room(target: Target, deadline: float, ground: Ground) -> float:
    """Until when (loop time) a try may go on: the wire's next probe is waited for where there is too little time.

    A moment less than the deadline will do, but not less than what convinces.
    """
    loop = asyncio.get_running_loop()
    grace = target.deadline / 2
    if ground.due() + grace - loop.time() < max(deadline, min(deadline, CONVINCING) + AROUND):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, ground.due() - loop.time()) + 2 * target.deadline):
                await ground.ticked.wait()
    return ground.due() + grace
