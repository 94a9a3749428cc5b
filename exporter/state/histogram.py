"""Histograms of durations, with the bounds of each kind. Frozen values."""

from bisect import bisect_left
from dataclasses import dataclass

# Seconds; each bound is a series for each target (docs/series.md), and they tell orders of magnitude, not milliseconds.
# A connect on loopback takes 50 microseconds, one across an ocean 150 milliseconds.
CONNECT_BUCKETS = (0.00025, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5)
# A gateway answers the hello in 1 to 20 milliseconds when idle, in seconds when it is about to freeze.
HANDSHAKE_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0)
# A library gets through in some ten milliseconds, behind a slow gateway in seconds.
CLIENT_BUCKETS = (0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 15.0)
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations counted by upper bound (seconds); the last count is of those above all bounds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float = 0.0

    @classmethod
    def empty(cls, bounds: tuple[float, ...]) -> "Histogram":
        """Return a histogram of these bounds without observations."""
        return cls(bounds, (0,) * (len(bounds) + 1))

    def observe(self, seconds: float) -> "Histogram":
        """The histogram with one observation more."""
        at = bisect_left(self.bounds, seconds)
        counts = (*self.counts[:at], self.counts[at] + 1, *self.counts[at + 1 :])
        return Histogram(self.bounds, counts, self.total + seconds)
