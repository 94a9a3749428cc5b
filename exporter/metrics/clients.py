"""The metrics of client libraries: for each target how each got through, and what each client is.

A client that was not tried, or was skipped because the wire failed, has no success and no times.
"""

from collections.abc import Iterator

from exporter.metrics.family import (
    GAUGE,
    HISTOGRAM,
    Build,
    Lines,
    Metric,
    Sample,
    View,
    family,
    of_exporter,
    samples_of_view,
    where,
)
from exporter.metrics.text_format import escaped, histogram_lines
from exporter.model import LayerResult
from exporter.state.exporter import ExporterState
from exporter.state.histogram import CLIENT_BUCKETS, Histogram
from exporter.verdict.client_blame import is_conclusive


def configured(view: View) -> bool:
    """The target has clients."""
    return bool(view.state.target.clients)


def probed(view: View) -> bool:
    """A client of the target was probed, and its result may be shown."""
    return view.claim is not None and bool(view.state.client_probes)


def results(view: View) -> Iterator[tuple[str, LayerResult]]:
    """The results of the clients in the report, each with its client's name; those that have expired are not in it."""
    if view.claim is None:
        return
    probes = view.state.client_probes
    for result in view.claim.results:
        probe = probes.get(result.client or "")
        if probe is not None and view.scrape.now <= probe.expires and is_conclusive(result):
            yield result.client or "", result


def success(view: View) -> Iterator[Sample]:
    """1 for each client that got through, 0 for each that did not."""
    yield from (((client,), int(result.ok)) for client, result in results(view))


def suspended(view: View) -> Iterator[Sample]:
    """1 for each client that rests or is suspended on the target, 0 for each other."""
    counts = view.state.falls.by_client
    yield from (((client,), int(counts.get(client, 0) > 0)) for client in view.state.target.clients)


def stages(view: View) -> Iterator[Sample]:
    """How long each stage took that was reached."""
    yield from (((client, stage), seconds) for client, result in results(view) for stage, seconds in result.stages)


def times() -> Build:
    """The histogram of each client that is configured, empty before its first success."""

    def build(metric: Metric) -> Lines:
        write, empty = histogram_lines(metric.name, CLIENT_BUCKETS), Histogram.empty(CLIENT_BUCKETS)

        def lines(view: View) -> str:
            kept = view.state.client_times
            return "".join(
                write(f'target="{view.label}",client="{escaped(client)}"', kept.get(client, empty))
                for client in view.state.target.clients
            )

        return lines

    return build


def info(exporter: ExporterState) -> Iterator[Sample]:
    """What is being tested; only of clients that import."""
    for status in exporter.clients:
        if status.installed is not None:
            yield (status.client, status.installed.library, status.installed.version, status.installed.python), 1


def usable(exporter: ExporterState) -> Iterator[Sample]:
    """1 for a client that imports, 0 for one that does not or is not installed."""
    yield from (((status.client,), int(status.installed is not None)) for status in exporter.clients)
    named = {status.client for status in exporter.clients}
    yield from (((library,), 0) for library in exporter.not_installed if library not in named)


FAMILIES = (
    family(
        Metric(
            "ibkr_client_success",
            GAUGE,
            "1 if the client library connected and was answered, 0 if it failed; the verdict tells if it is at fault.",
            ("target", "client"),
        ),
        where(probed, samples_of_view(success)),
    ),
    family(
        Metric(
            "ibkr_client_suspended",
            GAUGE,
            "1 while the client is kept away from the target, because the gateway stopped answering when it connected.",
            ("target", "client"),
        ),
        where(configured, samples_of_view(suspended)),
    ),
    family(
        Metric(
            "ibkr_client_last_duration_seconds",
            GAUGE,
            "Each stage of the last try, from the stage before it, measured inside the library's own process.",
            ("target", "client", "stage"),
        ),
        where(probed, samples_of_view(stages)),
    ),
    family(
        Metric(
            "ibkr_client_duration_seconds",
            HISTOGRAM,
            "The whole of the tries that succeeded, without the import.",
            ("target", "client"),
        ),
        where(configured, times()),
    ),
)
INSTALLED = (
    of_exporter(
        Metric(
            "ibkr_client_info",
            GAUGE,
            "Always 1: the library that a client is, and its Python.",
            ("client", "library", "version", "python"),
        ),
        info,
    ),
    of_exporter(
        Metric(
            "ibkr_client_usable",
            GAUGE,
            "1 if the client's interpreter starts and the library imports, 0 if not, or if it is not installed.",
            ("client",),
        ),
        usable,
    ),
)
