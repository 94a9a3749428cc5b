"""The metrics of the sources of discovered targets, named after Prometheus's own of its service discovery."""

from collections.abc import Callable

from exporter.metrics.family import COUNTER, GAUGE, HISTOGRAM, Family, Kind, Metric, Sample, of_exporter
from exporter.metrics.text_format import escaped, histogram_lines
from exporter.state.discovery import REFRESH_BUCKETS, SourceState
from exporter.state.exporter import ExporterState

LABELS = ("mechanism", "config")
DURATION = Metric(
    "ibkr_sd_refresh_duration_seconds", HISTOGRAM, "How long the refreshes of a source of targets took.", LABELS
)
DURATION_LINES = histogram_lines(DURATION.name, REFRESH_BUCKETS)


def _family(name: str, kind: Kind, text: str, value: Callable[[SourceState], float | None]) -> Family[ExporterState]:
    def samples(exporter: ExporterState) -> list[Sample]:
        values = [((source.mechanism, source.config), value(source)) for source in exporter.sources]
        return [(labels, number) for labels, number in values if number is not None]

    return of_exporter(Metric(name, kind, text, LABELS), samples)


def _durations(exporter: ExporterState) -> str:
    return "".join(
        DURATION_LINES(f'mechanism="{source.mechanism}",config="{escaped(source.config)}"', source.durations)
        for source in exporter.sources
    )


FAMILIES: tuple[Family[ExporterState], ...] = (
    _family(
        "ibkr_sd_discovered_targets",
        GAUGE,
        "Targets of the last good list of a source: a file_sd or http_sd of the configuration.",
        lambda source: source.targets,
    ),
    _family(
        "ibkr_sd_rejected_targets",
        GAUGE,
        "Targets of the last good list that are left out, because of a fault or because another has their name.",
        lambda source: source.rejected,
    ),
    _family(
        "ibkr_sd_last_refresh_successful",
        GAUGE,
        "1 if the last refresh of the source gave a good list; else the last good list is used.",
        lambda source: int(source.successful) if source.refreshes else None,
    ),
    _family(
        "ibkr_sd_last_refresh_success_timestamp_seconds",
        GAUGE,
        "When a refresh of the source last gave a good list, in unix time.",
        lambda source: source.succeeded_at,
    ),
    _family(
        "ibkr_sd_refresh_failures_total",
        COUNTER,
        "Refreshes of the source that failed, at least of a part.",
        lambda source: source.failures,
    ),
    Family(DURATION, _durations),
)
