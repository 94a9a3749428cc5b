"""What is known of each source of discovered targets. Frozen values; no clock here."""

from dataclasses import dataclass, field, replace

from exporter.state.histogram import Histogram

REFRESH_BUCKETS = (0.01, 0.1, 1.0, 10.0)  # seconds; 5,000 targets take some tenths


@dataclass(frozen=True, slots=True)
class SourceState:
    """One source. `config` is its place in the configuration, `where` what is read or asked, without secrets.

    `targets` counts the targets of the last good list, `rejected` the entries of it that are left out, `problems` tells
    why, and `failure` why the last refresh failed. Times are in unix seconds.
    """

    mechanism: str  # file or http
    config: str
    where: str
    targets: int = 0
    rejected: int = 0
    problems: tuple[str, ...] = ()
    failure: str | None = None
    failing_since: float | None = None
    succeeded_at: float | None = None
    refreshes: int = 0
    failures: int = 0
    durations: Histogram = field(default_factory=lambda: Histogram.empty(REFRESH_BUCKETS))

    @property
    def successful(self) -> bool:
        """The last refresh, if there was one, gave a good list."""
        return self.failure is None


def succeeded(state: SourceState, now: float, seconds: float) -> SourceState:
    """The state after a refresh that gave a good list."""
    return replace(_refreshed(state, seconds), failure=None, failing_since=None, succeeded_at=now)


def failed(state: SourceState, now: float, seconds: float, why: str) -> SourceState:
    """The state after a refresh that failed: the last good list stays."""
    since = now if state.failing_since is None else state.failing_since
    return replace(_refreshed(state, seconds), failure=why, failing_since=since, failures=state.failures + 1)


def _refreshed(state: SourceState, seconds: float) -> SourceState:
    return replace(state, refreshes=state.refreshes + 1, durations=state.durations.observe(seconds))
