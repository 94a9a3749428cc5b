"""States to look at: one target for each verdict with a day of times, and many healthy ones."""

import math
import random
from dataclasses import replace

from exporter.model import Verdict
from exporter.state.kept_reports import Judged, kept
from exporter.state.target import Change, TargetState
from exporter.state.trend import DAY, Trend
from tests.core.states import CLIENT_HUNG, CLIENT_OK, NOW, TRADING, every_verdict, grown, in_verdict, tried
from tests.core.states import target as target_of

HOUR = 3600
INTERVAL = 3600.0  # so long that no state expires while it is looked at
TYPICAL = {"": 0.004, "ib_async": 0.03, "ib_insync": 0.05, "ibapi": 0.02, "nautilus_trader": 0.4}
PAST = (
    (23, Verdict.HEALTHY),
    (15, Verdict.API_SILENT),
    (14.2, Verdict.HEALTHY),
    (5, Verdict.SLOW),
    (4, Verdict.HEALTHY),
)


def fleet(healthy: int, silent: int, now: float) -> list[TargetState]:
    """Every verdict, and so many more that are healthy and silent."""
    random.seed(1)
    trends = {name: _trend(seconds, now) for name, seconds in TYPICAL.items()}
    shown = [_with_a_day(_at(state, now), trends, now) for state in every_verdict()]
    target = replace(target_of("libraries"), clients=("ib_insync", "nautilus"), client_ids=(9001,))
    shown.append(
        _with_a_day(_at(tried(grown(TRADING, TRADING, target=target), CLIENT_OK, CLIENT_HUNG), now), trends, now)
    )
    for number, verdict in ((healthy, Verdict.HEALTHY), (silent, Verdict.API_SILENT)):
        base = _at(in_verdict(verdict), now)
        shown += [_named(base, f"{verdict.value}-{place:04}", place) for place in range(number)]
    return shown


def _named(state: TargetState, name: str, place: int) -> TargetState:
    host = f"10.0.{place // 250}.{place % 250}"
    return replace(state, target=replace(state.target, name=name, host=host, interval=INTERVAL))


def _with_a_day(state: TargetState, trends: dict[str, Trend], now: float) -> TargetState:
    clients = tuple(dict.fromkeys((*state.target.clients, *(name for name in trends if name))))
    earlier = tuple(Change(verdict, now - hours * HOUR) for hours, verdict in PAST)
    return replace(
        state,
        target=replace(state.target, clients=clients, interval=INTERVAL),
        changes=(*earlier, *state.changes[-1:]),
        trends=trends,
    )


def _trend(seconds: float, now: float) -> Trend:
    """A day with slow waves and, for the slower kinds, an hour of failures now and then."""
    trend, at = Trend(), now - DAY
    while at < now:
        failed = seconds > 0.04 and at // HOUR % 7 == 3 and random.random() < 0.3  # noqa: S311 - a picture
        usual = seconds * (1 + 0.5 * math.sin(at / 9000)) * random.lognormvariate(0, 0.4)
        trend = trend.observe(at, None if failed else usual)
        at += 60
    return trend


def _at(state: TargetState, now: float) -> TargetState:
    """A state of the samples, as if it were made now."""
    later = now - NOW

    def judged(earlier: tuple[Judged, ...]) -> tuple[Judged, ...]:
        return tuple(kept(replace(each.report, at=each.report.at + later), each.verdict) for each in earlier)

    return replace(
        state,
        last=None if state.last is None else replace(state.last, at=state.last.at + later),
        since=None if state.since is None else state.since + later,
        recent=judged(state.recent),
        failures=judged(state.failures),
        changes=tuple(replace(change, at=change.at + later) for change in state.changes),
        probed_at={key: at + later for key, at in state.probed_at.items()},
        client_probes={name: replace(probe, expires=now + DAY) for name, probe in state.client_probes.items()},
    )
