"""The running process: the service and its HTTP server together, from the first listen to an orderly end."""

import asyncio
import contextlib
import gc
import os
import platform
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web

from exporter import __version__
from exporter.config import Config, Listen
from exporter.service.open_files import budget, raise_limit, warn_if_scarce
from exporter.service.reload import POLL, Load, Reloader
from exporter.service.service import Service
from exporter.service.supervision import Reload, reporting, supervised
from exporter.signals import ending_signals, hang_up_ignored
from exporter.state.exporter import ExporterState
from exporter.systemd import Notifier
from exporter.web import pages
from exporter.web.accept import accepting
from exporter.web.app import application
from exporter.web.connection_limit import ConnectionLimiter, limit_middleware
from exporter.web.http_protocol import HttpProtocol
from exporter.web.listen import ADVICE, listening_sockets, open_sockets, url_of
from exporter.web.web_config import WebConfig

SWITCH = 0.0005  # seconds that a thread may hold the interpreter while the event loop waits
COLLECT_AFTER = 50_000  # objects; a collection then is rare and takes about a millisecond
SHUTDOWN = 2.0  # seconds for answers under way when the process ends


async def serve(config: Config, load: Load | None, announce: Callable[[str], None], advice: str = ADVICE) -> None:
    """Watch and answer until SIGINT or SIGTERM; SIGHUP reads the configuration again by `load`.

    An ignored SIGINT stays ignored. Without `load` SIGHUP ends it too, unless the caller ignores it. `announce` gets
    the URL once there is one. Raises ListenError, which gives the `advice` where the port is taken.
    """
    loop, ended, hung_up = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows ends by KeyboardInterrupt and has no SIGHUP
        for number in ending_signals():
            loop.add_signal_handler(number, ended.set)
        if load is not None or not hang_up_ignored():
            loop.add_signal_handler(signal.SIGHUP, (ended if load is None else hung_up).set)
    notifier = Notifier(os.environ)
    async with running(config, load or (lambda: config), advice, notifier=notifier) as (url, reload):
        reloads = loop.create_task(_reload_at(hung_up, reload))
        try:
            announce(url)
            await ended.wait()
        finally:
            reloads.cancel()
            await asyncio.gather(reloads, return_exceptions=True)


def check_listen(address: Listen, advice: str = ADVICE) -> None:
    """Raise ListenError if the address cannot be opened now."""
    for listening in listening_sockets((address,), advice):
        listening.close()


async def _reload_at(hung_up: asyncio.Event, reload: Reload) -> None:
    """Reload once for each hang-up; for several that came meanwhile, once."""
    while True:
        await hung_up.wait()
        hung_up.clear()
        try:
            await reload()
        except Exception:  # noqa: BLE001 - ours; the next hang-up is to be obeyed all the same
            structlog.get_logger(__name__).exception("reload failed")


@asynccontextmanager
async def running(
    config: Config, load: Load, advice: str = ADVICE, poll: float = POLL, notifier: Notifier | None = None
) -> AsyncIterator[tuple[str, Reload]]:
    """The service on its sockets: gives the first one's URL, and its reload.

    `poll` seconds are between two looks at the configuration; the `notifier` reports to systemd. Raises ListenError or
    ConfigError before anything is probed.
    """
    notifier = notifier or Notifier({})
    log = structlog.get_logger(__name__)
    web_config = _web_config(config)
    sockets = open_sockets(config, advice)
    shares = budget(raise_limit())
    warn_if_scarce(shares, config.targets)
    service = Service(
        ExporterState(
            __version__, platform.python_version(), reloaded_at=time.time(), external_url=config.external_url
        ),
        max_probes=shares.probes,
    )
    reloader = Reloader(service, load, shares, config)
    reload = reporting(service, notifier, reloader)
    runner = _runner(application(service, reload, lambda: reloader.config, config.route_prefix), web_config)
    try:
        async with service, web_config or contextlib.nullcontext():
            await runner.setup()
            tls = None if web_config is None else web_config.ssl_context()
            limiter = _limiter(runner, shares.http)
            async with accepting(sockets, limiter, shares.http, tls), _closing(reloader):
                await reloader.apply(config)
                pages.prepare()
                settle_memory()
                urls = [url_of(each, "http" if tls is None else "https", config.route_prefix) for each in sockets]
                log.info("serving", url=" ".join(urls), targets=len(config.targets))
                async with _following(reloader, poll), supervised(service, notifier):
                    yield urls[0], reload
    finally:
        await runner.cleanup()
        for each in sockets:
            each.close()
        log.info("ended")


def _runner(app: web.Application, web_config: WebConfig | None) -> web.AppRunner:
    if web_config is not None:
        app.middlewares.insert(0, web_config.middleware)
    app.middlewares.insert(0, limit_middleware)
    return web.AppRunner(app, shutdown_timeout=SHUTDOWN)


def _limiter(runner: web.AppRunner, most: int) -> ConnectionLimiter:
    """The protocol factory that limits the connections to `most`."""
    if runner.server is None:
        msg = "the runner is not set up"
        raise RuntimeError(msg)
    return ConnectionLimiter(partial(HttpProtocol, runner.server), most)


@asynccontextmanager
async def _closing(reloader: Reloader) -> AsyncIterator[None]:
    """End the reloads and the discovery with the context, also where the start fails."""
    try:
        yield
    finally:
        await reloader.close()


@asynccontextmanager
async def _following(reloader: Reloader, poll: float) -> AsyncIterator[None]:
    """Reload whenever a file of the configuration changes, while the context lasts."""
    following = asyncio.create_task(reloader.follow(poll), name="configuration")
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _web_config(config: Config) -> WebConfig | None:
    """The web configuration, whose path is relative to the configuration file. Raises ConfigError."""
    if config.web_config_file is None:
        return None
    return WebConfig(Path(config.source).parent / config.web_config_file)


def settle_memory() -> None:
    """Keep the garbage collector from holding the event loop.

    The objects of the start stay for good, so the collector leaves them out; the values of a probe are freed without
    it, because frozen values have no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
    sys.setswitchinterval(SWITCH)
