"""Which connection of ours a gateway stopped answering after, and which connections rest or are suspended for that.

A fall: a gateway that answered stops answering, within a client probe or up to a minute after it, or right
after the first session of our own since it last began to answer.

    falls in a row    a client                                   sessions of our own
    1                 rests until the gateway is well an hour    go on
    2                 suspended until a reload                   suspended until a reload, with the watch

A freeze by chance costs one client an hour of rest. A gateway of which some connections are answered and others are
not (a relay with several backends) has no falls: which connection it stops at means nothing. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from struct import Struct

from exporter.model import Cause, Fall, InstalledVersion, Layer, Report
from exporter.model.copies import replace
from exporter.verdict.client_blame import answered

FALLEN = frozenset(
    {
        Cause.CONNECT_REFUSED,
        Cause.CONNECT_TIMEOUT,
        Cause.EOF,
        Cause.RESET,
        Cause.SILENCE,
        Cause.UNFINISHED,
        Cause.BROKEN_OFF,
    }
)
WITHIN = 2.0  # seconds; our own probe right after a client's begins no later, and meets what happened within that
SUSPENDED_AT = 2  # falls in a row
KEPT_CONNECTIONS = 24
CONNECTION = Struct("<d?")  # one connection of ours as it is kept: 9 bytes, as objects it is 88
UNANSWERED = b"\0"  # the last byte of one that was not answered
PARTIAL_STRETCHES = 3  # of unanswered connections, with answered ones before, between and after
PARTIAL_LENGTH = 3  # connections in one stretch; a gateway that freezes leaves longer ones


@dataclass(frozen=True, slots=True)
class FallTimings:
    """Seconds.

    A client counts for a fall up to `after` its probe. It rests until the gateway has answered for `rest`. A gateway
    that answers for `settled` after our startApi has taken it well. Connections of the last `recent` are compared.
    """

    after: float = 60.0
    rest: float = 3600.0
    settled: float = 3.0
    recent: float = 1200.0

    def within(self, interval: float) -> "FallTimings":
        """The timings for a target that is probed every `interval` seconds: `settled` is one interval at most."""
        return self if self.settled <= interval else replace(self, settled=interval)


FALL_TIMINGS = FallTimings()


@dataclass(frozen=True, slots=True)
class ClientRun:
    """The latest client probe that connected: from unix time `began` to `ended`; None: it goes on.

    `retry`: it is the first one after a fall within the one before.
    """

    client: str
    installed: InstalledVersion | None
    began: float
    ended: float | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Falls:
    """What is known of a gateway's falls.

    `answering_since` and `answered_at` are unix times; None: it does not answer. `session_at` is our first
    startApi since then. `by_client` counts falls in a row. `present` is what the present failure began with. `packed`
    are our latest connections: `recent` as bytes.
    """

    answering_since: float | None = None
    answered_at: float | None = None
    session_at: float | None = None
    run: ClientRun | None = None
    by_client: Mapping[str, int] = field(default_factory=dict)
    by_session: int = 0
    present: Fall | None = None
    packed: bytes = b""

    @property
    def recent(self) -> tuple[tuple[float, bool], ...]:
        """Our latest connections: when (unix time), and whether the hello was answered."""
        return tuple(CONNECTION.iter_unpack(self.packed))

    @property
    def sessions_suspended(self) -> bool:
        """No session of ours is begun, by probe, watch or library."""
        return self.by_session >= SUSPENDED_AT


def observe(falls: Falls, report: Report, timings: FallTimings, alive_at: float | None = None) -> Falls:
    """The falls after one more report of the wire. `alive_at` is the last answer of the watch's session (unix time)."""
    if answered(report):
        return _observe_answer(falls, report, timings)
    if not _is_fall(report):
        return falls
    falls = _with_recent(falls, report.at, timings, answered=False)
    if is_partial(falls):
        return replace(falls, answering_since=None, session_at=None, present=None, by_client=_kept(falls.by_client))
    if falls.answering_since is None:
        return falls
    fall = _find_cause(falls, report, timings, alive_at)
    counts = dict(falls.by_client)
    if fall is not None and fall.client is not None:
        counts[fall.client] = fall.count
    return replace(
        falls,
        answering_since=None,
        session_at=None,
        present=fall,
        run=None,
        by_client=counts,
        by_session=fall.count if fall is not None and fall.client is None else 0,
    )


def begin_run(falls: Falls, client: str, installed: InstalledVersion | None, now: float) -> Falls:
    """A client begins to connect, right after the gateway has answered us."""
    counts = _acquitted(falls)
    return replace(
        falls,
        run=ClientRun(client, installed, now, retry=client in counts),
        answering_since=falls.answering_since if falls.answering_since is not None else now,
        answered_at=now,
        by_client=counts,
    )


def end_run(falls: Falls, now: float) -> Falls:
    """The client's connection is over."""
    return (
        falls if falls.run is None or falls.run.ended is not None else replace(falls, run=replace(falls.run, ended=now))
    )


def observe_connection(falls: Falls, report: Report, timings: FallTimings) -> Falls:
    """One more connection of ours that no report of the target holds: a handshake beside a client probe."""
    if answered(report) or _is_fall(report):
        return _with_recent(falls, report.at, timings, answered=answered(report))
    return falls


def is_partial(falls: Falls) -> bool:
    """Some of our latest connections were answered and others, in between, were not."""
    if UNANSWERED not in falls.packed[CONNECTION.size - 1 :: CONNECTION.size]:  # of most targets every one is answered
        return False
    stretches = [(answer, len(list(group))) for answer, group in groupby(answer for _, answer in falls.recent)]
    unanswered = [length for answer, length in stretches[1:] if not answer]
    return len(unanswered) >= PARTIAL_STRETCHES and max(unanswered) <= PARTIAL_LENGTH


def blocked_by(falls: Falls, client: str, now: float, timings: FallTimings) -> Cause | None:
    """Why this client is not to be probed now: it rests, or it is suspended."""
    count = falls.by_client.get(client, 0)
    if count >= SUSPENDED_AT:
        return Cause.SUSPENDED
    well = falls.answering_since is not None and now - falls.answering_since >= timings.rest
    return Cause.RESTING if count and not well else None


def _is_fall(report: Report) -> bool:
    failed = next((result for result in report.results if result.client is None and not result.ok), None)
    return report.fault is None and failed is not None and failed.layer is not Layer.SESSION and failed.cause in FALLEN


def _observe_answer(falls: Falls, report: Report, timings: FallTimings) -> Falls:
    session = report.layer(Layer.SESSION)
    begun = session is not None and session.cause is not Cause.SUSPENDED
    session_at = falls.session_at if falls.session_at is not None or not begun else report.at
    settled = session_at is not None and report.at - session_at > timings.settled
    run = falls.run
    passed = run is not None and run.ended is not None and report.at - run.ended > timings.after
    counts = _acquitted(falls) if passed else falls.by_client
    return replace(
        falls,
        answering_since=falls.answering_since if falls.answering_since is not None else report.at,
        answered_at=report.at,
        session_at=session_at,
        by_client=counts,
        by_session=0 if settled and not falls.sessions_suspended else falls.by_session,
        present=None,
        packed=_appended(falls.packed, report.at, timings, answered=True),
    )


def _find_cause(falls: Falls, report: Report, timings: FallTimings, alive_at: float | None) -> Fall | None:
    run = falls.run
    if run is not None and (run.ended is None or report.at - run.ended <= timings.after):
        after = 0.0 if run.ended is None else max(0.0, report.at - run.ended)
        after = 0.0 if after <= WITHIN else after
        count = min(SUSPENDED_AT, falls.by_client.get(run.client, 0) + 1)
        return Fall(at=report.at, after=after, client=run.client, installed=run.installed, count=count)
    handshake = report.layer(Layer.HANDSHAKE)
    silent = handshake is not None and handshake.cause is Cause.SILENCE
    last = max(falls.answered_at or 0.0, alive_at or 0.0)
    if not silent or falls.session_at is None or last - falls.session_at > timings.settled:
        return None
    return Fall(at=report.at, count=min(SUSPENDED_AT, falls.by_session + 1))


def _with_recent(falls: Falls, at: float, timings: FallTimings, *, answered: bool) -> Falls:
    return replace(falls, packed=_appended(falls.packed, at, timings, answered=answered))


def _appended(packed: bytes, at: float, timings: FallTimings, *, answered: bool) -> bytes:
    """The packed connections with one more, without those that are too many or too long ago: the oldest come first."""
    start = max(0, len(packed) - (KEPT_CONNECTIONS - 1) * CONNECTION.size)
    while start < len(packed) and CONNECTION.unpack_from(packed, start)[0] <= at - timings.recent:
        start += CONNECTION.size
    return packed[start:] + CONNECTION.pack(at, answered)


def _acquitted(falls: Falls) -> Mapping[str, int]:
    """The counts without the client whose retry the gateway survived."""
    run = falls.run
    retried = run.client if run is not None and run.retry else None
    return {name: count for name, count in falls.by_client.items() if name != retried or count >= SUSPENDED_AT}


def _kept(counts: Mapping[str, int]) -> Mapping[str, int]:
    """Without the clients that only rest."""
    return {name: count for name, count in counts.items() if count >= SUSPENDED_AT}
