"""The metric of the gateway's own settings, on targets that opted in: numbers and booleans only."""

from collections.abc import Iterator

from exporter.metrics.family import GAUGE, Metric, Sample, View, family, samples_of_view, where


def settings(view: View) -> Iterator[Sample]:
    """Each setting that the gateway mentioned, as a number, or 1 or 0."""
    answer = view.state.settings
    if view.claim is not None and answer is not None and answer.config is not None:
        yield from (((name,), value) for name, value in sorted(answer.config.values.items()))


FAMILIES = (
    family(
        Metric(
            "ibkr_setting",
            GAUGE,
            "A setting of the gateway's API as it told it: a number, or 1 or 0; only on targets that opted in.",
            ("target", "setting"),
        ),
        where(lambda view: view.state.settings is not None, samples_of_view(settings)),
    ),
)
