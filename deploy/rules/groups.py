"""Which rules are evaluated how often, and in which file: only what pages is evaluated every few seconds."""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.rules import availability, thresholds
from deploy.rules.alert import Alert
from deploy.rules.alerts import alerts
from deploy.rules.calendar import CALENDAR
from deploy.rules.down_alerts import down_recordings
from deploy.rules.fleet_alerts import fleet_recordings
from deploy.rules.fleets import FLEETS
from deploy.rules.monitoring_alerts import monitoring_alerts
from deploy.rules.recording import Recording
from deploy.rules.states import RANK, STATES, VERSION
from deploy.rules.states import SILENCE as RECORDED_SILENCE

SILENCE = ("IbkrApiSilentEverywhere", "IbkrApiSilentOnHost", "IbkrHandshakeTimeout")


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other."""

    name: str
    interval: str
    rules: tuple[Alert | Recording, ...]


def files() -> Mapping[str, tuple[Group, ...]]:
    """The groups of each file, by its name."""
    of_monitoring = monitoring_alerts()
    ours = tuple(alert for alert in alerts() if alert not in of_monitoring)
    silence = tuple(alert for alert in ours if alert.name in SILENCE)
    pages = tuple(alert for alert in ours if alert.severity == "critical" and alert not in silence)
    tickets = tuple(alert for alert in ours if alert.severity != "critical")
    of_silence = {
        name for row in FLEETS if row.name in SILENCE for name in (row.fleet.failing, row.fleet.share, row.fleet.member)
    }
    counted = {
        quick: tuple(each for each in fleet_recordings() if (each.name in of_silence) is quick)
        for quick in (True, False)
    }
    tickets_interval = thresholds.TICKETS_INTERVAL.value
    return {
        "pages.yml": (
            Group("ibkr-silence", thresholds.SILENCE_INTERVAL.value, (*RECORDED_SILENCE, *counted[True], *silence)),
            Group(
                "ibkr-pages", thresholds.PAGES_INTERVAL.value, (*STATES, *counted[False], *down_recordings(), *pages)
            ),
        ),
        "tickets.yml": (
            Group("ibkr-tickets", tickets_interval, (VERSION, *tickets)),
            Group("ibkr-rank", thresholds.PAGES_INTERVAL.value, (RANK,)),
        ),
        "calendar.yml": (Group("ibkr-calendar", tickets_interval, CALENDAR),),
        "availability.yml": (
            Group("ibkr-availability", availability.PART, availability.parts()),
            Group("ibkr-availability-spans", "5m", availability.spans()),
            Group("ibkr-availability-hours", "1h", availability.hours()),
        ),
        "monitoring.yml": (Group("ibkr-monitoring", tickets_interval, of_monitoring),),
    }
