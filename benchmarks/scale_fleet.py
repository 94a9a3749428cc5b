"""What a fleet costs: the real command with so many targets at an interval of 15 s, scraped as Prometheus would.

Three kinds of target are measured, because they cost differently:

    watched     the default: one connection stays open and asks for the time every 2 s, a probe every fourth interval
    sessions    `watch: false`: port, handshake and session each interval
    handshakes  `client_ids: []`: port and handshake each interval

Each target begins with the history of a day, as many reports as are kept and a day of trend, so that the memory is what
it stays at (exporter_with_history.py). What the exporter reports of each handshake is compared with the truth that the
simulated gateway has written down.
"""

import asyncio
import gzip
import math
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import aiohttp
from parts import FAULTY_EVERY, Process, address, quantile, spread
from serving import exporter

Figures = dict[str, Any]
Handshakes = dict[tuple[str, float], float]  # by target and unix time of the tick: the reported seconds
Truths = Mapping[str, list[tuple[float, float]]]

INTERVAL = 15.0
KINDS = {"watched": "", "sessions": "watch: false", "handshakes": "client_ids: []"}
SPACING = {"watched": 4 * INTERVAL, "sessions": INTERVAL, "handshakes": INTERVAL}  # seconds between two probes
WARM_UP = 20.0  # seconds: the first probes, the watches' connects, the way to the grid
SCRAPES = 12  # in a row, at the end
AS_PROMETHEUS = {"Accept-Encoding": "gzip", "X-Prometheus-Scrape-Timeout-Seconds": "15"}
SECONDS = re.compile(r'^ibkr_handshake_last_duration_seconds\{target="gateway-(\d+)"\} (\S+)$', re.MULTILINE)
PROBED = re.compile(r'^ibkr_handshake_last_success_timestamp_seconds\{target="gateway-(\d+)"\} (\S+)$', re.MULTILINE)
ROUNDED = 0.001  # seconds: a unix time in /metrics has milliseconds
HEALTHY = 'verdict="healthy"} 1\n'


class Scraper:
    """Scrapes a URL; keeps the bodies for later, because reading them would take the exporter's processor."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.seconds: list[float] = []
        self.bodies: list[bytes] = []
        self._session = session
        self._url = f"{url}metrics"

    async def scrape(self) -> bytes:
        """One scrape, gzipped."""
        began = time.perf_counter()
        async with self._session.get(self._url, headers=AS_PROMETHEUS) as response:
            body = await response.read()
            response.raise_for_status()
        self.seconds.append(time.perf_counter() - began)
        self.bodies.append(body)
        return body

    async def every_interval(self, seconds: float) -> None:
        """Scrape every INTERVAL for so long, the last time at its end."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while True:
            await asyncio.sleep(min(INTERVAL, ends - loop.time()))
            await self.scrape()
            if loop.time() >= ends - INTERVAL / 100:
                return


async def measure_fleet(gateways: Process, size: int, kind: str, seconds: float) -> Figures:
    """The figures of one size and kind."""
    async with (
        exporter(gateways.port, size, INTERVAL, KINDS[kind], history=True) as (process, url, _),
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):
        await settled(session, url, size)
        before = samples(read(await Scraper(session, url).scrape()))
        await gateways.ask("report")
        scraper = Scraper(session, url)
        used, served, began, at = process.cpu(), gateways.cpu(), time.perf_counter(), time.time()
        await scraper.every_interval(max(seconds, SPACING[kind]))
        lasted = time.perf_counter() - began
        used, served = process.cpu() - used, gateways.cpu() - served
        report = await gateways.ask("report")
        in_a_row = await scrape_in_a_row(session, url)
        text = read(scraper.bodies[-1])
        after = samples(text)
        handshakes = reported(map(read, scraper.bodies), began_at=at)
        return {
            "targets": size,
            "kind": kind,
            "seconds": lasted,
            "cores": used / lasted,
            "gateways_cores": served / lasted,
            "cpu_ms_per_target_minute": used / lasted / size * 60_000,
            "rss_mb": process.resident(),
            "peak_mb": process.peak(),
            "ticks_skipped": after["ibkr_exporter_ticks_skipped_total"] - before["ibkr_exporter_ticks_skipped_total"],
            "ticks_missed": missed(report["truths"], size, SPACING[kind], lasted),
            "lag_over_100_ms": over(after, 0.1) - over(before, 0.1),
            "probes": probes(after) - probes(before),
            "requests": report["requests"],
            "connections": report["most_open"],
            "unhealthy": size - text.count(HEALTHY),
            "handshake": compare(handshakes, report["truths"]),
            "scrape": in_a_row,
            "scrape_between": spread(scraper.seconds),
            "series": sum(not line.startswith("#") for line in text.splitlines()),
            "bytes": len(text),
            "gzipped": len(scraper.bodies[-1]),
        }


async def measure_faults(gateways: Process, size: int, kind: str, seconds: float) -> Figures:
    """The handshakes of the well nine tenths, without and with each fault of the others, by turns in one process."""
    figures: Figures = {}
    async with (
        exporter(gateways.port, size, INTERVAL, KINDS[kind]) as (process, url, _),
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):
        await settled(session, url, size)
        parts: dict[str, list[Figures]] = defaultdict(list)
        for fault in ("none", "frozen", "slow", "none", "rubbish", "none"):
            await gateways.ask(f"fault {fault}")
            await asyncio.sleep(SPACING[kind])  # every target is probed once before the measurement begins
            await gateways.ask("report")
            scraper, used, began, at = Scraper(session, url), process.cpu(), time.perf_counter(), time.time()
            await scraper.every_interval(max(seconds, SPACING[kind]))
            lasted = time.perf_counter() - began
            used, truths = process.cpu() - used, (await gateways.ask("report"))["truths"]
            handshakes = {
                key: value
                for key, value in reported(map(read, scraper.bodies), began_at=at).items()
                if int(key[0]) % FAULTY_EVERY
            }
            parts[fault].append(
                compare(handshakes, truths)
                | {"cores": used / lasted, "failing": size - read(scraper.bodies[-1]).count(HEALTHY)}
            )
        figures = {fault: {name: mean(rows, name) for name in rows[0]} for fault, rows in parts.items()}
        await gateways.ask("fault none")
    return figures


async def settled(session: aiohttp.ClientSession, url: str, size: int) -> None:
    """Wait for WARM_UP, and for a verdict of every target."""
    await asyncio.sleep(WARM_UP)
    for _ in range(20):
        if read(await Scraper(session, url).scrape()).count(HEALTHY) == size:
            return
        await asyncio.sleep(3.0)
    msg = f"of {size} simulated gateways some stay unhealthy"
    raise RuntimeError(msg)


async def scrape_in_a_row(session: aiohttp.ClientSession, url: str) -> Figures:
    """Several scrapes with a pause between; their spread."""
    scraper = Scraper(session, url)
    for _ in range(SCRAPES):
        await scraper.scrape()
        await asyncio.sleep(0.2)
    return spread(scraper.seconds)


def read(body: bytes) -> str:
    """The text of a gzipped scrape."""
    return gzip.decompress(body).decode()


def samples(text: str) -> dict[str, float]:
    """The samples of the exporter itself, and how many probes each layer had."""
    found: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        if line.startswith("ibkr_exporter_"):
            name, _, value = line.rpartition(" ")
            found[name] += float(value)
        elif line.startswith("ibkr_probes_total{"):
            name, _, value = line.rpartition(" ")
            found["probes " + name.partition('layer="')[2].partition('"')[0]] += float(value)
    return found


def probes(found: Mapping[str, float]) -> float:
    """Ticks so far: every one tries the port."""
    return found["probes port"]


def over(found: Mapping[str, float], seconds: float) -> float:
    """How many ticks so far began later than this."""
    name = "ibkr_exporter_probe_lag_seconds"
    return found[f"{name}_count"] - found[f'{name}_bucket{{le="{seconds}"}}']


def reported(texts: Iterable[str], began_at: float) -> Handshakes:
    """Every handshake that a scrape has shown, of ticks from `began_at` on."""
    handshakes: Handshakes = {}
    for text in texts:
        at = {number: float(value) for number, value in PROBED.findall(text)}
        for number, value in SECONDS.findall(text):
            if at.get(number, 0.0) >= began_at:
                handshakes[number, at[number]] = float(value)
    return handshakes


def compare(handshakes: Handshakes, truths: Truths) -> Figures:
    """The reported times beside those that the gateways wrote down."""
    ours, true = [], []
    for (number, at), seconds in handshakes.items():
        after = [row for row in truths.get(address(int(number)), ()) if row[0] >= at - ROUNDED]
        if after:
            ours.append(seconds)
            true.append(min(after)[1])
    if not ours:
        msg = "no handshake was reported"
        raise RuntimeError(msg)
    errors = [abs(mine - truth) for mine, truth in zip(ours, true, strict=True)]
    return {
        "compared": len(ours),
        "p50": quantile(ours, 0.5),
        "p99": quantile(ours, 0.99),
        "true_p50": quantile(true, 0.5),
        "true_p99": quantile(true, 0.99),
        "error_p50": quantile(errors, 0.5),
        "error_p99": quantile(errors, 0.99),
        "error_max": max(errors),
    }


def missed(truths: Truths, size: int, spacing: float, lasted: float) -> int:
    """Ticks that a gateway should have seen and did not: gaps between two hellos that are longer than one spacing."""
    count = 0
    for number in range(size):
        times = sorted(at for at, _ in truths.get(address(number), ()))
        if not times and lasted > 1.5 * spacing:
            count += int(lasted / spacing)
        count += sum(max(0, round((later - at) / spacing) - 1) for at, later in pairwise(times))
    return count


def mean(rows: list[Figures], name: str) -> float:
    """The mean of a figure over the turns; counts are summed."""
    values = [row[name] for row in rows]
    return math.fsum(values) if name == "compared" else math.fsum(values) / len(values)
