"""The metrics of the account download, on targets that opted in: seconds and outcomes, no contents."""

from collections.abc import Iterator

from exporter.metrics.family import GAUGE, Metric, Sample, View, family, of_view, samples_of_view, where
from exporter.model import LayerResult, Outcome


def opted_in(view: View) -> bool:
    """A download of the target was probed."""
    return view.state.download is not None


def success(view: View) -> int | None:
    """1 if every request was answered to its end; None where the last probe says nothing."""
    result = _result(view)
    return None if result is None else int(result.ok)


def durations(view: View) -> Iterator[Sample]:
    """The seconds of each request that had an end."""
    result = _result(view)
    for request in result.requests if result else ():
        if request.seconds is not None:
            yield (request.stage,), request.seconds


def _result(view: View) -> LayerResult | None:
    probe = view.state.download
    if view.claim is None or probe is None or view.scrape.now > probe.expires:
        return None
    return None if probe.result.outcome is Outcome.UNAVAILABLE else probe.result


FAMILIES = (
    family(
        Metric(
            "ibkr_download_success",
            GAUGE,
            "1 if every request of the account download was answered to its end; only on targets that opted in.",
        ),
        where(opted_in, of_view(success)),
    ),
    family(
        Metric(
            "ibkr_download_duration_seconds",
            GAUGE,
            "Requests of the last account download that had an end: from the request to that.",
            ("target", "request"),
        ),
        where(opted_in, samples_of_view(durations)),
    ),
)
