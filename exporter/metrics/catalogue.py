"""The metric catalogue: every name that `/metrics` can show, in the order of the exposition.

A new metric is one row in the table of its module. The reference in docs and the contract tests of rules and dashboards
read this.
"""

from exporter.metrics import clients, context, counters, discovery, download, exporter, session, settings, target

TARGET_FAMILIES = (
    *target.FAMILIES,
    *session.FAMILIES,
    *download.FAMILIES,
    *settings.FAMILIES,
    *clients.FAMILIES,
    *counters.FAMILIES,
    *context.FAMILIES,
)
EXPORTER_FAMILIES = (*clients.INSTALLED, *exporter.FAMILIES, *discovery.FAMILIES)
CATALOGUE = (
    *(family.metric for family in TARGET_FAMILIES),
    *(family.metric for family in EXPORTER_FAMILIES),
)
