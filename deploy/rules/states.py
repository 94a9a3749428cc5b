"""Recorded every second, for the alerts: the present verdict of each target, and since when.

Every rule that pages reads these few series instead of 21 verdict series a target. While an exporter cannot be scraped they
stay as they were at its last scrape, so that no alert resolves because nobody looks: `IbkrExporterDown` is the news then.
"""

from collections.abc import Mapping

from deploy.rules import expressions as e
from deploy.rules.recording import Recording
from deploy.rules.thresholds import VERSION_KEPT
from exporter.model import Verdict
from exporter.verdict.rules import Severity, severity


def held(name: str) -> str:
    """What was recorded at the last scrape of an exporter that cannot be scraped now."""
    return f"\n  or on ({e.IDENTITY}) ({name} and on (job, instance) {e.UNSCRAPED})"


def moment(name: str, metric: str) -> str:
    """The labels of the target with the value of a metric; 0 where there is none."""
    return f"{e.INFO}\n  * on ({e.IDENTITY}) group_left () {metric}{held(name)}\n  or on ({e.IDENTITY}) {e.INFO} * 0"


STATES: tuple[Recording, ...] = (
    Recording(
        e.VERDICT,
        "1 for the present verdict; as it was at the last scrape while the exporter cannot be scraped",
        "ibkr_verdict == 1" + held(e.VERDICT),
    ),
    Recording(
        e.INFO,
        "1, with the labels of the target; `gateway` says which targets are the same gateway, and is by default the name",
        'ibkr_target_info{gateway!=""}\n'
        '  or label_replace(ibkr_target_info{gateway=""}, "gateway", "$1", "target", "(.+)")' + held(e.INFO),
    ),
    Recording(
        e.WORKED,
        "when the last handshake worked (unix time; 0: none that the exporter knows of), with the labels of the target",
        moment(e.WORKED, "ibkr_handshake_last_success_timestamp_seconds"),
    ),
    Recording(
        e.BEGAN,
        "when the present verdict began (unix time), with the labels of the target",
        moment(e.BEGAN, "ibkr_verdict_since_timestamp_seconds"),
    ),
    Recording(
        e.PAGED_ELSEWHERE,
        "the targets that page for nothing although another target of the same gateway does: one gateway, one page",
        f'{e.INFO}\n  and on ({e.GATEWAY}) ALERTS{{alertname=~"Ibkr.+", alertstate="firing", severity="critical", '
        f'gateway!=""}}\n  unless on ({e.IDENTITY}) ALERTS{{alertname=~"Ibkr.+", alertstate="firing", '
        'severity="critical", gateway!=""}',
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
