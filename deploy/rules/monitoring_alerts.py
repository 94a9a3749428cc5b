"""Alerts about Prometheus and Alertmanager themselves, for who has no other rules for them (the mixins of both have more).

What is wrong with the way to the pager cannot be sent by it: `Watchdog` fires always, and a dead man's switch outside of
this machine alarms when it stops (deploy/alertmanager/examples).
"""

from deploy.rules import alert as a
from deploy.rules import expressions as e
from deploy.rules import thresholds as t
from deploy.rules.alert import Alert

DOWN = f"up{{{e.ALERTMANAGER}}} == 0"
# For none of them, or since a version of Prometheus 3, where each has a queue, for the one that is named.
DROPPED = f"prometheus_notifications_dropped_total{{{e.PROMETHEUS}"


def monitoring_alerts() -> tuple[Alert, ...]:
    """The rules."""
    return (
        _watchdog(),
        _rules_failing(),
        _rules_slow(),
        _prometheus_down(),
        _alertmanager_unreachable(),
        _alertmanager_down(),
        _not_delivered(),
        _config_refused(),
    )


def _alert(
    *,
    name: str,
    summary: str,
    action: str,
    expr: str,
    words: str,
    steps: tuple[str, ...],
    runbook: str,
    severity: str = "critical",
) -> Alert:
    return Alert(
        name=name,
        summary=summary,
        action=action,
        expr=expr,
        wait=t.MONITORING,
        severity=severity,
        layer="exporter",
        description=f"{words} {a.steps(*steps)}",
        runbook=runbook,
        dashboard=a.FLEET_BOARD,
    )


def _watchdog() -> Alert:
    return Alert(
        name="Watchdog",
        summary="Always fires: the way from Prometheus to Alertmanager works",
        action="None, while it arrives.",
        expr="vector(1)",
        wait=t.WATCHDOG,
        severity="none",
        layer="exporter",
        description="Sent every minute to the receiver `watchdog`. When it stops there, Prometheus, Alertmanager or what is "
        "between them has ended, and nothing is known of any gateway. "
        + a.steps(
            "docker compose ps: are prometheus and alertmanager up? Their logs say why one is not.",
            "Start what is down; until then look at the exporter's own page for the gateways.",
        ),
        runbook="watchdog",
        dashboard=a.FLEET_BOARD,
    )


def _rules_failing() -> Alert:
    return _alert(
        name="IbkrRulesFailing",
        summary="Prometheus cannot evaluate a rule",
        action="Its page of rules names the error.",
        expr=f"increase(prometheus_rule_evaluation_failures_total{{{e.PROMETHEUS}}}[5m]) > 0",
        words="Rules of the group {{ $labels.rule_group }} end with an error: their alerts do not fire, whatever happens.",
        steps=(
            "Prometheus' page of rules (/rules) names the rule and its error.",
            "Two exporters under one job and instance, or series from elsewhere with the same names, are the usual cause.",
        ),
        runbook="rules_failing",
    )


def _rules_slow() -> Alert:
    return _alert(
        name="IbkrRulesSlow",
        summary="Prometheus evaluates rules too late",
        action="Give it more processor time.",
        expr=f"increase(prometheus_rule_group_iterations_missed_total{{{e.PROMETHEUS}}}[5m]) > 30",
        words="The group {{ $labels.rule_group }} takes longer than its interval: evaluations are missed, and pages come late.",
        steps=(
            "Look at the load of Prometheus' machine.",
            "Fewer gateways for one Prometheus: a job for each half of them.",
        ),
        runbook="rules_slow",
    )


def _prometheus_down() -> Alert:
    return _alert(
        name="IbkrPrometheusDown",
        summary="One of two Prometheus does not answer",
        action="Start it again: one is left.",
        expr=f"up{{{e.PROMETHEUS}}} == 0",
        words="{{ $labels.instance }} gives no answer. The other one pages as before; if that ends too, only the dead man's "
        "switch reports it.",
        steps=(
            "docker compose ps prometheus prometheus-b, and the log of the one that is down.",
            "Start it again; see that both are up on the other's page of targets.",
        ),
        runbook="prometheus_down",
        severity="warning",
    )


def _alertmanager_unreachable() -> Alert:
    return _alert(
        name="IbkrAlertmanagerUnreachable",
        summary="Alertmanager takes no alerts",
        action="No page is sent now: start Alertmanager.",
        # What Prometheus counts while one is down, or was a moment ago, is that one's: it has its own alert, of two Alertmanagers too.
        expr=f"({DOWN} unless on () up{{{e.ALERTMANAGER}}} == 1)\n"
        f"or (prometheus_notifications_alertmanagers_discovered{{{e.PROMETHEUS}}} == 0)\n"
        f'or (rate({DROPPED}, alertmanager=""}}[2m]) > 0)\n'
        f"or ((rate(prometheus_notifications_errors_total{{{e.PROMETHEUS}}}[2m]) > 0\n"
        f'    or rate({DROPPED}, alertmanager!=""}}[2m]) > 0)\n'
        f"  unless on () min_over_time(up{{{e.ALERTMANAGER}}}[{t.ALERTMANAGER_BACK.value}]) == 0)",
        words="Alerts do not reach Alertmanager: it sends no page. This is seen on Prometheus' page; the dead man's switch says "
        "it to everybody else.",
        steps=(
            "docker compose ps alertmanager, and docker compose logs --tail 50 alertmanager.",
            "Compare the address under `alerting` in prometheus.yml, and the network between the two.",
        ),
        runbook="alertmanager_unreachable",
    )


def _alertmanager_down() -> Alert:
    return _alert(
        name="IbkrAlertmanagerDown",
        summary="One of two Alertmanagers does not answer",
        action="Start it again: one is left.",
        expr=f"{DOWN} and on () up{{{e.ALERTMANAGER}}} == 1",
        words="{{ $labels.instance }} gives no answer. The other one sends every page; if that ends too, only the dead man's "
        "switch reports it.",
        steps=(
            "docker compose ps alertmanager alertmanager-b, and the log of the one that is down.",
            "Start it again; see that both name the other under Status, Cluster Status.",
        ),
        runbook="alertmanager_down",
        severity="warning",
    )


def _not_delivered() -> Alert:
    return _alert(
        name="IbkrPagesNotDelivered",
        summary="Notifications cannot be delivered",
        action="Look at the receiver's settings.",
        expr=f"rate(alertmanager_notifications_failed_total{{{e.ALERTMANAGER}}}[5m]) > 0",
        words="Notifications by {{ $labels.integration }} fail: pages may not arrive. Alertmanager tries again, and other receivers "
        "may work.",
        steps=(
            "docker compose logs --tail 50 alertmanager: the service's own answer is there.",
            "Compare the secret's file, the address, and what Alertmanager's machine may reach.",
        ),
        runbook="pages_not_delivered",
    )


def _config_refused() -> Alert:
    return _alert(
        name="IbkrMonitoringConfigRefused",
        summary="It refused its changed configuration",
        action="promtool or amtool says why.",
        expr=f"(prometheus_config_last_reload_successful{{{e.PROMETHEUS}}} == 0)\n"
        f"or (alertmanager_config_last_reload_successful{{{e.ALERTMANAGER}}} == 0)",
        words="{{ $labels.job }} at {{ $labels.instance }} still runs with its former configuration: the new one has errors.",
        steps=(
            "promtool check config FILE, or amtool check-config FILE, names the error; so does its log.",
            "Correct the file and reload: SIGHUP.",
        ),
        runbook="monitoring_config_refused",
    )
