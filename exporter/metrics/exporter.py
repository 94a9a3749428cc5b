"""The metrics of the exporter itself."""

from exporter.metrics.family import COUNTER, GAUGE, HISTOGRAM, Family, Metric, of_exporter
from exporter.metrics.text_format import histogram_lines
from exporter.state.exporter import ExporterState
from exporter.state.histogram import LAG_BUCKETS

LAG = Metric(
    "ibkr_exporter_probe_lag_seconds", HISTOGRAM, "How late ticks started: the exporter's own load, no target's.", ()
)
LAG_LINES = histogram_lines(LAG.name, LAG_BUCKETS)

FAMILIES: tuple[Family[ExporterState], ...] = (
    of_exporter(
        Metric(
            "ibkr_exporter_build_info", GAUGE, "Always 1: the exporter's version and its Python.", ("version", "python")
        ),
        lambda exporter: [((exporter.version, exporter.python), 1)],
    ),
    of_exporter(
        Metric(
            "ibkr_exporter_web_info",
            GAUGE,
            "Always 1: where browsers reach the exporter's pages (`web.external_url`), for the links of alerts.",
            ("external_url",),
        ),
        lambda exporter: [((exporter.external_url,), 1)] if exporter.external_url else [],
    ),
    of_exporter(
        Metric(
            "ibkr_exporter_config_last_reload_successful",
            GAUGE,
            "1 if the last (re)load of the configuration worked.",
            (),
        ),
        lambda exporter: [((), int(exporter.reload_successful))],
    ),
    of_exporter(
        Metric(
            "ibkr_exporter_config_last_reload_success_timestamp_seconds",
            GAUGE,
            "When the configuration was last loaded with success, in unix time.",
            (),
        ),
        lambda exporter: [((), exporter.reloaded_at)],
    ),
    Family(LAG, lambda exporter: LAG_LINES("", exporter.lag)),
    of_exporter(
        Metric(
            "ibkr_exporter_ticks_skipped_total",
            COUNTER,
            "Ticks that were skipped because the probe before overran.",
            (),
        ),
        lambda exporter: [((), exporter.skipped_ticks)],
    ),
)
