"""`/probe` beside blackbox_exporter's: the same gateways, the same asker, by turns in one run.

Ours does the whole handshake of a configured target; blackbox_exporter (Debian's) connects by TCP, and cannot do more.
"""

import asyncio
import shutil
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from asker import Asker
from parts import Process, address, free_port, quantile
from serving import answering, exporter

Figures = dict[str, Any]

BLACKBOX = "prometheus-blackbox-exporter"
TARGETS = 1000
RATE = 300.0  # a second, evenly spread: some 4,500 targets at 15 s
AT_ONCE = 16
TURNS = 6
NEVER = 86_400.0  # an interval: our schedule probes once at the start, and then only /probe does


async def measure_probe(gateways: Process, seconds: float) -> Figures:
    """Latency, throughput and processor time of both, evenly spread and sixteen at once."""
    async with (
        exporter(gateways.port, TARGETS, NEVER) as (ours, url, _),
        blackbox() as (theirs, port),
    ):
        await asyncio.sleep(5.0)  # past the first probes of the schedule
        sides = {
            "ibkr-exporter": (ours, Asker(int(url.rpartition(":")[2].strip("/"))), paths_of_names()),
            "blackbox_exporter": (theirs, Asker(port), paths_of_addresses(gateways.port)),
        }
        figures: Figures = {}
        for manner in ("evenly spread", "sixteen at once"):
            turns: dict[str, list[Figures]] = {name: [] for name in sides}
            for turn in range(TURNS):
                for name in sorted(sides, reverse=bool(turn % 2)):
                    process, asker, paths = sides[name]
                    turns[name].append(await ask(process, asker, paths, manner, seconds))
            figures[manner] = {name: summary(rows) for name, rows in turns.items()}
            figures[manner]["ratios"] = ratios(turns["ibkr-exporter"], turns["blackbox_exporter"])
        figures["rss_mb"] = {name: process.resident() for name, (process, _, _) in sides.items()}
        for _, asker, _ in sides.values():
            asker.close()
        return figures


@asynccontextmanager
async def blackbox() -> AsyncIterator[tuple[Process, int]]:
    """Debian's blackbox_exporter with a TCP module, and its port."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write("modules:\n  tcp_connect:\n    prober: tcp\n    timeout: 20s\n")
        file.flush()
        port = free_port()
        program = shutil.which(BLACKBOX) or BLACKBOX
        arguments = (f"--config.file={file.name}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error")
        async with Process.start(program, *arguments) as process, aiohttp.ClientSession() as session:
            await answering(session, f"http://127.0.0.1:{port}/-/healthy")
            yield process, port


async def ask(process: Process, asker: Asker, paths: list[str], manner: str, seconds: float) -> Figures:
    """One turn of one side."""
    used = process.cpu()
    if manner == "evenly spread":
        taken = await asker.spread(paths, RATE, seconds)
    else:
        taken = await asker.at_once(paths, AT_ONCE, seconds)
    used = process.cpu() - used
    asker.check()
    return {"taken": taken, "cpu": used, "seconds": seconds}


def summary(rows: list[Figures]) -> Figures:
    """All turns of one side together."""
    taken = [one for row in rows for one in row["taken"]]
    return {
        "probes": len(taken),
        "per_second": len(taken) / sum(row["seconds"] for row in rows),
        "p50": quantile(taken, 0.5),
        "p99": quantile(taken, 0.99),
        "cpu_seconds_per_1000": sum(row["cpu"] for row in rows) / len(taken) * 1000,
    }


def ratios(ours: list[Figures], theirs: list[Figures]) -> Figures:
    """Ours to theirs, turn by turn; the median of the turns, because the machine is not ours alone."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "per_second": statistics.median(len(one["taken"]) / len(other["taken"]) for one, other in pairs),
        "p50": statistics.median(quantile(one["taken"], 0.5) / quantile(other["taken"], 0.5) for one, other in pairs),
        "p99": statistics.median(quantile(one["taken"], 0.99) / quantile(other["taken"], 0.99) for one, other in pairs),
        "cpu": sum(one["cpu"] for one in ours)
        / sum(len(one["taken"]) for one in ours)
        / (sum(one["cpu"] for one in theirs) / sum(len(one["taken"]) for one in theirs)),
    }


def paths_of_names() -> list[str]:
    """`/probe` of each configured target."""
    return [f"/probe?target=gateway-{number:04}" for number in range(TARGETS)]


def paths_of_addresses(port: int) -> list[str]:
    """blackbox_exporter's `/probe` of each gateway."""
    return [f"/probe?module=tcp_connect&target={address(number)}:{port}" for number in range(TARGETS)]
