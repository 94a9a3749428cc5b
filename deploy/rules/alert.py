"""One alert rule as a value, and the words that all of them share."""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.rules.thresholds import Threshold


# Where Prometheus's external label says that the exporter's pages are, else where the exporter says so (web.external_url).
# In this order: the query costs as much as the rest of a text, and a thousand of them would make pages late.
def _exporter_url(which: str) -> str:
    return (
        '{{ $url := or $externalLabels.exporter_url "" }}{{ if not $url }}{{ $url = "http://127.0.0.1:9497" }}'
        f"{{{{ range query {which} }}}}{{{{ $url = .Labels.external_url }}}}{{{{ end }}}}{{{{ end }}}}{{{{ $url }}}}"
    )


EXPORTER_URL = _exporter_url('(printf "ibkr_exporter_web_info{instance=%q}" $labels.instance)')
ANY_EXPORTER_URL = _exporter_url(
    '"ibkr_exporter_web_info"'
)  # of what is about no target: each has all runbooks, and one may be down
GRAFANA_URL = '{{ or $externalLabels.grafana_url "http://127.0.0.1:3000" }}'

# A target that has no name of its own is called by its address: that is written once.
ABOUT = (
    '{{ $labels.target }} ({{ if ne $labels.target (printf "%s:%s" $labels.host $labels.port) }}'
    "{{ $labels.host }}:{{ $labels.port }}, {{ end }}{{ $labels.mode }})"
)
CLOCK_TIME = '(toTime $value).UTC.Format "15:04:05"'
SINCE = "{{ if $value }}{{ " + CLOCK_TIME + " }} UTC{{ end }}"
MOMENT = '{{ (toTime $value).UTC.Format "2006-01-02 15:04:05" }} UTC'  # not "5 min ago": that is a query for each alert
GATEWAY_BOARD = "/d/ibkr-gateway?var-target={{ $labels.target }}"
LIBRARIES_BOARD = "/d/ibkr-libraries?var-target={{ $labels.target }}"
FLEET_BOARD = "/d/ibkr-fleet"
TARGET_PAGE = "/targets/{{ $labels.target }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule, ready to be written. `action` is what to do, in at most 48 characters: a telephone's lock screen."""

    name: str
    summary: str
    action: str
    expr: str
    wait: Threshold
    severity: str
    layer: str
    description: str
    runbook: str
    dashboard: str
    since: str = ""  # when the failure began, as a template; where nothing is known, the alert's own beginning is shown
    page: str = ""  # the exporter's page about it
    keep_firing: Threshold | None = None

    @property
    def annotations(self) -> Mapping[str, str]:
        """What a notification is written from."""
        url = EXPORTER_URL if "$labels" in self.page else ANY_EXPORTER_URL
        notes = {
            "summary": self.summary,
            "action": self.action,
            "description": self.description,
            "runbook_url": f"{url}/runbooks/{self.runbook}",
            "dashboard_url": f"{GRAFANA_URL}{self.dashboard}",
        }
        if self.since:
            notes["since"] = self.since
        if self.page:
            notes["page_url"] = f"{url}{self.page}"
        return notes


def steps(*actions: str) -> str:
    """The actions as the numbered end of a description."""
    return "What to do:\n" + "\n".join(f"{number}. {action}" for number, action in enumerate(actions, 1))
