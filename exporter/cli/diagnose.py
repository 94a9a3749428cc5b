"""Probe one target once: every layer of the wire, then each client library, one at a time.

The wire comes first and is reported at once, then the account download where it was asked for. The libraries are
imported meanwhile and probed in the order in which they are ready. time_budget.py says how long each may take.

While the wire works, a library's failure counts only if the wire works again right after it. A library that follows at
once upon an answer, to us or to another library, needs no handshake before it. Where the port is open and
the API does not answer, the libraries are probed all the same: that they all fail shows that none is at fault.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from exporter.cli.time_budget import LEAST, TimeBudget, failing
from exporter.clients.pool import ClientPool, PooledClient
from exporter.clients.probe import EndpointLease, compare, probe_client, unusable
from exporter.model import ClientSpec, Fall, Layer, LayerResult, Outcome, Report, Target
from exporter.probes.download import DEADLINE, download
from exporter.probes.resolver import Resolver
from exporter.probes.settings import DEADLINE as SETTINGS_DEADLINE
from exporter.probes.settings import probe_settings
from exporter.probes.target import LOWER_SECONDS, probe_lower_hello, probe_target
from exporter.state.suspension import PARTIAL, began_with
from exporter.state.target import cut_short
from exporter.verdict.client_blame import (
    ClientProbe,
    answered,
    confirm,
    discard,
    hello_unanswered,
    is_conclusive,
    is_shared,
    skipped,
    wire_ok,
)
from exporter.verdict.gateway_settings import remarks

HEAD_START = 0.5  # seconds for the wire alone: one that works has been probed by then, and importing disturbs nothing
FRESH = 1.0  # seconds since the gateway's last answer in which no handshake is needed before a library
DOWNLOAD, SETTINGS = "the account download", "the gateway's settings"  # what is running, where it is no client
MORE = "give more with --timeout"
UNPROVEN = f"the time was over before we saw whether the gateway still answers: {MORE}"
NO_TIME = f"no time was left for it: {MORE}"
NOT_IMPORTED = f"the time was over before the library was imported: {MORE}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a diagnosis is: the wire's report with the clients' results so far.

    `running` is the client that is being probed. `importing` and `waiting` are those that are still to come.
    """

    report: Report
    running: str | None = None
    importing: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


Show = Callable[[Progress], object]


async def examine(
    target: Target, clients: Sequence[ClientSpec], limit: float | None, show: Show, pool: ClientPool | None = None
) -> Report:
    """Return the report of all layers, in `limit` seconds altogether; None: each has its own deadline."""
    pool = pool or ClientPool()
    diagnosis = Diagnosis(target, clients, limit, show)
    try:
        return await diagnosis.run(pool)
    finally:
        await pool.close()


class Diagnosis:
    """One diagnosis under way."""

    def __init__(self, target: Target, clients: Sequence[ClientSpec], limit: float | None, show: Show) -> None:
        self._target = target
        self._clients = clients
        self._budget = TimeBudget(target, len(clients), limit)
        self._show = show
        self._resolver = Resolver()
        self._began = time.perf_counter()
        self._connections = 0
        self._wire = Report(target=target.name, at=time.time(), seconds=0.0, results=())
        self._importing: dict[str, asyncio.Task[tuple[PooledClient, str | None]]] = {}
        self._ready: list[str] = []
        self._results: dict[str, LayerResult] = {}
        self._looked_again = False
        self._compared = False
        self._answered_at = -math.inf  # when the gateway answered us or a library (the loop's time)
        self._download: tuple[LayerResult, ...] = ()
        self._remarks: tuple[str, ...] = ()

    async def run(self, pool: ClientPool) -> Report:
        """Probe the wire, then the clients."""
        wire = asyncio.create_task(probe_target(self._target, self._resolver, self._budget.wire))
        try:
            if self._clients and self._target.probe_ids:
                await asyncio.wait({wire}, timeout=HEAD_START)
                if not wire.done() or _port_open(wire.result()):
                    await self._start_imports(pool)
            self._take(await wire)
            await self._check_lower_hello()
            if self._target.download and wire_ok(self._wire) and self._wire.layer(Layer.SESSION):
                self._announce(DOWNLOAD)
                await self._probe_download()
            if self._target.settings and wire_ok(self._wire) and self._wire.layer(Layer.SESSION):
                self._announce(SETTINGS)
                await self._probe_settings()
            if self._importing and _port_open(self._wire):
                await self._probe_clients()
        finally:
            tasks = [wire, *self._importing.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._report()

    async def _check_lower_hello(self) -> None:
        """Where our hello got no answer, see whether a lower one does."""
        if not hello_unanswered(self._wire) or self._budget.left() < LEAST:
            return
        report = await probe_lower_hello(self._target, self._resolver, self._budget.at_most(LOWER_SECONDS))
        handshake = None if report is None else report.layer(Layer.HANDSHAKE)
        self._connections += 0 if report is None else report.connections
        self._wire = replace(self._wire, lower_hello=handshake.server if handshake and handshake.ok else None)

    async def _probe_download(self) -> None:
        report = await download(self._target, self._resolver, self._budget.at_most(DEADLINE))
        self._connections += report.connections
        self._download = tuple(
            replace(result, detail=f"{result.detail}: {MORE}")
            if result.outcome is Outcome.UNAVAILABLE and self._budget.until is not None
            else result
            for result in report.results
        )

    async def _probe_settings(self) -> None:
        answer = await probe_settings(self._target, self._resolver, self._budget.at_most(SETTINGS_DEADLINE))
        self._connections += answer.connections
        self._remarks = tuple(remarks(answer, self._target))

    async def _start_imports(self, pool: ClientPool) -> None:
        await pool.configure({spec.name: spec for spec in self._clients})
        for spec in self._clients:
            member = pool.member(spec.name)
            if member is not None:
                self._importing[spec.name] = asyncio.create_task(self._import(member), name=f"import {spec.name}")

    async def _import(self, member: PooledClient) -> tuple[PooledClient, str | None]:
        """Import the library; return the reason if it cannot be used."""
        try:
            async with asyncio.timeout_at(self._budget.until):
                return member, await member.ready()
        except TimeoutError:
            return member, NOT_IMPORTED
        finally:
            self._ready.append(member.spec.name)

    async def _probe_clients(self) -> None:
        self._announce()
        to_probe = dict(self._importing)
        while to_probe:
            await asyncio.wait(to_probe.values(), return_when=asyncio.FIRST_COMPLETED)
            name = next(name for name, task in to_probe.items() if task.done())
            member, problem = await to_probe.pop(name)
            self._announce(member.spec.name)
            probe = unusable(member, problem) if problem is not None else await self._probe(member)
            self._connections += probe.connections + (probe.before.connections if probe.before else 0)
            self._results[member.spec.name] = probe.result
            self._announce()

    async def _probe(self, member: PooledClient) -> ClientProbe:
        """Probe a client that was imported, and the wire again where that decides what its result means."""
        bad = failing(self._wire)
        unprobed = len(self._clients) - len(self._results)
        limit, own = self._budget.of_client(member.spec, self._wire, unprobed)
        if limit < LEAST:
            return unusable(member, NO_TIME)
        hurried = replace(self._target, deadline=own)
        before = None if bad or not self._just_answered() else replace(self._wire, connections=0)
        probe = await probe_client(
            hurried, member, self._resolver, limit, EndpointLease(), regardless=bad, before=before, more=MORE
        )
        if probe.result.ok:
            self._answered_at = asyncio.get_running_loop().time()
        if bad:
            if probe.result.ok and not self._looked_again:  # has the gateway recovered?
                self._looked_again = True
                self._take(await self._probe_wire())
            return confirm(probe, self._wire) if answered(self._wire) else probe
        fallen = probe.before is not None and not answered(probe.before)
        if not fallen and (probe.result.ok or not is_conclusive(probe.result)):
            return probe
        again = await self._probe_wire()
        if cut_short(again, self._target.deadline):  # a probe without its time says nothing about the gateway
            self._connections += again.connections
            return replace(probe, result=discard(probe.result, UNPROVEN))
        self._take(again)
        if not fallen and not answered(again):
            fall = Fall(at=again.at, client=member.spec.name, installed=member.installed)
            self._wire = replace(self._wire, fall=fall, remarks=(began_with(fall),))
        return await self._compare(confirm(probe, again))

    async def _compare(self, probe: ClientProbe) -> ClientProbe:
        """The client probe; before the first failure counts, compared with connections of our own."""
        if probe.result.doubt is not None or not is_shared(probe.result) or self._budget.left() < self._target.deadline:
            return probe
        if self._compared:
            return probe
        probe, reports = await compare(probe, self._shake_hands)
        self._connections += sum(report.connections for report in reports)
        self._compared = probe.result.doubt is None
        if probe.result.doubt is not None:
            remark = PARTIAL.format(failed=1, total=len(reports) + 2)  # with those right before and after the client
            self._wire = replace(self._wire, remarks=(remark,))
        return probe

    async def _shake_hands(self) -> Report:
        deadline = self._budget.at_most(self._target.deadline)
        return await probe_target(replace(self._target, client_ids=()), self._resolver, deadline)

    async def _probe_wire(self) -> Report:
        return await probe_target(self._target, self._resolver, self._budget.at_most(self._target.deadline))

    def _just_answered(self) -> bool:
        """The gateway has only just answered us or a library: another handshake before the next one shows no more."""
        return asyncio.get_running_loop().time() - self._answered_at < FRESH

    def _take(self, wire: Report) -> None:
        """Keep the latest report of the wire, which counts the connections of all."""
        self._connections += wire.connections
        if wire_ok(wire):
            self._answered_at = asyncio.get_running_loop().time()
        previous = self._wire
        self._wire = replace(
            wire,
            at=previous.at,
            lower_hello=None if answered(wire) else previous.lower_hello,
            fall=None if answered(wire) else previous.fall,
            remarks=previous.remarks,
        )

    def _report(self) -> Report:
        clients = (self._results.get(spec.name) or skipped(spec.name) for spec in self._clients)
        return replace(
            self._wire,
            seconds=time.perf_counter() - self._began,
            results=(*self._wire.results, *self._download, *clients),
            connections=self._connections,
            remarks=(*self._wire.remarks, *self._remarks),
        )

    def _announce(self, running: str | None = None) -> None:
        left = [spec.name for spec in self._clients if spec.name not in self._results and spec.name != running]
        self._show(
            Progress(
                self._report(),
                running,
                importing=tuple(name for name in left if name not in self._ready),
                waiting=tuple(name for name in left if name in self._ready),
            )
        )


def _port_open(wire: Report) -> bool:
    port = wire.layer(Layer.PORT)
    return wire.fault is None and port is not None and port.ok
