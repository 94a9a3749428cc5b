"""Open files: how many the system permits, and how many each use may have.

Every connection is an open file. Without one the exporter can neither probe a gateway nor report that. So each use has
its share; a use that needs more waits or does without, by the rules below.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from exporter.model import Target

if sys.platform != "win32":
    import resource

MOST = 65_536
WITH_SELECT = 512  # the most that select() takes on Windows
OWN = 64  # the log, the resolver, the event loop, the pipes of the client libraries
HTTP = 512  # connections of scrapers and browsers


@dataclass(frozen=True, slots=True)
class FileBudget:
    """How many open files each use may have at a time, of all that are `permitted`."""

    permitted: int
    probes: int
    watches: int
    http: int  # connections of scrapers and browsers; each may need a second file, for the /probe that it asks for


def budget(permitted: int) -> FileBudget:
    """Divide the open files. The configuration has no part in it, so a reload changes nothing."""
    own, http = min(OWN, permitted // 4), min(HTTP, permitted // 8)
    rest = max(1, permitted - own - 2 * http)
    return FileBudget(permitted, rest - rest // 2, rest // 2, http)


def shortfall(shares: FileBudget, targets: Sequence[Target]) -> int:
    """How many more open files it would take to watch all these targets and to probe them all at once."""
    watched = sum(target.watch_id is not None for target in targets)
    return max(0, len(targets) - shares.probes) + max(0, watched - shares.watches)


def warn_if_scarce(shares: FileBudget, targets: Sequence[Target]) -> None:
    """Log a warning where the permitted open files are too few for these targets."""
    missing = shortfall(shares, targets)
    if missing:
        structlog.get_logger(__name__).warning(
            "too few open files",
            permitted=shares.permitted,
            needed=shares.permitted + missing,
            probes_at_once=shares.probes,
            targets_watched=shares.watches,
            remedy="raise the hard limit: ulimit -Hn, LimitNOFILE= of systemd, ulimits: nofile of Docker",
        )


def limit_watches(targets: Sequence[Target], watches: int) -> tuple[Target, ...]:
    """The targets, of which only the first are watched, as many as there are files for; after a reload the same ones.

    Probes come before watches: without a watch less is seen, without probes nothing.
    """
    kept, left = [], watches
    for target in targets:
        watched = target.watch_id is not None
        kept.append(replace(target, watch=False) if watched and left <= 0 else target)
        left -= watched
    return tuple(kept)


def raise_limit() -> int:
    """Raise the limit of open files to the most that the system permits; return it."""
    if sys.platform == "win32":
        return WITH_SELECT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= limit:
        return MOST if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
