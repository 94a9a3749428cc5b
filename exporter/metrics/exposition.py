"""From states to `/metrics`: every line is made anew from the present states at each scrape, none is kept.

With a thousand targets a scrape is some eighty thousand lines, so the text is made here from one template per family
instead of by a client library's sample objects (docs/adr/0003). It comes in chunks, so that whoever sends it can let
others run in between; all chunks are of one moment, because states are frozen.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from exporter.maintenance import Window, names, open_windows
from exporter.metrics import catalogue
from exporter.metrics import clients as client_lines
from exporter.metrics import counters as counter_lines
from exporter.metrics import session as session_lines
from exporter.metrics.catalogue import Metric
from exporter.metrics.text_format import HERE, escaped, filled, header, histogram_template
from exporter.model import Layer, LayerResult, Report, Verdict
from exporter.protocol.launcher_log import LoginPhase
from exporter.state.exporter import ExporterState
from exporter.state.target import (
    CLIENT_BUCKETS,
    CONNECT_BUCKETS,
    HANDSHAKE_BUCKETS,
    LAG_BUCKETS,
    Histogram,
    TargetState,
    claims,
    current_verdict,
)
from exporter.verdict.rules import CONNECTABLE

CHUNK_TARGETS = 250  # a chunk of the widest family takes about a millisecond


class View(NamedTuple):
    """A state as one scrape sees it: `claim` is the report that may speak for the target's health, if any."""

    state: TargetState
    claim: Report | None
    verdict: Verdict
    label: str


Lines = Callable[[View], str]


def exposition(states: Iterable[TargetState], now: float, *, openmetrics: bool = False) -> Iterator[str]:
    """The families of all targets, in chunks. The exporter's own families come from `exporter_exposition`."""
    views: list[View] = []
    for number, state in enumerate(states, 1):
        views.append(View(state, claims(state, now), current_verdict(state, now), escaped(state.target.name)))
        if number % CHUNK_TARGETS == 0:
            yield ""  # nothing to send yet, but others may run
    views.sort(key=lambda view: view.label)
    extra = sorted({name for view in views for name in view.state.target.labels})
    of_moment = {
        catalogue.TARGET_INFO: _target_info(extra),
        catalogue.MAINTENANCE_WINDOW: _windows(now),
        catalogue.CLIENT_SUCCESS: _of_clients(client_lines.success, now),
        catalogue.CLIENT_LAST: _of_clients(client_lines.stages, now),
    }
    for metric in catalogue.BY_TARGET:
        lines = of_moment.get(metric) or LINES[metric]
        yield header(metric, openmetrics=openmetrics)
        for start in range(0, len(views), CHUNK_TARGETS):
            yield "".join(map(lines, views[start : start + CHUNK_TARGETS]))


def exporter_exposition(exporter: ExporterState, *, openmetrics: bool = False) -> Iterator[str]:
    """The families of the exporter itself."""
    build = f'version="{escaped(exporter.version)}",python="{escaped(exporter.python)}"'
    clients = [(escaped(status.client), status) for status in exporter.clients]
    values: tuple[tuple[Metric, str], ...] = (
        (catalogue.CLIENT_INFO, client_lines.info(clients)),
        (catalogue.CLIENT_USABLE, client_lines.usable(clients)),
        (catalogue.BUILD_INFO, f"{catalogue.BUILD_INFO.name}{{{build}}} 1\n"),
        (catalogue.RELOAD_SUCCESS, f"{catalogue.RELOAD_SUCCESS.name} {int(exporter.reload_successful)}\n"),
        (catalogue.RELOAD_TIME, f"{catalogue.RELOAD_TIME.name} {exporter.reloaded_at!r}\n"),
        (catalogue.LAG, filled(LAG_TEMPLATE, exporter.lag)),
        (catalogue.SKIPPED_TICKS, f"{catalogue.SKIPPED_TICKS.name} {exporter.skipped_ticks}\n"),
    )
    for metric, lines in values:
        yield header(metric, openmetrics=openmetrics) + lines


def _of_claim(metric: Metric, value: Callable[[View, Report], object]) -> Lines:
    """A gauge of the target's health: absent as soon as there is no report to claim it, or no value in that."""
    template = f'{metric.name}{{target="%s"}} %s\n'

    def lines(view: View) -> str:
        if view.claim is None:
            return ""
        found = value(view, view.claim)
        return "" if found is None else template % (view.label, found)

    return lines


def _of_state(lines: Callable[[str, TargetState], str]) -> Lines:
    """A family that lasts as long as the target: counters, and what is so at this moment."""
    return lambda view: lines(view.label, view.state)


def _lines_of_claim(lines: Callable[[str, Report], str]) -> Lines:
    """A family of several lines for a target; absent with its claim, as above."""
    return lambda view: "" if view.claim is None else lines(view.label, view.claim)


def _ok(layer: Layer) -> Callable[[View, Report], int]:
    """1 if the layer was reached and passed, 0 if it failed or an outer layer did."""

    def value(_: View, report: Report) -> int:
        result = report.layer(layer)
        return int(result is not None and result.ok)

    return value


def _up(view: View, _: Report) -> int:
    return int(view.verdict in CONNECTABLE)


def _handshake(report: Report) -> LayerResult | None:
    result = report.layer(Layer.HANDSHAKE)
    return result if result is not None and result.ok else None


def _last_duration(_: View, report: Report) -> float | None:
    result = _handshake(report)
    return None if result is None else result.seconds


def _server_version(_: View, report: Report) -> int | None:
    result = report.layer(Layer.HANDSHAKE)
    return None if result is None or result.server is None else result.server.version


def _verdict(view: View) -> str:
    return VERDICT_TEMPLATES[view.verdict].replace(HERE, view.label)


def _verdict_since(view: View) -> str:
    since = None if view.verdict is Verdict.UNKNOWN else view.state.since
    return "" if since is None else f'{catalogue.VERDICT_SINCE.name}{{target="{view.label}"}} {since!r}\n'


def _histogram(metric: Metric, bounds: tuple[float, ...], of: Callable[[TargetState], Histogram]) -> Lines:
    template = histogram_template(metric, bounds, f'target="{HERE}"')
    return lambda view: filled(template.replace(HERE, view.label.replace("%", "%%")), of(view.state))


def _of_clients(lines: Callable[[str, list[tuple[str, LayerResult]]], str], now: float) -> Lines:
    """A family of lines for each client of a target; absent with the target's claim."""

    def of(view: View) -> str:
        if view.claim is None or not view.state.client_probes:
            return ""
        return lines(view.label, [(escaped(r.client or ""), r) for r in client_lines.results(view.state, now)])

    return of


def _client_times(view: View) -> str:
    label = view.label.replace("%", "%%")
    return "".join(
        filled(CLIENT_TEMPLATE.replace(HERE, f'target="{label}",client="{escaped(client).replace("%", "%%")}"'), times)
        for client, times in client_lines.times(view.state)
    )


def _login_phase(view: View) -> str:
    """Of a state that has expired nothing is claimed, neither of the log that was read with it."""
    login = None if view.verdict is Verdict.UNKNOWN else view.state.login
    return "" if login is None else PHASE_TEMPLATES[login.phase].replace(HERE, view.label)


def _windows(now: float) -> Lines:
    """The calendar: targets of one region share their windows, so each set is looked up once."""

    @cache
    def template(windows: tuple[Window, ...]) -> str:
        opened = open_windows(now, windows)
        return "".join(
            f'{catalogue.MAINTENANCE_WINDOW.name}{{target="{HERE}",window="{escaped(name)}"}} {int(name in opened)}\n'
            for name in names(windows)
        )

    return lambda view: template(view.state.target.windows).replace(HERE, view.label)


def _target_info(extra: list[str]) -> Lines:
    """The info line; every target has the labels that any target has, because a family has one set of labels."""

    def lines(view: View) -> str:
        target = view.state.target
        own = {"target": target.name, "host": target.host, "port": str(target.port), "mode": target.mode.value}
        labels = own | {name: target.labels.get(name, "") for name in extra}
        text = ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())
        return f"ibkr_target_info{{{text}}} 1\n"

    return lines


def _verdict_template(present: Verdict) -> str:
    return "".join(
        f'ibkr_verdict{{target="{HERE}",verdict="{verdict}"}} {int(verdict is present)}\n' for verdict in Verdict
    )


PHASE_TEMPLATES = {
    present: "".join(
        f'{catalogue.LOGIN_PHASE.name}{{target="{HERE}",phase="{phase}"}} {int(phase is present)}\n'
        for phase in LoginPhase
    )
    for present in LoginPhase
}
VERDICT_TEMPLATES = {verdict: _verdict_template(verdict) for verdict in Verdict}
CLIENT_TEMPLATE = histogram_template(catalogue.CLIENT_TIMES, CLIENT_BUCKETS, HERE)
LAG_TEMPLATE = histogram_template(catalogue.LAG, LAG_BUCKETS, "")

LINES: Mapping[Metric, Lines] = {
    catalogue.UP: _of_claim(catalogue.UP, _up),
    catalogue.VERDICT: _verdict,
    catalogue.VERDICT_SINCE: _verdict_since,
    catalogue.PORT_OPEN: _of_claim(catalogue.PORT_OPEN, _ok(Layer.PORT)),
    catalogue.CONNECT: _histogram(catalogue.CONNECT, CONNECT_BUCKETS, lambda state: state.connect),
    catalogue.HANDSHAKE_SUCCESS: _of_claim(catalogue.HANDSHAKE_SUCCESS, _ok(Layer.HANDSHAKE)),
    catalogue.HANDSHAKE: _histogram(catalogue.HANDSHAKE, HANDSHAKE_BUCKETS, lambda state: state.handshake),
    catalogue.HANDSHAKE_LAST: _of_claim(catalogue.HANDSHAKE_LAST, _last_duration),
    catalogue.SERVER_VERSION: _of_claim(catalogue.SERVER_VERSION, _server_version),
    catalogue.SESSION_SUCCESS: _of_claim(catalogue.SESSION_SUCCESS, lambda _, report: session_lines.success(report)),
    catalogue.SESSION_STAGE: _lines_of_claim(session_lines.stages),
    catalogue.CLOCK_OFFSET: _of_claim(catalogue.CLOCK_OFFSET, lambda _, report: session_lines.clock_offset(report)),
    catalogue.ACCOUNTS: _of_claim(catalogue.ACCOUNTS, lambda _, report: session_lines.accounts(report)),
    catalogue.ACCOUNT_PRESENT: _of_claim(
        catalogue.ACCOUNT_PRESENT, lambda view, report: session_lines.account_present(view.state, report)
    ),
    catalogue.UPSTREAM: _of_claim(catalogue.UPSTREAM, lambda _, report: session_lines.upstream_connected(report)),
    catalogue.FARM: _lines_of_claim(session_lines.farms),
    catalogue.CONFLICTS: _of_state(session_lines.conflicts),
    catalogue.WATCH_CONNECTED: _of_state(session_lines.watched),
    catalogue.CLIENT_TIMES: _client_times,
    catalogue.PROBES: _of_state(counter_lines.probes),
    catalogue.FAILURES: _of_state(counter_lines.failures),
    catalogue.LAST_PROBE: _of_state(counter_lines.last_probe),
    catalogue.CONNECTIONS: _of_state(counter_lines.connections),
    catalogue.LOGIN_PHASE: _login_phase,
}
