"""The lines of `/metrics` that count what was probed of a target, and what came of it. Nothing here ever expires."""

from collections.abc import Iterable, Iterator, Mapping

from exporter.metrics import catalogue
from exporter.metrics.text_format import HERE, escaped
from exporter.model import Layer, Outcome, Target
from exporter.state.target import TargetState

# The failures each layer can end in (the session where client ids are reserved): shown as zero from the start, so that
# rate() sees the first one.
POSSIBLE_FAILURES = {
    Layer.PORT: (Outcome.REFUSED, Outcome.TIMEOUT, Outcome.UNAVAILABLE),
    Layer.HANDSHAKE: (Outcome.TIMEOUT, Outcome.CLOSED, Outcome.GARBLED, Outcome.REJECTED),
    Layer.SESSION: (Outcome.TIMEOUT, Outcome.CLOSED, Outcome.GARBLED, Outcome.REJECTED),
    Layer.CLIENT: (
        Outcome.REFUSED,
        Outcome.TIMEOUT,
        Outcome.CLOSED,
        Outcome.GARBLED,
        Outcome.REJECTED,
        Outcome.CRASHED,
        Outcome.UNAVAILABLE,
    ),
}


def probes(label: str, state: TargetState) -> str:
    """How often each layer and each client was probed; of what was not yet, 0."""
    target = state.target
    done = {(layer, ""): 0 for layer in _wire_layers(target)} | {(Layer.CLIENT, client): 0 for client in target.clients}
    done |= state.probes
    return "".join(
        f'{catalogue.PROBES.name}{{target="{label}",layer="{layer}",client="{escaped(client)}"}} {count}\n'
        for (layer, client), count in done.items()
    )


def failures(label: str, state: TargetState) -> str:
    """How these failed; of each way that is possible, 0 before the first."""
    layers, clients = _wire_layers(state.target), state.target.clients
    if not state.failed and not clients:
        return NO_FAILURES[layers].replace(HERE, label)
    failed = dict.fromkeys((*_possible(layers), *_possible_of(clients)), 0) | dict(state.failed)
    return "".join(
        f'{catalogue.FAILURES.name}{{target="{label}",layer="{layer}",client="{escaped(client)}",'
        f'outcome="{outcome}"}} {count}\n'
        for (layer, client, outcome), count in failed.items()
    )


def last_probe(label: str, state: TargetState) -> str:
    """When each layer was last probed."""
    latest: dict[Layer, float] = {}
    for (layer, _), at in state.probed_at.items():
        latest[layer] = max(at, latest.get(layer, 0.0))
    return "".join(
        f'{catalogue.LAST_PROBE.name}{{target="{label}",layer="{layer}"}} {at!r}\n' for layer, at in latest.items()
    )


def connections(label: str, state: TargetState) -> str:
    """How many TCP connections were opened to the gateway."""
    return f'{catalogue.CONNECTIONS.name}{{target="{label}"}} {state.connections}\n'


def _wire_layers(target: Target) -> tuple[Layer, ...]:
    return WITH_SESSION if target.probe_ids else WITHOUT_SESSION


def _possible(layers: tuple[Layer, ...]) -> list[tuple[Layer, str, Outcome]]:
    return [(layer, "", outcome) for layer in layers for outcome in POSSIBLE_FAILURES[layer]]


def _possible_of(clients: Iterable[str]) -> Iterator[tuple[Layer, str, Outcome]]:
    return ((Layer.CLIENT, client, outcome) for client in clients for outcome in POSSIBLE_FAILURES[Layer.CLIENT])


def _no_failures(layers: tuple[Layer, ...]) -> str:
    return "".join(
        f'{catalogue.FAILURES.name}{{target="{HERE}",layer="{layer}",client="",outcome="{outcome}"}} 0\n'
        for layer, _, outcome in _possible(layers)
    )


WITHOUT_SESSION: tuple[Layer, ...] = (Layer.PORT, Layer.HANDSHAKE)
WITH_SESSION = (*WITHOUT_SESSION, Layer.SESSION)
NO_FAILURES: Mapping[tuple[Layer, ...], str] = {
    layers: _no_failures(layers) for layers in (WITHOUT_SESSION, WITH_SESSION)
}
