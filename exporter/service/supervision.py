"""The messages to systemd while the exporter serves: how the gateways are, and that the loop and the schedule live."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from exporter.service.service import Service
from exporter.systemd import Notifier
from exporter.verdict.rules import is_connectable

STATUS_INTERVAL = 10.0  # seconds between two status lines at most

Reload = Callable[[], Awaitable[list[str]]]  # gives the problems; none if the new configuration is in force


@asynccontextmanager
async def supervised(service: Service, notifier: Notifier) -> AsyncIterator[None]:
    """Report to systemd that the exporter is ready, lives and ends. Nothing where systemd does not ask."""
    if not notifier:
        yield
        return
    notifier.ready(status_line(service))
    reports = asyncio.create_task(_report(service, notifier), name="systemd")
    try:
        yield
    finally:
        notifier.stopping()
        reports.cancel()
        await asyncio.gather(reports, return_exceptions=True)


def reporting(service: Service, notifier: Notifier, reload: Reload) -> Reload:
    """The reload, with its beginning and its end reported to systemd."""

    async def reload_and_report() -> list[str]:
        notifier.reloading()
        try:
            return await reload()
        finally:
            notifier.ready(status_line(service))

    return reload_and_report


def status_line(service: Service) -> str:
    """One line: how many gateways, how many of them a program can connect to, and a refused configuration."""
    states = list(service.states.values())
    known = [state for state in states if state.last is not None]
    good = sum(is_connectable(state.verdict, state.last) for state in known)
    bad, new = len(known) - good, len(states) - len(known)
    line = f"{len(states)} gateways: {good} connectable, {bad} not, {new} not yet probed"
    return line if service.exporter.reload_successful else f"{line}; the changed configuration was refused"


async def _report(service: Service, notifier: Notifier) -> None:
    """Report that the exporter lives, twice within the watchdog's time, while the schedule goes on."""
    loop, ticked = asyncio.get_running_loop(), True
    pause = min(STATUS_INTERVAL, (notifier.watchdog or math.inf) / 2)
    while True:
        ticks = service.ticking(loop.time())
        if ticks:
            notifier.alive(status_line(service))
        else:
            notifier.status("the schedule stands still")
        if ticked and not ticks:
            structlog.get_logger(__name__).error("the schedule stands still: systemd's watchdog will restart this")
        ticked = ticks
        await asyncio.sleep(pause)
