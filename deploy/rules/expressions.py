"""What the rules' expressions are made of: what identifies a target, its present verdict, what excuses a failure."""

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

# Recorded by deploy.rules.states, in the group that is evaluated every second.
VERDICT = "target:ibkr_verdict:last"
INFO = "target:ibkr_target:info"
WORKED = "target:ibkr_handshake:last_success"
BEGAN = "target:ibkr_verdict:since"
PAGED_ELSEWHERE = "target:ibkr_paged_elsewhere"


def latest(selector: str) -> str:
    """The series as they last were: a scrape that failed marks them all as gone, which is no news of any gateway."""
    return f"last_over_time({selector}[{t.GAP.value}])"


RESTART_WINDOW = latest('ibkr_maintenance_window{window="restart"}') + " == 1"
# Not the weekly login: it does not end by itself, someone must log in.
ANY_WINDOW = latest('ibkr_maintenance_window{window!="weekly_login"}') + " == 1"
# One that was shut a moment ago is starting: it is silent for 30 to 90 s, and IbkrPortClosed waits for it too.
STARTING = f'max_over_time({VERDICT}{{verdict=~"port_closed|closed_before_handshake"}}[{t.STARTING.value}]) == 1'


def is_now(*verdicts: Verdict) -> str:
    """The targets that have one of these verdicts, each series with the value 1."""
    if len(verdicts) == 1:
        return f'{VERDICT}{{verdict="{verdicts[0]}"}}'
    return f'{VERDICT}{{verdict=~"{"|".join(verdicts)}"}}'


def with_labels(expr: str, value: str) -> str:
    """The series of an expression with the labels of the target, times the value of a recorded series that has them."""
    return f"{expr}\n  * on ({IDENTITY}) group_left ({CARRIED}) {value}"


def unless_expected(alert: str, expected_in: str) -> str:
    """Leaves out the targets whose failure is expected now, but for one on which this alert fires already.

    What began before a window is not explained by it: it must not resolve when the window opens and page again when it
    ends (docs/maintenance.md says the same of the exporter's own evidence).
    """
    return (
        f"\n  unless on ({IDENTITY}) (\n    ({expected_in})\n"
        f'    unless on ({IDENTITY}) ALERTS{{alertname="{alert}", alertstate="firing"}}\n  )'
    )


def unless_paged_elsewhere() -> str:
    """Leaves out the targets whose gateway is paged about already, as seen by another target or another exporter."""
    return f"\n  unless on ({IDENTITY}) {PAGED_ELSEWHERE}"


def unless_fleet(alert: str, by_job: str, by_host: str = "") -> str:
    """Leaves out the targets of a fleet that is paged about as one, but for one on which this alert fires already.

    Alertmanager would silence these alerts too. A thousand of them need not be written and sent for that.
    """
    silenced = f'{INFO} and on (job) ALERTS{{alertname=~"{by_job}", alertstate="firing"}}'
    if by_host:
        silenced += f'\n     or {INFO} and on (job, host) ALERTS{{alertname=~"{by_host}", alertstate="firing"}}'
    return (
        f"\n  unless on ({IDENTITY}) (\n    ({silenced})\n"
        f'    unless on ({IDENTITY}) ALERTS{{alertname="{alert}", alertstate="firing"}}\n  )'
    )
