"""The recording rules as a table: New York's clock, verdicts as numbers, availability, and the error budget.

Prometheus knows only UTC, and New York changes its clocks from the second Sunday of March to the first of November.
The change itself happens on a Sunday at 02:00, when nothing is traded, so the day alone decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.rules.thresholds import OBJECTIVE, VERSION_KEPT
from exporter.model import Verdict
from exporter.verdict.rules import Severity, severity

BUDGET = f"(1 - {OBJECTIVE.value})"
IDENTITY = "job, instance, target"
AVAILABILITY_INTERVAL = "30s"  # of the rules, and what each looks back: no moment counts twice

BASES = {Severity.CRITICAL: 300, Severity.WARNING: 200, Severity.UNKNOWN: 100, Severity.OK: 0}
# A verdict as a number, for panels that sort and colour: the worse the higher; within one severity the further out.
RANKS: Mapping[Verdict, int] = {
    verdict: BASES[severity(verdict)] + (0 if verdict is Verdict.HEALTHY else 50 - index)
    for index, verdict in enumerate(Verdict)
}


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded series, and what it means."""

    name: str
    meaning: str
    expr: str


CALENDAR: tuple[Recording, ...] = (
    Recording(
        "ibkr:new_york_summer_time",
        "1 while New York has summer time: from the second Sunday of March to the first Sunday of November",
        "((month() > bool 3) * (month() < bool 11))\n"
        "  + (month() == bool 3) * ((day_of_month() - day_of_week()) >= bool 8)\n"
        "  + (month() == bool 11) * ((day_of_month() - day_of_week()) < bool 1)",
    ),
    Recording(
        "ibkr:new_york_time:seconds",
        "New York's wall clock as if it were UTC, for hour() and day_of_week()",
        "time() - 18000 + 3600 * ibkr:new_york_summer_time",
    ),
    Recording(
        "ibkr:trading_hours",
        "1 from 09:30 to 16:00 in New York, Monday to Friday; exchange holidays are not known here and count too",
        "(day_of_week(ibkr:new_york_time:seconds) > bool 0)\n"
        "  * (day_of_week(ibkr:new_york_time:seconds) < bool 6)\n"
        "  * (ibkr:new_york_time:seconds % 86400 >= bool 34200)\n"
        "  * (ibkr:new_york_time:seconds % 86400 < bool 57600)",
    ),
    Recording(
        "ibkr:weekly_login_due",
        "1 from Saturday noon to Sunday 01:00 in New York, before IBKR ends all logins",
        "(day_of_week(ibkr:new_york_time:seconds) == bool 6)\n"
        "  * (hour(ibkr:new_york_time:seconds) >= bool 12)\n"
        "  + (day_of_week(ibkr:new_york_time:seconds) == bool 0)\n"
        "  * (hour(ibkr:new_york_time:seconds) < bool 1)",
    ),
)


def _availability() -> tuple[Recording, ...]:
    rows = [
        Recording(
            "target:ibkr_availability:ratio30s",
            "the part of the last half minute in which a trading program could connect; each moment is in one such "
            "part, and those in which nothing was known are in none",
            f"avg_over_time(ibkr_up[{AVAILABILITY_INTERVAL}])",
        ),
        Recording(
            "target:ibkr_availability_trading:ratio30s",
            "the same, only of the half minutes that began in trading hours",
            f"target:ibkr_availability:ratio30s\n  and on () (ibkr:trading_hours offset {AVAILABILITY_INTERVAL} == 1)",
        ),
    ]
    for kind, words in (("", "all hours"), ("_trading", "trading hours only")):
        rows += [
            Recording(
                f"target:ibkr_availability{kind}:ratio{span}",
                f"the same over {span}, {words}",
                f"avg_over_time(target:ibkr_availability{kind}:ratio30s[{span}])",
            )
            for span in ("1h", "1d", "30d")
        ]
    return tuple(rows)


BURN: tuple[Recording, ...] = (
    *(
        Recording(
            f"target:ibkr_error_budget:burn_rate{span}",
            f"how fast the error budget went in the trading hours of the last {span}; above 1 is too fast",
            f"(1 - target:ibkr_availability_trading:ratio{span}) / {BUDGET}",
        )
        for span in ("1h", "1d", "30d")
    ),
    Recording(
        "target:ibkr_error_budget:remaining_ratio30d",
        "the part of the 30 days' error budget that is left; below 0 the objective is missed",
        f"1 - (1 - target:ibkr_availability_trading:ratio30d) / {BUDGET}",
    ),
)

RANK = Recording(
    "target:ibkr_verdict:rank",
    "the present verdict as a number: critical 300 and more, warning 200, unknown 100, healthy 0",
    f"sum by ({IDENTITY}) (\n    "
    + "\n  or ".join(f'{rank} * (ibkr_verdict{{verdict="{verdict}"}} == 1)' for verdict, rank in RANKS.items())
    + "\n)",
)

VERSION = Recording(
    "target:ibkr_server_version:last",
    "the server version that was last seen, kept while the gateway is down: an upgrade may take hours",
    "ibkr_server_version\n"
    f"  or (last_over_time(target:ibkr_server_version:last[{VERSION_KEPT.value}])\n"
    f"    and on ({IDENTITY}) last_over_time(ibkr_target_info[{VERSION_KEPT.value}]))",
)

GROUPS: tuple[tuple[str, str, tuple[Recording, ...]], ...] = (
    ("ibkr-calendar", "15s", CALENDAR),
    ("ibkr-verdicts", "3s", (RANK,)),
    ("ibkr-versions", "15s", (VERSION,)),
    ("ibkr-availability", AVAILABILITY_INTERVAL, _availability() + BURN),
)
