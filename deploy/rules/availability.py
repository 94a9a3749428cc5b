"""Availability and the error budget: two indicators, over several spans, in all hours and in trading hours only.

Each half minute is one recorded part. An hour's parts are added up once an hour, and what reaches further back than some
hours reads those sums: 30 days are 720 of them, not 86,400 parts. Sums and counts, not means, so that a minute in which
nothing was known, or which lies outside trading hours, weighs nothing.
"""

from dataclasses import dataclass

from deploy.rules.recording import Recording
from deploy.rules.thresholds import OBJECTIVE

BUDGET = f"(1 - {OBJECTIVE.value})"
PART = "30s"  # the interval of the group, and what each part looks back: no moment counts twice
BY_PARTS = ("5m", "1h", "2h", "6h")
BY_HOURS = ("1d", "3d", "30d")


@dataclass(frozen=True, slots=True)
class Indicator:
    """A service level indicator: `ratio` and `burn` begin the names of what is recorded."""

    ratio: str
    burn: str
    budget: str
    meaning: str
    expr: str


CONNECTABLE = Indicator(
    "target:ibkr_availability",
    "target:ibkr_error_budget:burn_rate",
    "target:ibkr_error_budget:remaining_ratio30d",
    "in which a trading program could connect",
    f"avg_over_time(ibkr_up[{PART}])",
)
CONNECTED = Indicator(
    "target:ibkr_servers_availability",
    "target:ibkr_servers_budget:burn_rate",
    "target:ibkr_servers_budget:remaining_ratio30d",
    "in which a trading program could connect and the gateway had IBKR's servers",
    f"clamp_min(avg_over_time(ibkr_up[{PART}])\n"
    f'  - on (job, instance, target) avg_over_time(ibkr_verdict{{verdict="upstream_down"}}[{PART}]), 0)',
)
INDICATORS = (CONNECTABLE, CONNECTED)
HOURS = (("", "all hours"), ("_trading", "trading hours only"))


def parts() -> tuple[Recording, ...]:
    """Every half minute: the part itself, and what is read from some hours of parts."""
    rows = []
    for each in INDICATORS:
        rows += [
            Recording(
                f"{each.ratio}:ratio{PART}",
                f"the part of the last half minute {each.meaning}; moments in which nothing was known are in none",
                each.expr,
            ),
            Recording(
                f"{each.ratio}_trading:ratio{PART}",
                "the same, only of the half minutes that began in trading hours",
                f"{each.ratio}:ratio{PART}\n  and on () (ibkr:trading_hours offset {PART} == 1)",
            ),
        ]
    return tuple(rows)


def spans() -> tuple[Recording, ...]:
    """Every five minutes: the ratios over longer spans, and how fast the error budget goes."""
    rows = []
    for each in INDICATORS:
        for kind, words in HOURS:
            rows += [
                Recording(
                    f"{each.ratio}{kind}:ratio{span}",
                    f"the part of the last {span} {each.meaning}, {words}",
                    f"avg_over_time({each.ratio}{kind}:ratio{PART}[{span}])",
                )
                for span in (BY_PARTS if kind else ("1h",))
            ]
            rows += [
                Recording(
                    f"{each.ratio}{kind}:ratio{span}",
                    f"the part of the last {span} {each.meaning}, {words}; before the first full hour, of the last hour",
                    f"sum_over_time({each.ratio}{kind}:sum1h[{span}]) / sum_over_time({each.ratio}{kind}:count1h[{span}])\n"
                    f"  or {each.ratio}{kind}:ratio1h",
                )
                for span in (BY_HOURS if kind else ("1d", "30d"))
            ]
        rows += [
            Recording(
                f"{each.burn}{span}",
                f"how fast the error budget went in the trading hours of the last {span}; above 1 is too fast",
                f"(1 - {each.ratio}_trading:ratio{span}) / {BUDGET}",
            )
            for span in BY_PARTS + BY_HOURS
        ]
        rows.append(
            Recording(
                each.budget,
                "the part of the 30 days' error budget that is left; below 0 the objective is missed",
                f"1 - (1 - {each.ratio}_trading:ratio30d) / {BUDGET}",
            )
        )
    return tuple(rows)


def hours() -> tuple[Recording, ...]:
    """Every hour: its parts added up, and how many there were."""
    return tuple(
        Recording(
            f"{each.ratio}{kind}:{operation}1h",
            f"the {words} of the last hour's parts {each.meaning}, {when}",
            f"{operation}_over_time({each.ratio}{kind}:ratio{PART}[1h])",
        )
        for each in INDICATORS
        for kind, when in HOURS
        for operation, words in (("sum", "sum"), ("count", "number"))
    )
