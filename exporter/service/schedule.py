"""When to probe: starts spread over the interval, a fixed grid for each target, missed ticks skipped, never queued.

Pure arithmetic on seconds; the loop that waits is in target_loop.py.
"""

from typing import NamedTuple

WATCHED_SPACING = 4  # intervals between two probes of a target whose watch is connected: it sees what they would
LONGEST = 15.0  # seconds from one handshake to the next beside client probes, where the interval is no longer
LATE = 120.0  # seconds by which no tick is late on a living schedule: a download keeps the others waiting for 30
WARM_UP = 2.0  # seconds over which the first probes are spread, so that a restart shows every target at once

# Seconds. Targets due in the same slot start together: with a thousand of them the process wakes ten times a second
# instead of at every one, for half the processor time. A handshake time has the kernel's stamps and does not notice.
SLOT = 0.1


class Tick(NamedTuple):
    """When to probe next, and how many ticks were skipped because the last probe overran."""

    due: float
    skipped: int


def first_tick(start: float, index: int, count: int, interval: float) -> float:
    """The first probe of target `index` of `count`: within WARM_UP seconds of the start, evenly spread."""
    return start + _slot(min(WARM_UP, interval) * index / count)


def grid_origin(start: float, index: int, count: int, interval: float) -> float:
    """The start of a target's grid: the targets spread evenly over one interval."""
    return start + _slot(interval * index / count)


def _slot(offset: float) -> float:
    """The start of the slot that an offset lies in."""
    return int(offset / SLOT) * SLOT


def next_tick(origin: float, interval: float, now: float, last: float) -> Tick:
    """The first point of the grid that lies after `now` and at least half an interval after the `last` tick.

    `skipped` counts the points in between, which are not caught up.
    """
    earliest = max(now, last + interval / 2)
    steps = int((earliest - origin) // interval) + 1
    due = origin + steps * interval
    return Tick(due, max(0, round((due - last) / interval) - 1))


def soon_enough(tick: Tick, interval: float, last: float) -> Tick:
    """The tick; or one halfway to it, where it is more than an interval after the `last` one, a tick off the grid."""
    gap = tick.due - last
    return Tick(last + gap / 2, 0) if 1.01 * interval < gap < 1.99 * interval else tick


def spacing(interval: float, *, watched: bool) -> float:
    """Seconds between two probes of a target."""
    return interval * WATCHED_SPACING if watched else interval


def grace_seconds(interval: float, deadline: float) -> float:
    """How long a tick waits for a client probe: half its own deadline, as long as the handshakes stay close enough.

    A freeze must be seen in time for its page (deploy/rules/thresholds.py).
    """
    return min(deadline / 2, max(0.0, LONGEST - interval))
