"""Alerts about gateways that are down although no one verdict lasts: about one of them, and about many."""

from deploy.rules import alert as a
from deploy.rules import expressions as e
from deploy.rules import thresholds as t
from deploy.rules.alert import Alert
from deploy.rules.fleet_alerts import recordings, while_share
from deploy.rules.recording import Recording
from deploy.rules.verdict_alerts import FLEETS_OF, VERDICTS
from exporter.verdict.rules import CONNECTABLE

DOWN = "target:ibkr_down:info"
EVERYWHERE = e.Fleet("IbkrDownEverywhere", "job")


def down_recordings() -> tuple[Recording, ...]:
    """What the two alerts are about."""
    span = t.DOWN.value
    paged = "|".join(row.name for row in VERDICTS if row.severity == "critical")
    return (
        Recording(
            DOWN,
            "the targets that have been down for five minutes, unless a restart window or the alert about a fleet stands for that",
            e.with_labels(f"(max_over_time(ibkr_up[{span}]) == 0 and ibkr_up offset {span} == 0)", e.INFO)
            + e.unless_expected(
                "IbkrDown", f'max_over_time(ibkr_maintenance_window{{window="restart"}}[{span}]) == 1', (EVERYWHERE,)
            )
            + _unless_in_fleet(span)
            + e.unless_paged_elsewhere(e.INFO),
        ),
        *recordings(
            EVERYWHERE,
            f'{DOWN}\n  unless on ({e.IDENTITY}) ALERTS{{alertname=~"{paged}", alertstate="firing"}}',  # have their page
            e.RESTART_WINDOW,
            DOWN,
        ),
    )


def down() -> Alert:
    """About one gateway."""
    return Alert(
        name="IbkrDown",
        summary="No program could connect for 5 minutes",
        action="See its verdicts over time.",
        expr=DOWN + e.unless_fleet("IbkrDown", (EVERYWHERE,)),
        wait=t.AT_ONCE,
        severity="critical",
        layer="client",
        description=f"{a.ABOUT}: it fails, and no one verdict has lasted long enough for an alert of its own: it comes up "
        "and falls over again, or one fault follows the other. "
        + a.steps(
            "Look at its dashboard: the verdicts over time, and whether the layers go up and down in turn.",
            "Look for what restarts the gateway: its controller, the container's restart policy, a login that fails again "
            "and again.",
            "Then take the runbook of the verdict that it has most of the time.",
        ),
        runbook="gateway_down",
        dashboard=a.GATEWAY_BOARD,
        page=a.TARGET_PAGE,
        keep_firing=t.KEEP_DOWN,
    )


def down_everywhere() -> Alert:
    """About half of them."""
    listing = f'{{{{ range query (printf "{EVERYWHERE.failing}{{job=%q}}" $labels.job) }}}}{{{{ .Labels.target }}}}, {{{{ end }}}}'
    return Alert(
        name=EVERYWHERE.alert,
        summary="Half of the gateways are down in changing ways",
        action="See what makes them fall over.",
        expr=while_share(EVERYWHERE),
        wait=t.AT_ONCE,
        severity="critical",
        layer="client",
        description="{{ $value }} gateways fail, and no one verdict lasts on them: they come up and fall over again together, "
        f"or one fault follows the other. Those that do: {listing}and no further page is sent for each of them. "
        + a.steps(
            "Look for what they share: an upgrade, a controller or a restart policy that starts them again and again, a login that "
            "fails, the machine's memory.",
            "Look at the Fleet dashboard: the verdicts over time, and whether they change together.",
            "Then take the runbook of the verdict that they have most of the time.",
        ),
        runbook="gateways_down",
        dashboard=a.FLEET_BOARD,
        page="/",
        keep_firing=t.KEEP_FLEET,
    )


def _unless_in_fleet(span: str) -> str:
    """Leaves out the targets that had, most of the span, verdicts of fleets that they were of, paged about as one during it.

    Of any other gateway IbkrDown may be the only alert. One on which it fires already stays.
    """
    classes = []
    for number, (verdicts, fleets) in enumerate(FLEETS_OF.items()):
        if CONNECTABLE.issuperset(verdicts):
            continue
        had = f'sum by ({e.IDENTITY}) (count_over_time({e.VERDICT}{{verdict=~"{"|".join(verdicts)}"}}[{span}]))'
        paged = f"\n       or on ({e.IDENTITY}) ".join(
            f"max_over_time({fleet.member}[{span}]) and on ({fleet.scope}) max_over_time({e.firing(fleet.alert)}[{span}])"
            for fleet in fleets
        )
        counted = f"{had}\n      and on ({e.IDENTITY}) (\n       {paged})"
        classes.append(f'label_replace({counted}, "of", "{number}", "", "")')
    evaluations = "\n     or ".join(classes)
    mostly = f"{e.INFO} and on ({e.IDENTITY}) sum by ({e.IDENTITY}) (\n     {evaluations}\n    ) > {t.MOSTLY.value}"
    return e.unless_expected("IbkrDown", mostly)
