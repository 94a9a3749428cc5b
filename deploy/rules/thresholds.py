"""Every number in the rules, each with its reason. The rules name these and hold no numbers of their own.

From freeze to page at most 30 seconds, the sum of the worst cases (seconds):

                                                     with the watch    without
    the exporter sees it (two heartbeats of 2 s;            5             20
    or an interval of 15 s and a deadline of 5 s)
    Prometheus scrapes                                      3              3
    the rules are evaluated                                 3              3
    `for` of the handshake alert                            0              0
    Alertmanager waits for the rest of the group            3              3
                                                           --             --
                                                           14             29

A target with client libraries and without a watch may first have to finish a client probe (its deadline, 15 s by
default): give such a target a second reserved client id, and so a watch.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number as Prometheus writes it, and why it is that number."""

    value: str
    reason: str


SCRAPE_INTERVAL = Threshold("3s", "part of the 30 s from freeze to page; one scrape costs the exporter milliseconds")
EVALUATION_INTERVAL = Threshold("3s", "part of the 30 s from freeze to page")
GAP = Threshold(
    "15s",
    "five scrapes: what was true at the last of them stays true while some fail, or every failed scrape would begin "
    "the waits of all alerts anew",
)
KEEP_FIRING = Threshold(
    "30s", "two probe intervals: a gateway that flaps, or a restart of the exporter, is no page and no resolved at each"
)
KEEP_DOWN = Threshold("15s", "shorter than the above: it must not outlast the alert that says more, and silences it")

AT_ONCE = Threshold(
    "0s",
    "the verdict itself is the evidence: two heartbeats or a whole deadline (5 s) of silence. Waiting for less than a "
    "probe interval would read the same probe again and prove nothing more",
)
STARTING = Threshold(
    "2m",
    "a gateway that restarts is shut for 35 to 90 s, and silent for 30 to 90 s more while it loads",
)
DOWN = Threshold("5m", "longer than a start may take, two minutes shut and two silent: this one never came up")
NETWORK = Threshold("1m", "a router or VPN that comes back within a minute is not worth waking anyone")
SETTLED = Threshold("30s", "two probe intervals: not one unlucky moment while the gateway started or a client left")
TWO_CLIENT_PROBES = Threshold(
    "90s", "more than one client interval (60 s): the verdict is two failed tries in a row, and a third agrees"
)
THREE_CLIENT_PROBES = Threshold("3m", "three client intervals: one library failing is a ticket, not a page")
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
RELOAD = Threshold("1m", "time for whoever edits the file to mend it")
SILENT_GATEWAYS = Threshold("2", "with one gateway there is no everywhere")

OBJECTIVE = Threshold("0.995", "41 minutes of a month's 136 trading hours: one bad restart, and some minutes to spare")


def reasons() -> dict[str, Threshold]:
    """All of them by name, for the generated documentation."""
    return {name: value for name, value in globals().items() if isinstance(value, Threshold)}
