"""Alerts about the exporter and its configuration: while it is not well, nothing is known of its gateways."""

from deploy.rules import alert as a
from deploy.rules import expressions as e
from deploy.rules import thresholds as t
from deploy.rules.alert import Alert

UP = f"up{{{e.EXPORTERS}}}"
STARTED = f"process_start_time_seconds{{{e.EXPORTERS}}}"


def exporter_alerts() -> tuple[Alert, ...]:
    """The rules, those that page first."""
    return (
        Alert(
            name="IbkrExporterDown",
            summary="The exporter does not answer",
            action="Start it again; its log says why.",
            expr=f"({UP} == 0) or absent({UP})",
            wait=t.EXPORTER,
            severity="critical",
            layer="exporter",
            description="Prometheus gets no answer from the exporter at {{ $labels.instance }}: every gateway that no "
            "other exporter watches is unwatched now. An alert about one of them stays as it was, and no end of one is sent, until it answers again. "
            + a.steps(
                "docker compose ps exporter, and docker compose logs --tail 50 exporter: a wrong configuration is said there.",
                "Start it again; read its log if it stops again.",
            ),
            runbook="exporter_down",
            dashboard=a.FLEET_BOARD,
        ),
        Alert(
            name="IbkrExporterRestarting",
            summary="The exporter starts again and again",
            action="Its log says how each life ends.",
            expr=f"(changes({STARTED}[{t.CRASH_WINDOW.value}]) >= {t.CRASHES.value})\n"
            f"or (avg_over_time({UP}[5m]) < {t.UNSTEADY.value} and resets({UP}[5m]) >= {t.OUTAGES.value})",
            wait=t.AT_ONCE,
            severity="critical",
            layer="exporter",
            description="The exporter at {{ $labels.instance }} is up for a while and down again, over and over: its gateways "
            "are watched by pieces only, and no failure of theirs lasts long enough for its alert. "
            + a.steps(
                "docker compose ps exporter, and docker compose logs --tail 200 exporter: how did each life end? Exit code 137 "
                "is the memory limit, 2 the configuration.",
                "Mend that: raise EXPORTER_MEMORY, correct the configuration, or go back to the version before.",
            ),
            runbook="exporter_restarting",
            dashboard=a.FLEET_BOARD,
            keep_firing=t.DOWN,
        ),
        Alert(
            name="IbkrScrapeStale",
            summary="Prometheus does not try to scrape it",
            action="Look at Prometheus' load.",
            expr=f"time() - timestamp({UP}) > {t.STALE_SCRAPE.value}",
            wait=t.SCRAPE,
            severity="critical",
            layer="exporter",
            description="The last scrape of {{ $labels.instance }}, successful or not, was {{ $value | humanizeDuration }} ago; one "
            "is due every 3 s, of a pool every 15 s. Prometheus is starved, its storage does not take samples, or its clock was set. "
            + a.steps(
                "Look at the processor, memory and disk of Prometheus' machine, and at its log.",
                "Restart Prometheus if it does not come back.",
            ),
            runbook="scrape_stale",
            dashboard=a.FLEET_BOARD,
        ),
        Alert(
            name="IbkrConfigReloadFailed",
            summary="It refused its changed configuration",
            action="ibkr-exporter check-config FILE",
            expr=f"{e.latest('ibkr_exporter_config_last_reload_successful')} == 0",
            wait=t.RELOAD,
            severity="warning",
            layer="exporter",
            description="The exporter at {{ $labels.instance }} still runs with its former configuration: the new one has errors. "
            + a.steps(
                "ibkr-exporter check-config FILE names every error with its line.",
                "Correct the file: it is read again within seconds.",
            ),
            runbook="config_reload_failed",
            dashboard=a.FLEET_BOARD,
        ),
        Alert(
            name="IbkrDiscoveryFailing",
            summary="A source of targets gives no good list",
            action="Mend it; its last list stays.",
            expr=f"{e.latest('ibkr_sd_last_refresh_successful')} == 0",
            wait=t.DISCOVERY,
            severity="warning",
            layer="exporter",
            description="The exporter at {{ $labels.instance }} cannot read or reach {{ $labels.config }}, or what it gets is no "
            "list. It watches the targets of the last good list: a new gateway is not watched, and one that is gone still is. "
            + a.steps(
                "The exporter's log and its status page say why: discovery failed.",
                "Mend the file or the server; the next refresh uses it. Nothing has to be restarted.",
            ),
            runbook="discovery_failing",
            dashboard=a.FLEET_BOARD,
        ),
        Alert(
            name="IbkrDiscoveredTargetsRejected",
            summary="Discovered targets are left out",
            action="Correct those that its page names.",
            expr=f"{e.latest('ibkr_sd_rejected_targets')} > 0",
            wait=t.DISCOVERY,
            severity="warning",
            layer="exporter",
            description="Of the list of {{ $labels.config }} the exporter at {{ $labels.instance }} leaves {{ $value }} out: the "
            "entry has a fault, or another target has its name or its client ids. These gateways are not watched, or as they were before. "
            + a.steps(
                "The exporter's log and its status page name the entries and what is wrong with each.",
                "Correct them where the list is made; the next refresh uses it.",
            ),
            runbook="discovered_targets_rejected",
            dashboard=a.FLEET_BOARD,
        ),
        Alert(
            name="IbkrClientUnusable",
            summary="A client library cannot be tried",
            action="ibkr-exporter clients check",
            expr=f"{e.latest('ibkr_client_usable')} == 0\n"
            "  and on (job, instance, client) " + e.latest('ibkr_probes_total{layer="client"}'),
            wait=t.UNUSABLE,
            severity="warning",
            layer="exporter",
            description="The interpreter of the client {{ $labels.client }} on {{ $labels.instance }} does not start, or its "
            "library cannot be imported: it tests nothing, and no gateway is blamed for that. "
            + a.steps(
                "ibkr-exporter clients check says why: no interpreter, no library, or distributions that overwrite each other.",
                "Where the exporter makes the environments: ibkr-exporter clients install. Where it is the bot's own: mend it "
                "there.",
            ),
            runbook="client_unusable",
            dashboard=a.LIBRARIES_BOARD.partition("?")[0],
        ),
    )
