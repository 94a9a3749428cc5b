"""All alert rules."""

from deploy.rules.alert import Alert
from deploy.rules.down_alerts import down, down_everywhere
from deploy.rules.exporter_alerts import exporter_alerts
from deploy.rules.fleet_alerts import fleet_alerts
from deploy.rules.gateway_alerts import gateway_alerts
from deploy.rules.monitoring_alerts import monitoring_alerts
from deploy.rules.verdict_alerts import verdict_alerts


def alerts() -> tuple[Alert, ...]:
    """Every rule, those about many gateways first: Alertmanager must know of them before it hears of the single ones."""
    return (
        *fleet_alerts(),
        down_everywhere(),
        *verdict_alerts(),
        down(),
        *gateway_alerts(),
        *exporter_alerts(),
        *monitoring_alerts(),
    )
