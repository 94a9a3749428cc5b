"""The real command, but each target begins with the history of a day, so that its memory is what it stays at.

That is as many reports as are kept, and a day of trend: packed as the state packs them, shared by no two targets.
"""

import random
import time
from functools import cache

from history import report

from exporter.__main__ import main
from exporter.model import Mode, Target, Verdict
from exporter.model.copies import replace
from exporter.service import service
from exporter.state.kept_reports import Judged, kept
from exporter.state.target import KEPT_REPORTS, TargetState
from exporter.state.trend import DAY, LAYOUT, WIDTH, Trend


@cache
def packed() -> tuple[tuple[bytes, ...], bytes]:
    """The reports and the day of one target, packed."""
    now = time.time()
    target = Target("gateway-0000", "127.0.0.1", 4002, Mode.PAPER, client_ids=(9001,))
    reports = tuple(
        kept(report(target, now - 60 * back), Verdict.HEALTHY).packed for back in range(KEPT_REPORTS, 0, -1)
    )
    last = int(now) // WIDTH * WIDTH
    times = ((0.001, 0.001 + random.random() / 100, 0.02) for _ in range(DAY // WIDTH))  # noqa: S311 - no secret
    day = b"".join(LAYOUT.pack(last - DAY + WIDTH * place, 20, 0, *three) for place, three in enumerate(times))
    return reports, day


def copied(data: bytes) -> bytes:
    """The same bytes as another object."""
    return bytes(bytearray(data))


def with_history(target: Target) -> TargetState:
    """A new target's state, as a day later."""
    reports, day = packed()
    recent = tuple(Judged(copied(each), Verdict.HEALTHY) for each in reports)
    return replace(TargetState(target), recent=recent, trends={"": Trend(copied(day))})


if __name__ == "__main__":
    service.TargetState = with_history  # type: ignore[assignment,attr-defined]
    main()
