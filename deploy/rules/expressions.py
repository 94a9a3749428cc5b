"""What the rules' expressions are made of: what identifies a target, its present verdict, what excuses a failure."""

import re
from dataclasses import dataclass

from deploy.rules import thresholds as t
from exporter.model import Verdict

IDENTITY = "job, instance, target"
GATEWAY = "job, gateway"
CARRIED = "gateway, host, port, mode, region"  # labels of ibkr_target_info that an alert has

# Replaced by `python -m deploy.rules --job NAME`.
EXPORTERS = 'job="ibkr"'
PROMETHEUS = 'job="prometheus"'
ALERTMANAGER = 'job="alertmanager"'
UNSCRAPED = f"up{{{EXPORTERS}}} == 0"

# Recorded by deploy.rules.states. But for FLEET_INFO there is a series only for the few targets that have something: what the
# many rules read costs nothing while all is well.
VERDICT = "target:ibkr_verdict:last"  # 1 for the present verdict
SILENT_VERDICT = "target:ibkr_silent:verdict"  # VERDICT of the silent ones, recorded every second
SILENT = "target:ibkr_silent:last_success"  # of the silent ones: when a handshake last worked, with the target's labels
INFO = "target:ibkr_failing:info"  # of those that are not healthy: 1, with the target's labels
WORKED = "target:ibkr_failing:last_success"  # as SILENT
BEGAN = "target:ibkr_failing:since"  # when the present verdict began
ANEW = "target:ibkr_failing:anew"  # those that failed after an exporter went down
FAILING_CLIENT = "target:ibkr_failing_client:info"  # the client libraries that fail, with their versions
RESTART_WINDOW = "target:ibkr_restart_window:open"
ANY_WINDOW = "target:ibkr_window:open"  # but the weekly login: it does not end by itself, someone must log in
FLEET_INFO = "target:ibkr_target:info"  # of all: 1, with the target's labels
COUNTED = "job:ibkr_targets:count"  # recorded after the numbers of gateways, so that who finds it finds those
SILENCE_COUNTED = "job:ibkr_silent:counted"  # COUNTED as it was before the alerts about silence were evaluated


def latest(selector: str) -> str:
    """The series as they last were: a scrape that failed marks them all as gone, which is no news of any gateway."""
    return f"last_over_time({selector}[{t.GAP.value}])"


# One that was shut a moment ago is starting: it is silent for 30 to 90 s, and IbkrPortClosed waits for it too.
STARTING = f'max_over_time({VERDICT}{{verdict=~"port_closed|closed_before_handshake"}}[{t.STARTING.value}]) == 1'


def is_now(*verdicts: Verdict) -> str:
    """The targets that have one of these verdicts, each series with the value 1."""
    if len(verdicts) == 1:
        name = SILENT_VERDICT if verdicts[0] is Verdict.API_SILENT else VERDICT
        return f'{name}{{verdict="{verdicts[0]}"}}'
    return f'{VERDICT}{{verdict=~"{"|".join(verdicts)}"}}'


def with_labels(expr: str, value: str) -> str:
    """The series of an expression with the labels of the target, times the value of a recorded series that has them."""
    return f"{expr}\n  * on ({IDENTITY}) group_left ({CARRIED}) {value}"


def firing(alert: str) -> str:
    """What there is of this alert, its end included as long as it is kept firing."""
    return f'ALERTS{{alertname="{alert}", alertstate="firing"}}'


@dataclass(frozen=True, slots=True)
class Fleet:
    """An alert about many gateways, and the names of what is recorded for it. `scope` are the labels that they share."""

    alert: str
    scope: str

    @property
    def failing(self) -> str:
        """The targets that it counts."""
        return f"target:{self._recorded}:failing"

    @property
    def share(self) -> str:
        """How many gateways fail, where that is half of them."""
        return f"{self.scope.rpartition(' ')[2]}:{self._recorded}:share"

    @property
    def member(self) -> str:
        """The targets that failed while it fired for half of them; until it ends, and as long as they fail."""
        return f"target:{self._recorded}:member"

    @property
    def _recorded(self) -> str:
        words = re.findall("[A-Z][a-z]+", self.alert.removeprefix("Ibkr"))
        return f"ibkr_fleet_{'_'.join(words).lower()}"


def unless_expected(alert: str, expected_in: str, fleets: tuple[Fleet, ...] = ()) -> str:
    """Leaves out the targets whose failure is expected now, but for one on which this alert fires already.

    What began before a window is not explained by it: it must not resolve when the window opens and page again when it
    ends (docs/maintenance.md says the same of the exporter's own evidence). What one of these fleets has paged for began
    before too.
    """
    members = "".join(f"    unless on ({IDENTITY}) {fleet.member}\n" for fleet in fleets)
    return (
        f"\n  unless on ({IDENTITY}) (\n    ({expected_in})\n    unless on ({IDENTITY}) {firing(alert)}\n{members}  )"
    )


def unless_paged_elsewhere(info: str) -> str:
    """Leaves out the targets whose gateway is paged about already, as seen by another target or another exporter.

    `info` has the labels of the targets that may fail.
    """
    return f"\n  unless on ({IDENTITY}) {paged_elsewhere(info)}"


def paged_elsewhere(info: str) -> str:
    """The name under which these targets are recorded."""
    return f"{info.rpartition(':')[0]}:paged_elsewhere"


def unless_fleet(alert: str, fleets: tuple[Fleet, ...]) -> str:
    """Leaves out the targets of a fleet that is paged about as one, but for one on which this alert fires already.

    While half of the gateways fail, each of them is of the fleet; later those that failed by then. Alertmanager does not
    silence these alerts: it would not send the end of one that ended silenced, nor its next page (docs/stack.md).
    """
    silenced = "\n     or ".join(
        f"{fleet.failing} and on ({fleet.scope}) ({firing(fleet.alert)} and on ({fleet.scope}) {fleet.share})\n"
        f"     or {fleet.member} and on ({fleet.scope}) {firing(fleet.alert)}"
        for fleet in fleets
    )
    return f"\n  unless on ({IDENTITY}) (\n    ({silenced})\n    unless on ({IDENTITY}) {firing(alert)}\n  )"
