"""Which probes the exporter leaves out so that the gateway is not disturbed, and the evidence that says so. Pure."""

from dataclasses import dataclass

from exporter.model import Cause, Fall, Layer, Report
from exporter.model.copies import replace
from exporter.state.falls import SUSPENDED_AT, Falls, FallTimings, is_partial
from exporter.text import elapsed, utc
from exporter.verdict.evidence import release as release_of

RELEASES = 2  # times that the watch let go; after the last it is suspended
PARTIAL = (
    "{failed} of our last {total} connections were not answered, and those between them were: "
    "a relay with several backends, of which not all work?"
)
LIMIT = (
    "A new connection was silent beside the session of our watch, and was answered as soon as the watch had ended: "
    "the gateway serves a limited number of connections at a time, maybe one. "
    "The watch is suspended until the configuration is reloaded, so that a trading program can get in. "
    "Where new connections are silent again, another program may have the place."
)
LET_GO = (
    "New connections are silent, and yet a session that existed was answered: that of our watch, until {at}, "
    "when we ended it in case it kept others out. Since then we cannot see whether such sessions are answered."
)
LET_GO_AGAIN = (
    "The watch has let go {times} times because new connections were silent beside it: "
    "it is suspended until the configuration is reloaded."
)


@dataclass(frozen=True, slots=True)
class WatchRelease:
    """The watch that ended its session because new connections were silent beside it.

    `answered_at` is when its session was last answered (unix time), while new connections are still silent. `limit`: a
    new connection was answered as soon as the watch had let go.
    """

    times: int = 0
    answered_at: float | None = None
    limit: bool = False

    @property
    def suspended(self) -> bool:
        """The watch begins no further session."""
        return self.limit or self.times >= RELEASES


def fold_release(release: WatchRelease, report: Report) -> WatchRelease:
    """The release after one more report of the wire: it holds while the silence lasts.

    On a gateway with a limit it holds longer: its next silence may come from a program that has the place.
    """
    over = not is_silent(report) and not release.limit
    return replace(release, answered_at=None) if over and release.answered_at is not None else release


def is_silent(report: Report) -> bool:
    """The connect succeeded, and not one byte answered the hello."""
    handshake = report.layer(Layer.HANDSHAKE)
    return handshake is not None and handshake.cause is Cause.SILENCE


def annotate(report: Report, falls: Falls, release: WatchRelease, timings: FallTimings) -> Report:
    """The report of a probe with what is known of the target's falls and suspensions."""
    remarks = [
        *_partial_remark(falls),
        *([] if falls.present is None else [describe_fall(falls.present, timings)]),
        *_release_remark(release),
    ]
    beside = release.answered_at if is_silent(report) else None
    if falls.present is None and beside is None and not remarks:  # most reports, and a new one has none of these
        return report
    return replace(report, fall=falls.present, answered_beside=beside, remarks=tuple(remarks))


def began_with(fall: Fall) -> str:
    """The connection of ours that a failure began with, in words."""
    if fall.client is None:
        return "It began right after a session of our own had been begun (startApi)."
    name = fall.client if fall.installed is None else f"{fall.client} ({release_of(fall.installed)})"
    when = f"{elapsed(fall.after)} after {name} had been tried" if fall.after else f"while {name} was connecting"
    return f"It began {when}."


def describe_fall(fall: Fall, timings: FallTimings) -> str:
    """A fall as a line of evidence."""
    if fall.count < SUSPENDED_AT:
        rest = f" {fall.client} is not tried here again until the gateway has been well for {elapsed(timings.rest)}."
        return began_with(fall) + (rest if fall.client else "")
    ending = f"{fall.client} is suspended" if fall.client else "no session is begun"
    return f"{began_with(fall)} That was the second time in a row: {ending} here until a reload."


def _partial_remark(falls: Falls) -> list[str]:
    if not is_partial(falls):
        return []
    failed = sum(not answer for _, answer in falls.recent)
    return [PARTIAL.format(failed=failed, total=len(falls.recent))]


def _release_remark(release: WatchRelease) -> list[str]:
    if release.limit:
        return [LIMIT]
    if release.answered_at is not None:
        return [LET_GO.format(at=utc(release.answered_at))]
    return [LET_GO_AGAIN.format(times=release.times)] if release.suspended else []
