"""The running process: the service and its HTTP server together, from the first listen to an orderly end."""

import asyncio
import contextlib
import gc
import platform
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from exporter import __version__, page
from exporter.config import Config, ConfigError
from exporter.metrics import ExporterState
from exporter.service import Service
from exporter.web import Reload, application

if sys.platform != "win32":
    import resource

SPARE_DESCRIPTORS = 128  # for scrapes, logs and the resolver, beside the probes
MOST_DESCRIPTORS = 65_536
COLLECT_AFTER = 50_000  # objects; a collection then is rare and takes about a millisecond
FEWEST_PLACES = 16  # probes at once, however few open files the system permits
SHUTDOWN = 2.0  # seconds for answers under way when the process ends

Load = Callable[[], Config]


class ListenError(Exception):
    """The HTTP port cannot be had; the text says which, why and what to do."""


async def serve(config: Config, load: Load, announce: Callable[[str], None]) -> None:
    """Watch and answer until SIGINT or SIGTERM; SIGHUP reads the configuration again by `load`.

    `announce` gets the URL once there is one. Raises ListenError.
    """
    ended = asyncio.Event()
    async with running(config, load) as (url, reload):
        loop = asyncio.get_running_loop()
        reloads: set[asyncio.Task[list[str]]] = set()

        def hang_up() -> None:
            reloads.add(task := loop.create_task(reload()))
            task.add_done_callback(reloads.discard)

        with contextlib.suppress(NotImplementedError):  # Windows ends by KeyboardInterrupt and has no SIGHUP
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, ended.set)
            loop.add_signal_handler(signal.SIGHUP, hang_up)
        announce(url)
        await ended.wait()


@asynccontextmanager
async def running(config: Config, load: Load) -> AsyncIterator[tuple[str, Reload]]:
    """The service on its port: gives its URL and its reload. Raises ListenError before anything is probed."""
    log = structlog.get_logger(__name__)
    listening = _listen(config.listen_host, config.listen_port)
    service = Service(
        ExporterState(__version__, platform.python_version(), reloaded_at=time.time()),
        most_at_once=max(FEWEST_PLACES, _raise_descriptor_limit() - SPARE_DESCRIPTORS),
    )
    present = config
    turn = asyncio.Lock()

    async def reload() -> list[str]:
        """The problems of a configuration that was refused; none if the new one is in force."""
        async with turn:  # two at once would leave the targets of the one with the settings of the other
            return await take_over()

    async def take_over() -> list[str]:
        nonlocal present
        try:
            loaded = load()
        except ConfigError as error:
            service.reloaded(None)
            problems = [str(problem) for problem in error.problems]
            log.error("configuration refused, the running one is kept", problems=problems)  # noqa: TRY400 - no fault of ours
            return problems
        await service.watch(loaded.targets, loaded.clients)
        present = loaded
        service.reloaded(time.time())
        log.info("configuration reloaded", targets=len(loaded.targets))
        return []

    runner = web.AppRunner(application(service, reload, lambda: present), access_log=None, shutdown_timeout=SHUTDOWN)
    try:
        await runner.setup()
        await web.SockSite(runner, listening).start()
        await service.watch(config.targets, config.clients)
        host, port = listening.getsockname()[:2]
        page.prepare()
        settle_memory()
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        log.info("serving", url=url, targets=len(config.targets))
        yield url, reload
    finally:
        await service.close()
        await runner.cleanup()
        listening.close()
        log.info("ended")


def _listen(host: str, port: int) -> socket.socket:
    everywhere = host in ("", "::") and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if everywhere or ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=everywhere)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        msg = (
            f"cannot listen on {host} port {port}: {reason}. Is another exporter running? "
            "Stop it, or set web.listen (or IBKR_EXPORTER_LISTEN) to another address"
        )
        raise ListenError(msg) from None


def settle_memory() -> None:
    """Keep the garbage collector from holding the event loop.

    What was loaded at the start stays for good and need not be looked through again, and what a probe leaves behind is
    freed without the collector: frozen values have no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def _raise_descriptor_limit() -> int:
    """Take as many open files as the system permits (each probe under way is one); the number of them."""
    if sys.platform == "win32":
        return 512  # the most that select() takes there
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
