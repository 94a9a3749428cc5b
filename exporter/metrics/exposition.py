"""From states to `/metrics`: each scrape writes every line from the present states and keeps none.

With a thousand targets a scrape is some eighty thousand lines, so the text is written here family by family instead of
by a client library's sample objects (docs/adr/0003). It comes in chunks, so that a server can let others run in
between; all chunks are of one moment, because states are frozen.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache

from exporter.maintenance import Window, names, open_windows
from exporter.metrics.catalogue import EXPORTER_FAMILIES, TARGET_FAMILIES
from exporter.metrics.family import Kind, Metric, Scrape, View, view_of
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState

CHUNK_TARGETS = 250  # a chunk of the widest family takes about a millisecond


def exposition(states: Iterable[TargetState], now: float, *, openmetrics: bool = False) -> Iterator[str]:
    """Every family of targets, in chunks of whole lines; some are empty."""
    states = list(states)
    scrape = Scrape(now, tuple(sorted({name for state in states for name in state.target.labels})), _window_lookup(now))
    views: list[View] = []
    for number, state in enumerate(states, 1):
        views.append(view_of(state, scrape))
        if number % CHUNK_TARGETS == 0:
            yield ""  # nothing to send yet, but others may run
    views.sort(key=lambda view: view.label)
    for head, lines in _HEADED[openmetrics]:
        yield head
        for start in range(0, len(views), CHUNK_TARGETS):
            yield "".join(map(lines, views[start : start + CHUNK_TARGETS]))


def exposition_of(state: TargetState, now: float, *, openmetrics: bool = False) -> str:
    """Every family of one target."""
    scrape = Scrape(now, tuple(sorted(state.target.labels)), _window_lookup(now))
    view = view_of(state, scrape)
    return "".join([head + lines(view) for head, lines in _HEADED[openmetrics]])


def exporter_exposition(exporter: ExporterState, *, openmetrics: bool = False) -> Iterator[str]:
    """The families of the exporter itself."""
    for metric, lines in EXPORTER_FAMILIES:
        yield header(metric, openmetrics=openmetrics) + lines(exporter)


def header(metric: Metric, *, openmetrics: bool) -> str:
    """HELP and TYPE. OpenMetrics names a counter's family without the `_total` of its samples."""
    name = metric.name.removesuffix("_total") if openmetrics and metric.kind is Kind.COUNTER else metric.name
    return f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind.value}\n"


_HEADED = {
    openmetrics: tuple((header(metric, openmetrics=openmetrics), lines) for metric, lines in TARGET_FAMILIES)
    for openmetrics in (False, True)
}


def _window_lookup(now: float) -> Callable[[tuple[Window, ...]], tuple[tuple[str, bool], ...]]:
    """Targets share their windows, one by one or all of them, so each is looked up once.

    A set is known by its identity, which is quicker than to compare windows; the states of the scrape keep it alive.
    """
    known: dict[int, tuple[tuple[str, bool], ...]] = {}

    @cache
    def is_open(window: Window) -> bool:
        return bool(open_windows(now, (window,)))

    def states(windows: tuple[Window, ...]) -> tuple[tuple[str, bool], ...]:
        found = known.get(id(windows))
        if found is None:
            opened = {window.name for window in windows if is_open(window)}
            found = known[id(windows)] = tuple((name, name in opened) for name in names(windows))
        return found

    return states
