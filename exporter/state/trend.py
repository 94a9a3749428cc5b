"""How long one kind of probe took over the last day: a bucket of five minutes has the least, the median and the most.

A closed bucket is 20 bytes, so a day of one kind takes 6 KB at most; a target has one kind for the handshake and one
for each client.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from struct import Struct
from typing import NamedTuple

WIDTH = 300  # seconds of a bucket
DAY = 86_400
SAMPLES = 400  # of the open bucket; later ones of it are only counted
LAYOUT = Struct("<IHHfff")


class Bucket(NamedTuple):
    """What was measured in WIDTH seconds from `start` (unix time); times in seconds, 0.0 where nothing succeeded."""

    start: int
    passed: int
    failed: int
    least: float
    median: float
    most: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The buckets of the last day: the closed ones packed, the open one as it grows."""

    packed: bytes = b""
    start: int = 0
    passed: int = 0
    failed: int = 0
    samples: tuple[float, ...] = ()

    def observe(self, at: float, seconds: float | None) -> "Trend":
        """The trend with one probe more, made at unix time `at`; None: it failed."""
        start = int(at) // WIDTH * WIDTH
        if start > self.start:
            return Trend(self._closed(), start).observe(at, seconds)
        if seconds is None:
            return Trend(self.packed, self.start, self.passed, self.failed + 1, self.samples)
        samples = (*self.samples, seconds) if len(self.samples) < SAMPLES else self.samples
        return Trend(self.packed, self.start, self.passed + 1, self.failed, samples)

    def buckets(self, now: float) -> Iterator[Bucket]:
        """The buckets of the day before `now`, oldest first."""
        closed = (Bucket(*fields) for fields in LAYOUT.iter_unpack(self.packed))
        for bucket in (*closed, self._open()):
            if bucket.start > now - DAY and bucket.passed + bucket.failed:
                yield bucket

    def _open(self) -> Bucket:
        samples = self.samples or (0.0,)
        return Bucket(self.start, self.passed, self.failed, min(samples), median(samples), max(samples))

    def _closed(self) -> bytes:
        if not self.passed + self.failed:
            return self.packed
        bucket = self._open()
        most = 0xFFFF  # what the counts' two bytes hold
        packed = LAYOUT.pack(bucket.start, min(bucket.passed, most), min(bucket.failed, most), *bucket[3:])
        return (self.packed + packed)[-(DAY // WIDTH) * LAYOUT.size :]
