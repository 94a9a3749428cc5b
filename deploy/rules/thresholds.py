"""Every number in the rules, each with its reason. The rules name these and hold no numbers of their own.

From freeze to page at most 30 seconds, the sum of the worst cases (seconds):

                                                     with the watch    without
    a heartbeat (2) is late (1), or the next tick          3             15
    a client probe is stopped                              0.5            0
    silence that is longer than a pause                    8.5            8.5
    Prometheus scrapes                                     3              3
    the rules about silence are evaluated                  1              1
    Alertmanager waits for the rest of the group           2              2
                                                          ----           ----
                                                          18             29.5

The verdict and the status page do not wait for that: they say api_silent after one probe, or two unanswered heartbeats.
A tick waits for no client probe, and an answer that was broken off counts as silence: the rest of a pause passes, and
then a whole probe must fail too. tests/contract/test_freeze_to_page.py adds up what is shipped.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number as Prometheus writes it, and why it is that number."""

    value: str
    reason: str


SCRAPE_INTERVAL = Threshold("3s", "part of the 30 s from freeze to page; one scrape costs the exporter milliseconds")
SILENCE_INTERVAL = Threshold("1s", "part of the 30 s from freeze to page; three alerts, and what they read")
PAGES_INTERVAL = Threshold("3s", "an evaluation for each scrape")
TICKETS_INTERVAL = Threshold("15s", "these are no pages; their texts cost a query each")
GAP = Threshold(
    "30s",
    "ten scrapes, or one of a pool, every 15 s for up to 10 s: what was true at the last of them stays true while some "
    "fail, or every failed scrape would begin the waits of all alerts again",
)
KEEP_FIRING = Threshold(
    "30s", "two probe intervals: a gateway that flaps, or a restart of the exporter, is no page and no resolved at each"
)
KEEP_FLEET = Threshold(
    "90s",
    "longer than the alerts that it holds back are kept, and a probe interval: after the last recovery nothing is new",
)
KEEP_DOWN = Threshold("15s", "shorter than the above: it must not outlast the alert that says more, and silences it")

AT_ONCE = Threshold("0s", "the expression itself holds the wait, or there is nothing to wait for")
PAUSE = Threshold(
    "8",
    "seconds: a garbage collection, a swap or a snapshot of the machine takes that long and passes. The exporter probes on "
    "until 8.5 s of silence are behind it",
)
SHORT_SILENCE = Threshold(
    "2m", "longer than IbkrExporterDown waits: what was no page before does not become one blindly"
)
STARTING = Threshold(
    "2m",
    "a gateway that restarts is shut for 35 to 90 s, and silent for 30 to 90 s more while it loads",
)
DOWN = Threshold("5m", "longer than a start may take, two minutes shut and two silent: this one never came up")
NETWORK = Threshold("1m", "a router or VPN that comes back within a minute is not worth waking anyone")
SUSPENDED = Threshold("5m", "it lasts until a reload, and it is no page")
SETTLED = Threshold("30s", "two probe intervals: not one unlucky moment while the gateway started or a client left")
TWO_CLIENT_PROBES = Threshold(
    "90s", "more than one client interval (60 s): the verdict is two failed tries in a row, and a third agrees"
)
THREE_CLIENT_PROBES = Threshold("3m", "three client intervals: one library failing is a ticket, not a page")
DOWNLOADS = Threshold("3m", "after a stall the download is probed each minute: three in a row, and no page")
ID_LEFT_BEHIND = Threshold("5m", "a session left behind by a crash ends after some minutes")
UPSTREAM = Threshold("3m", "a gateway loses IBKR's servers for a minute or two about once a day and recovers by itself")
OVERDUE_SECONDS = Threshold("7200", "the longest daily reset window is 90 minutes; half an hour more is stuck")
OVERDUE = Threshold("5m", "time to log in again after a window's end, before the escalation")
FARM = Threshold("10m", "farms flap, above all in the daily maintenance")
SLOW = Threshold("5m", "a garbage collection or a backup passes; five minutes of slowness is a state")
CLOCK_SECONDS = Threshold(
    "3", "the API gives whole seconds, so an honest clock may look 1 s off; 3 s is a clock without NTP"
)
CLOCK = Threshold("5m", "NTP needs some minutes after a start")
VERSION_WINDOW = Threshold("15m", "long enough to be read, short enough that it ends by itself")
VERSION_KEPT = Threshold("10m", "what Prometheus and the exporter may be away for without forgetting the last version")
STALE = Threshold("30s", "the state is three intervals old already; at start the first verdict takes 2 s")
UNUSABLE = Threshold("5m", "a bot's environment that is being upgraded cannot be used for a while")
EXPORTER = Threshold("30s", "a restart of the exporter takes a few seconds")
RELOAD = Threshold("1m", "time to mend the file after a first attempt")
DISCOVERY = Threshold(
    "5m", "the last good list is in use, and one of the next refreshes may do; a target may be moved between lists"
)
ANEW = Threshold(
    "60",
    "seconds after the end of an exporter: by then another one has seen all that the first had paged about; what it sees "
    "begin later is news",
)
CRASHES = Threshold("3", "starts within ten minutes: an upgrade takes one, or two")
CRASH_WINDOW = Threshold("10m", "Compose doubles its wait from restart to restart, up to a minute")
OUTAGES = Threshold(
    "2",
    "one, however long, is IbkrExporterDown's. It is enough that scrapes saw one life between two: on a machine short of "
    "processor time most are over before they are seen",
)
UNSTEADY = Threshold("0.8", "of the scrapes of five minutes: one that is up 6 s and down 24 s has 0.2 of them")
STALE_SCRAPE = Threshold("30", "seconds: ten scrapes, or one of a pool, have neither worked nor failed: none was made")
SCRAPE = Threshold(
    "30s", "after a restart of Prometheus the last scrape is an old one until the next, of a pool after 15 s"
)
MONITORING = Threshold("2m", "a restart of Prometheus or Alertmanager is over by then")
ALERTMANAGER_BACK = Threshold(
    "3m", "what Prometheus could not hand to one that was down stays in its rate for two minutes"
)
WATCHDOG = Threshold("30s", "Prometheus is up before Alertmanager: what it sends until then is dropped")
FLEET = Threshold("2", "with one gateway there is no fleet")
FLEET_SHARE = Threshold("0.5", "of the gateways that are in no maintenance window: half of them do not fail by chance")
FLEET_RECOVERS = Threshold(
    "30m",
    "after the last time that half of them failed: gateways that share a fault come back one by one within that; two that do not "
    "are no fleet",
)
MOSTLY = Threshold("50", "of the hundred evaluations of five minutes: it failed as the fleet does, not now and then")
OBJECTIVE = Threshold("0.995", "41 minutes of a month's 136 trading hours: one bad restart, and some minutes to spare")
# How fast the budget goes: 1 would spend it in just the 30 days, that is in 136 trading hours.
BURN_FAST = Threshold("13.6", "in one hour a tenth of the month's budget: four minutes")
BURN_DAY = Threshold("5.2", "in one trading day a quarter of the month's budget")
BURN_DAYS = Threshold("2", "in three trading days, at this pace the budget lasts half of the month")
BURN = Threshold("5m", "the first minutes after the opening are too few to tell a pace")


def seconds(wait: Threshold) -> float:
    """A duration in seconds."""
    return float(wait.value[:-1]) * {"s": 1, "m": 60, "h": 3600}[wait.value[-1]]


def reasons() -> dict[str, Threshold]:
    """All of them by name, for the generated documentation."""
    return {name: value for name, value in globals().items() if isinstance(value, Threshold)}
