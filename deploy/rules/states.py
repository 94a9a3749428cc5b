"""Recorded for the alerts: the present verdict of each target, and of those that are not healthy since when.

The rules that page read these few series instead of 21 verdict series a target. While an exporter cannot be scraped they
stay as they were at its last scrape, so that no alert resolves for lack of a scrape: `IbkrExporterDown` is the news then.
"""

from collections.abc import Mapping

from deploy.rules import expressions as e
from deploy.rules.recording import Recording
from deploy.rules.thresholds import ANEW, VERSION_KEPT
from exporter.model import Verdict
from exporter.verdict.rules import Severity, severity

OPEN_WINDOWS = e.latest('ibkr_maintenance_window{window!="weekly_login"}')
FAILING_NOW = f'{e.VERDICT}{{verdict!="{Verdict.HEALTHY}"}}'
ONE_GATEWAY = "`gateway` says which targets are the same gateway, and is by default the target's name"


def held(name: str, unless: str = "") -> str:
    """What was recorded at the last scrape of an exporter that cannot be scraped now."""
    return f"\n  or on ({e.IDENTITY}) ({name} and on (job, instance) {e.UNSCRAPED}{unless})"


def info(which: str = "") -> str:
    """The labels of these targets, by default of all, with the value 1."""
    only = f" and on ({e.IDENTITY}) {which}" if which else ""
    replaced = f'label_replace(ibkr_target_info{{gateway=""}}{only}, "gateway", "$1", "target", "(.+)")'
    return f'(ibkr_target_info{{gateway!=""}}{only}\n  or {replaced})'


def moment(name: str, labels: str, metric: str) -> str:
    """These labels with the value of a metric; 0 where there is none."""
    return f"{labels}\n  * on ({e.IDENTITY}) group_left () {metric}{held(name)}\n  or on ({e.IDENTITY}) {labels} * 0"


# The targets of a second exporter (labelled standby where it is scraped) that the first one watches too, is up and knows something
# of. What it pages for already goes on. Two Prometheus must take the same exporter's word, or their alerts would differ.
UNKNOWN = f'{e.VERDICT}{{verdict=~"{Verdict.UNKNOWN}|{Verdict.PROBE_BROKEN}"}}'  # recorded, of those that are
STANDBY = (
    f'(ibkr_target_info{{standby!=""}}\n    and on (job, target) (ibkr_target_info{{standby=""}} unless on ({e.IDENTITY}) {UNKNOWN})\n'
    f'    unless on ({e.IDENTITY}) ALERTS{{alertname=~"Ibkr.+", alertstate="firing", standby!=""}})'
)


# What says only that nothing is known (layer="exporter") stands for no page about the gateway.
PAGED = 'ALERTS{alertname=~"Ibkr.+", alertstate="firing", severity="critical", layer!="exporter", gateway!=""}'
WELL = f'ibkr_verdict{{verdict="{Verdict.HEALTHY}"}} == 1'


def verdict(name: str, matcher: str = "") -> Recording:
    """The present verdict, of those that match."""
    return Recording(
        name,
        "1 for the present verdict; as it was at the last scrape while the exporter cannot be scraped",
        f"(ibkr_verdict{matcher} == 1\n  unless on ({e.IDENTITY}) {STANDBY})"
        + held(
            name,
            f"\n    unless on (job, target) {e.ANEW}"
            # What another exporter sees well is held only for the page about it that stands.
            f"\n    unless on ({e.IDENTITY}) ({name} and on (job, target) ({WELL}) unless on ({e.IDENTITY}) {PAGED})",
        ),
    )


WENT_DOWN = 'max by (job) (ALERTS_FOR_STATE{alertname="IbkrExporterDown"})'


def paged_elsewhere(info_name: str) -> Recording:
    """Of these targets those whose gateway is paged about because of another target, or by another exporter."""
    return Recording(
        e.paged_elsewhere(info_name),
        "the targets that page for nothing although another target of the same gateway does: one gateway, one page",
        f"{info_name}\n  and on ({e.GATEWAY}) {PAGED}\n  unless on ({e.IDENTITY}) {PAGED}\n"
        f"  unless on ({e.IDENTITY}) {e.ANEW}",
    )


def known(scope: str, window: str = "") -> str:
    """The name under which the number of gateways of a scope is recorded: of all, or of those outside of a window."""
    outside = f"outside_{window.split(':')[1].removeprefix('ibkr_')}" if window else "known"
    return f"{scope.rpartition(' ')[2]}:ibkr_gateways:{outside}"


def fleet(scope: str, window: str = "") -> Recording:
    """How many gateways there are of which something is known, by scope; one that two targets see is one."""
    unless = f"  unless on ({e.IDENTITY}) {window}\n" if window else ""
    return Recording(
        known(scope, window),
        f"how many gateways there are by {scope}, without {'those in a window and ' if window else ''}those of which nothing is known",
        f"count by ({scope}) (count by ({scope}, gateway) (\n  {e.FLEET_INFO}\n{unless}"
        f"  unless on ({e.IDENTITY}) {UNKNOWN}\n))",
    )


SILENCE: tuple[Recording, ...] = (
    Recording(
        e.SILENCE_COUNTED,
        "where the numbers of gateways are known, before the alerts about silence read them: the group that records those runs beside "
        "this one, and may end between two of them",
        e.COUNTED,
    ),
    Recording(
        e.RESTART_WINDOW,
        "1 while the target's own restart window is open",
        e.latest('ibkr_maintenance_window{window="restart"}') + " == 1",
    ),
    verdict(e.SILENT_VERDICT, f'{{verdict="{Verdict.API_SILENT}"}}'),
    Recording(
        e.SILENT,
        f"of the silent targets, with their labels, when a handshake last worked (0: none has); {ONE_GATEWAY}",
        moment(e.SILENT, info(e.SILENT_VERDICT), "ibkr_handshake_last_success_timestamp_seconds"),
    ),
    paged_elsewhere(e.SILENT),
)
STATES: tuple[Recording, ...] = (
    verdict(e.VERDICT),
    Recording(e.FLEET_INFO, f"1, with the labels of the target; {ONE_GATEWAY}", info() + held(e.FLEET_INFO)),
    Recording(
        e.INFO,
        "of the targets that are not healthy: 1, with their labels",
        f"{e.FLEET_INFO} and on ({e.IDENTITY}) {FAILING_NOW}",
    ),
    Recording(
        e.WORKED,
        "of these, when a handshake last worked (unix time; 0: none has)",
        moment(e.WORKED, e.INFO, "ibkr_handshake_last_success_timestamp_seconds"),
    ),
    Recording(
        e.BEGAN,
        "of these, when the present verdict began (unix time)",
        moment(e.BEGAN, e.INFO, "ibkr_verdict_since_timestamp_seconds"),
    ),
    Recording(
        e.ANEW,
        "of these, what failed after an exporter went down and only that one had paged about: its alert stays as it was, and "
        "stands for no failure that began later",
        f"{e.BEGAN} - on (job) group_left () {WENT_DOWN} > {ANEW.value}\n"
        f"  unless on ({e.GATEWAY}) ({PAGED} unless on (job, instance) {e.UNSCRAPED})",
    ),
    paged_elsewhere(e.INFO),
    Recording(
        e.FAILING_CLIENT,
        "the client libraries that fail, with their versions: a thousand alerts' texts would each join them",
        "ibkr_client_info\n  * on (job, instance, client) group_right (library, version) (ibkr_client_success == bool 0) == 1",
    ),
    Recording(
        e.ANY_WINDOW,
        "1 while a maintenance window other than the weekly login is open",
        f"max by ({e.IDENTITY}) ({OPEN_WINDOWS} == 1)",
    ),
    fleet("job"),
    fleet("job, host"),
    fleet("job", e.RESTART_WINDOW),
    fleet("job, host", e.RESTART_WINDOW),
    fleet("job", e.ANY_WINDOW),
    fleet("job, host", e.ANY_WINDOW),
    Recording(
        e.COUNTED,
        "how many targets there are; recorded last, so that where it is the numbers of gateways are known",
        f"count by (job) ({e.FLEET_INFO})",
    ),
)


BASES = {Severity.CRITICAL: 300, Severity.WARNING: 200, Severity.UNKNOWN: 100, Severity.OK: 0}
# A verdict as a number, for panels that sort and colour: the worse the higher; within one severity the further out.
RANKS: Mapping[Verdict, int] = {
    verdict: BASES[severity(verdict)] + (0 if verdict is Verdict.HEALTHY else 50 - index)
    for index, verdict in enumerate(Verdict)
}
RANK = Recording(
    "target:ibkr_verdict:rank",
    "the present verdict as a number: critical 300 and more, warning 200, unknown 100, healthy 0",
    f"sum by ({e.IDENTITY}) (\n    "
    + "\n  or ".join(f'{rank} * {e.VERDICT}{{verdict="{verdict}"}}' for verdict, rank in RANKS.items())
    + "\n)",
)
VERSION = Recording(
    "target:ibkr_server_version:last",
    "the server version that was last seen, kept while the gateway is down: an upgrade may take hours",
    "ibkr_server_version\n"
    f"  or (last_over_time(target:ibkr_server_version:last[{VERSION_KEPT.value}])\n"
    f"    and on ({e.IDENTITY}) last_over_time(ibkr_target_info[{VERSION_KEPT.value}]))",
)
