"""The lines of `/metrics` that tell of clients: for each target how they got through, and what they are.

A client that was not tried, or not for a reason of its own, has no success and no times. No account, no text here.
"""

from collections.abc import Iterable, Iterator

from exporter.metrics import catalogue
from exporter.metrics.text_format import escaped
from exporter.model import LayerResult
from exporter.state.target import CLIENT_BUCKETS, Histogram, TargetState
from exporter.verdict.client_blame import ClientStatus, is_conclusive


def results(state: TargetState, now: float) -> list[LayerResult]:
    """What the last report holds of the clients, as far as it is not too old."""
    if not state.client_probes or state.last is None:
        return []
    held = {name for name, trial in state.client_probes.items() if now <= trial.expires}
    return [result for result in state.last.results if result.client in held and is_conclusive(result)]


def success(label: str, found: Iterable[tuple[str, LayerResult]]) -> str:
    """1 for each client that got through, 0 for each that did not. Names are escaped already."""
    return "".join(
        f'{catalogue.CLIENT_SUCCESS.name}{{target="{label}",client="{client}"}} {int(result.ok)}\n'
        for client, result in found
    )


def stages(label: str, found: Iterable[tuple[str, LayerResult]]) -> str:
    """How long each stage took that was reached."""
    return "".join(
        f'{catalogue.CLIENT_LAST.name}{{target="{label}",client="{client}",stage="{stage}"}} {seconds!r}\n'
        for client, result in found
        for stage, seconds in result.stages
    )


def times(state: TargetState) -> Iterator[tuple[str, Histogram]]:
    """The histogram of each client that is configured, empty before its first success."""
    for client in state.target.clients:
        yield client, state.client_times.get(client) or Histogram.empty(CLIENT_BUCKETS)


def info(statuses: Iterable[tuple[str, ClientStatus]]) -> str:
    """What is being tested; only of clients that import. A foreign interpreter may say any version."""
    name = catalogue.CLIENT_INFO.name
    return "".join(
        f'{name}{{client="{client}",library="{it.installed.library}",version="{escaped(it.installed.version)}",'
        f'python="{escaped(it.installed.python)}"}} 1\n'
        for client, it in statuses
        if it.installed is not None
    )


def usable(statuses: Iterable[tuple[str, ClientStatus]]) -> str:
    """1 for a client that imports, 0 for one that does not."""
    return "".join(
        f'{catalogue.CLIENT_USABLE.name}{{client="{client}"}} {int(it.installed is not None)}\n'
        for client, it in statuses
    )
