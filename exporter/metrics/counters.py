"""The metrics that count what was probed of a target, and how it ended. Nothing here ever expires."""

from collections.abc import Iterable, Iterator, Mapping

from exporter.metrics.family import (
    COUNTER,
    GAUGE,
    Lines,
    Metric,
    Sample,
    View,
    around_target,
    family,
    of_members,
    of_view,
    samples_of_view,
)
from exporter.model import Layer, Outcome, Target

# The failures that each layer often ends in (the session where client ids are reserved): shown as zero from the start,
# so that rate() sees the first one. A client's rarer ones are not: with three libraries they would be nine series more.
POSSIBLE_FAILURES = {
    Layer.PORT: (Outcome.REFUSED, Outcome.TIMEOUT, Outcome.UNAVAILABLE),
    Layer.HANDSHAKE: (Outcome.TIMEOUT, Outcome.CLOSED, Outcome.GARBLED, Outcome.REJECTED),
    Layer.SESSION: (Outcome.TIMEOUT, Outcome.CLOSED, Outcome.GARBLED, Outcome.REJECTED),
    Layer.DOWNLOAD: (Outcome.TIMEOUT, Outcome.CLOSED),
    Layer.CLIENT: (Outcome.TIMEOUT, Outcome.CLOSED, Outcome.REJECTED, Outcome.CRASHED),
}
WITHOUT_SESSION: tuple[Layer, ...] = (Layer.PORT, Layer.HANDSHAKE)
WITH_SESSION = (*WITHOUT_SESSION, Layer.SESSION)
WITH_DOWNLOAD = (*WITH_SESSION, Layer.DOWNLOAD)
NOT_YET = {layers: {(layer, ""): 0 for layer in layers} for layers in (WITHOUT_SESSION, WITH_SESSION, WITH_DOWNLOAD)}


def probes(view: View) -> Iterable[Sample]:
    """How often each layer and each client was probed; 0 before the first."""
    target, done = view.state.target, view.state.probes
    expected = NOT_YET[_wire_layers(target)]
    if not target.clients and done.keys() >= expected.keys():  # most targets
        return done.items()
    return {**expected, **{(Layer.CLIENT, client): 0 for client in target.clients}, **done}.items()


def failures(metric: Metric) -> Lines:
    """How often each ended in each outcome that is possible; 0 before the first."""
    every = samples_of_view(_failures)(metric)
    none: Mapping[tuple[Layer, ...], list[str]] = {
        layers: around_target(metric, ((key, 0) for key in _possible(layers)))
        for layers in (WITHOUT_SESSION, WITH_SESSION, WITH_DOWNLOAD)
    }

    def lines(view: View) -> str:
        if view.state.failed or view.state.target.clients:
            return every(view)
        return view.label.join(none[_wire_layers(view.state.target)])  # most targets: their lines differ by the name

    return lines


def last_probe(view: View) -> Iterable[tuple[Layer, float]]:
    """When each layer was last probed."""
    latest: dict[Layer, float] = {}
    for (layer, _), at in view.state.probed_at.items():
        if at > latest.get(layer, 0.0):
            latest[layer] = at
    return latest.items()


def _failures(view: View) -> Iterable[Sample]:
    target = view.state.target
    clients = (
        (Layer.CLIENT, client, outcome) for client in target.clients for outcome in POSSIBLE_FAILURES[Layer.CLIENT]
    )
    return (dict.fromkeys((*_possible(_wire_layers(target)), *clients), 0) | dict(view.state.failed)).items()


def _wire_layers(target: Target) -> tuple[Layer, ...]:
    if target.probe_ids and target.download:
        return WITH_DOWNLOAD
    return WITH_SESSION if target.probe_ids else WITHOUT_SESSION


def _possible(layers: tuple[Layer, ...]) -> Iterator[tuple[Layer, str, Outcome]]:
    return ((layer, "", outcome) for layer in layers for outcome in POSSIBLE_FAILURES[layer])


FAMILIES = (
    family(
        Metric("ibkr_probes_total", COUNTER, "Probes done.", ("target", "layer", "client")),
        samples_of_view(probes),
    ),
    family(
        Metric(
            "ibkr_probe_failures_total",
            COUNTER,
            "Probes that did not end with outcome ok.",
            ("target", "layer", "client", "outcome"),
        ),
        failures,
    ),
    family(
        Metric(
            "ibkr_last_probe_timestamp_seconds",
            GAUGE,
            "When the layer was last probed, in unix time.",
            ("target", "layer"),
        ),
        of_members(Layer, last_probe),
    ),
    family(
        Metric(
            "ibkr_connections_opened_total",
            COUNTER,
            "TCP connections that the exporter and the client libraries opened to the gateway; refused attempts count.",
        ),
        of_view(lambda view: view.state.connections),
    ),
)
