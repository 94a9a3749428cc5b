"""The HTTP routes: each a function of the present states.

Only `/probe` starts a probe, and only `/-/reload` changes anything. Long answers are made in pieces; other tasks run in
between, so that no scrape and no page delays a probe.
"""

import asyncio
import math
import platform
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache

from aiohttp import HttpVersion10, hdrs, web
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from exporter.config import Config, ConfigError, parse_endpoint, target_for_endpoint, used_client_ids
from exporter.config.addresses import connected_address, is_allowed
from exporter.metrics.exposition import exporter_exposition, exposition, exposition_of
from exporter.model import Report, Target
from exporter.service.service import Service
from exporter.service.supervision import Reload
from exporter.state.claims import explanation
from exporter.state.target import TargetState, cut_short, fold
from exporter.verdict.rules import is_connectable, judge
from exporter.web import pages
from exporter.web.http_protocol import harden
from exporter.web.streaming import respond

ANSWERING = 0.5  # seconds of a scrape's timeout kept for the answer itself, as blackbox_exporter does
GRACE = 0.25  # of these, the seconds in which a probe closes its connection

REFRESH, REFRESH_LARGE = 10, 30  # seconds until the status page loads again; the longer leaves time to fill in its form
SMALL_FLEET = 20  # targets

SCRAPE_TIMEOUT = "X-Prometheus-Scrape-Timeout-Seconds"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(service: Service, reload: Reload, present: Callable[[], Config], prefix: str = "") -> web.Application:
    """Every route, below `prefix`. `present` gives the configuration that is in force."""
    routes = Routes(service, reload, present)
    app = web.Application(middlewares=[_hardened])
    app.add_routes(
        [
            web.get(f"{prefix}/metrics", routes.metrics),
            web.get(f"{prefix}/", routes.status_page),
            web.get(f"{prefix}/targets/{{name}}", routes.target_page),
            web.get(f"{prefix}/runbooks", routes.runbooks),
            web.get(f"{prefix}/runbooks/{{name}}", routes.runbook),
            web.get(f"{prefix}/static/{{name}}", routes.static),
            web.get(f"{prefix}/api/v1/status", routes.status),
            web.get(f"{prefix}/probe", routes.probe),
            web.get(f"{prefix}/-/healthy", routes.healthy),
            web.get(f"{prefix}/-/ready", routes.healthy),
            web.post(f"{prefix}/-/reload", routes.reload),
        ]
    )
    if prefix:
        app.add_routes([web.get("/", _redirect(f"{prefix[1:]}/"))])
        app.add_routes([web.get(prefix, _redirect(f"{prefix.rpartition('/')[2]}/"))])
    return app


class Routes:
    """One method a route."""

    def __init__(self, service: Service, reload: Reload, present: Callable[[], Config]) -> None:
        self._service = service
        self._reload = reload
        self._present = present
        self._registry = CollectorRegistry()  # of this process, never the library's global one
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        system = platform.platform(terse=True)
        self._about = f"ibkr-exporter {service.exporter.version}, Python {service.exporter.python}, {system}"

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Every family of every target, in the format that the scraper asks for."""
        encoder, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        openmetrics = _is_openmetrics(content_type)
        states, now = list(self._service.states.values()), time.time()
        process = encoder(self._registry).decode().removesuffix("# EOF\n")

        def chunks() -> Iterator[str]:
            yield from exposition(states, now, openmetrics=openmetrics)
            yield from exporter_exposition(self._service.exporter, openmetrics=openmetrics)
            yield process
            if openmetrics:
                yield "# EOF\n"

        return await respond(request, chunks(), content_type)

    async def status_page(self, request: web.Request) -> web.StreamResponse:
        """Every target, worst first."""
        selection = pages.parse_selection(request.query)
        states = list(self._service.states.values())
        refresh = (REFRESH if len(states) <= SMALL_FLEET else REFRESH_LARGE) if selection.refresh else None
        exporter = self._service.exporter
        chunks = pages.status_chunks(states, time.time(), exporter, selection=selection, refresh=refresh)
        response = await respond(request, chunks, "text/html; charset=utf-8")
        if refresh is not None:
            response.headers["Refresh"] = str(refresh)
        return response

    async def target_page(self, request: web.Request) -> web.StreamResponse:
        """One target in full."""
        state = self._service.states.get(request.match_info["name"])
        if state is None:
            return _missing("No such target", f"No target is named {request.match_info['name']} in the configuration.")
        return await respond(request, pages.target_chunks(state, time.time(), self._about), "text/html; charset=utf-8")

    async def runbooks(self, request: web.Request) -> web.StreamResponse:
        """The list of runbooks."""
        return await respond(request, iter([pages.render_runbooks()]), "text/html; charset=utf-8")

    async def runbook(self, request: web.Request) -> web.StreamResponse:
        """The runbook of one verdict, or of an alert that is about none."""
        try:
            runbook = pages.render_runbook(request.match_info["name"])
        except KeyError:
            return _missing("No such runbook", "The runbooks are named after the verdicts; /runbooks lists them.")
        return await respond(request, iter([runbook]), "text/html; charset=utf-8")

    async def static(self, request: web.Request) -> web.StreamResponse:
        """The style sheet and its like; only names that the package itself holds."""
        try:
            body, content_type = pages.static(request.match_info["name"])
        except KeyError:
            return _missing("No such file", "There is no such file.")
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type, hdrs.CACHE_CONTROL: "max-age=3600"})

    async def status(self, request: web.Request) -> web.StreamResponse:
        """The page's content as JSON."""
        chunks = pages.status_text(list(self._service.states.values()), time.time(), self._service.exporter.sources)
        return await respond(request, chunks, "application/json; charset=utf-8")

    async def healthy(self, _: web.Request) -> web.StreamResponse:
        """The process serves; it does so only once its configuration is in force."""
        return web.Response(text="OK\n")

    async def reload(self, request: web.Request) -> web.StreamResponse:
        """Read the configuration again; a bad one changes nothing."""
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return web.Response(status=403, text="a reload is not for other sites' pages to ask for\n")
        problems = await self._reload()
        if problems:
            return web.Response(status=422, text="the running configuration is kept:\n" + "\n".join(problems) + "\n")
        return web.Response(text="reloaded\n")

    async def probe(self, request: web.Request) -> web.StreamResponse:
        """Probe one target now, in the multi-target exporter manner."""
        try:
            target, limit = self._requested(request)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        try:
            async with asyncio.timeout(limit + GRACE):
                report = await self._service.probe(target, limit)
        except TimeoutError:  # not ours, which ends by its own limit: another was under way and takes longer
            return web.Response(status=503, text=f"another probe of {target.name!r} is under way; ask again\n")
        kept = self._service.states.get(target.name)
        if kept is not None and kept.target is target:
            hurried = cut_short(report, target.deadline)
            state = self._service.record_partial(report) if hurried else self._service.record(report)
        else:
            state = fold(TargetState(target), report, judge(report, target))
        if request.query.get("debug") == "true":
            return web.Response(text=_debug(state, report))
        content_type = _content_type(request.headers.get(hdrs.ACCEPT, ""))
        body = _probe_text(state, report, openmetrics=_is_openmetrics(content_type)).encode()
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept"})

    def _requested(self, request: web.Request) -> tuple[Target, float]:
        """The target that `/probe` names, and the seconds it may take. Raises ValueError."""
        name = request.query.get("target", "")
        if not name:
            msg = "which target? Ask for /probe?target=NAME or /probe?target=HOST:PORT"
            raise ValueError(msg)
        state = self._service.states.get(name)
        target = self._unconfigured(name) if state is None else state.target
        header = request.headers.get(SCRAPE_TIMEOUT)
        try:
            timeout = math.inf if header is None else float(header)
        except ValueError:
            timeout = math.nan
        if not timeout > ANSWERING:
            msg = f"{SCRAPE_TIMEOUT}: must be a number of seconds above {ANSWERING}, not {header!r}"
            raise ValueError(msg)
        return target, min(target.deadline, timeout - ANSWERING)

    def _unconfigured(self, endpoint: str) -> Target:
        """A target by its address, if the allow list covers it. Never by a name: what it resolves to may change."""
        try:
            host, port = parse_endpoint(endpoint)
            config, address = self._present(), connected_address(host)
            if is_allowed(address, config.probe_allow):
                # in its canonical form: two forms of one address would be two targets, probed at the same time
                return target_for_endpoint(str(address), port, config.defaults, used_client_ids(config))
        except (ConfigError, ValueError):
            pass  # no address at all: refused like one that is not allowed
        msg = (
            f"{endpoint!r}: not a configured target, and no address in a network of probe.allow. "
            "Add it to the targets, or its network to probe.allow, and ask for it by IP address"
        )
        raise ValueError(msg)


def _is_openmetrics(content_type: str) -> bool:
    return content_type.startswith("application/openmetrics-text")


@lru_cache(maxsize=64)
def _content_type(accept: str) -> str:
    """The text format that a scraper asks for; there are as many headers as kinds of scraper."""
    return str(choose_encoder(accept)[1])


def _probe_text(state: TargetState, report: Report, *, openmetrics: bool = False) -> str:
    """The metrics of one probe. They are sent as they are: to compress so few takes longer than to send them."""
    end = "# EOF\n" if openmetrics else ""
    return (
        "# HELP probe_success 1 if a trading program could connect now.\n# TYPE probe_success gauge\n"
        f"probe_success {int(is_connectable(state.verdict, state.last))}\n"
        "# HELP probe_duration_seconds How long the probe took.\n# TYPE probe_duration_seconds gauge\n"
        f"probe_duration_seconds {report.seconds!r}\n"
        f"{exposition_of(state, report.at, openmetrics=openmetrics)}{end}"
    )


def _debug(state: TargetState, report: Report) -> str:
    """The debug output as in blackbox_exporter: the log of the probe, then its metrics."""
    explained = explanation(state, report)
    lines = [f"{state.target.name} at {state.target.endpoint}: {state.verdict}", explained.headline, "", "Evidence:"]
    lines += [f"  {line}" for line in explained.evidence]
    lines += ["", "Required actions:"]
    lines += [f"  {number}. {line}" for number, line in enumerate(explained.actions, 1)]
    return "\n".join([*lines, "", "Metrics:", _probe_text(state, report)])


def _redirect(location: str) -> Handler:
    """Lead to a relative reference: right behind every proxy, and never made from the request's Host header."""

    async def redirect(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={hdrs.LOCATION: location})

    return redirect


def _missing(title: str, message: str) -> web.Response:
    return web.Response(status=404, text=pages.render_error(404, title, message), content_type="text/html")


@web.middleware
async def _hardened(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request) if request.version >= HttpVersion10 else web.Response(status=505)
    except web.HTTPException as error:
        response = web.Response(status=error.status, text=f"{error.status} {error.reason}\n", headers=_allow(error))
    harden(response)
    return response


def _allow(error: web.HTTPException) -> dict[str, str]:
    return {hdrs.ALLOW: error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else {}
