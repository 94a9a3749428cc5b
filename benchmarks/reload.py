"""The bench of reloads: a large fleet under load, and many reloads in a row. `make bench-reload` runs it.

    load    reloads of 5,000 targets at 15 s, one of which changes each time: what a reload takes, how late ticks start,
            which are skipped, and whether an unchanged target is probed each interval
    lists   the same, where the targets are discovered from a file (file_sd)
    leaks   1,000 reloads of a small fleet, another target changed each time: memory, threads, open files

The exporter and the gateways are processes of their own. Writes build/bench-reload.json; exits with 1 if a tick of an
unchanged target was lost, or if something is left behind.
"""

import argparse
import asyncio
import json
import math
import re
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from parts import Process, address, spread
from serving import exporter, text

HERE = Path(__file__).parent
INTERVAL = 15.0
PROBED = re.compile(r'^ibkr_probes_total\{target="(gateway-\d+)",layer="port",client=""\} (\d+)$', re.MULTILINE)
LEFT_BEHIND = 12e6  # bytes of memory after 900 further reloads: the allocator's own drift
Figures = dict[str, Any]


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build"), help="the directory for the results")
    parser.add_argument("--targets", type=int, default=5000)
    parser.add_argument("--reloads", type=int, default=20, help="under load")
    parser.add_argument("--leaks", type=int, default=1000, help="reloads in a row")
    return parser.parse_args()


def sample(body: str, name: str) -> float:
    """The value of a metric without labels, or with one `le`."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", body, re.MULTILINE)
    return float(found[1]) if found else 0.0


def probes(body: str) -> dict[str, int]:
    """How often each target was probed."""
    return {name: int(count) for name, count in PROBED.findall(body)}


def late(before: str, after: str) -> dict[str, float]:
    """Of the ticks between two scrapes, how many started later than a bound (seconds)."""
    lag = "ibkr_exporter_probe_lag_seconds"
    total = sample(after, f"{lag}_count") - sample(before, f"{lag}_count")
    found = {"ticks": total}
    for bound in ("0.1", "0.5", "1.0"):
        name = f'{lag}_bucket{{le="{bound}"}}'
        found[f"later than {bound} s"] = total - (sample(after, name) - sample(before, name))
    return found


async def measure_load(gateways: Process, size: int, count: int, *, lists: bool) -> Figures:
    """Reload so often while the fleet is probed; every reload changes the last target."""
    fleet = exporter(gateways.port, size, INTERVAL, lists=lists)
    async with fleet as (process, url, _), aiohttp.ClientSession() as session:
        await asyncio.sleep(INTERVAL)
        quiet = await text(session, f"{url}metrics")
        await asyncio.sleep(2 * INTERVAL)
        before, cpu, began = await text(session, f"{url}metrics"), process.cpu(), time.monotonic()
        took = []
        for number in range(count):
            fleet.change(size - 1, number)
            started = time.perf_counter()
            async with session.post(f"{url}-/reload") as response:
                response.raise_for_status()
            took.append(time.perf_counter() - started)
            await asyncio.sleep(1.0)
        passed = time.monotonic() - began  # the end is a whole number of intervals after the beginning
        await asyncio.sleep(max(2, math.ceil(passed / INTERVAL)) * INTERVAL - passed + 0.2)
        after, seconds = await text(session, f"{url}metrics"), time.monotonic() - began
        first, last = probes(before), probes(after)
        expected = seconds / INTERVAL
        unchanged = [last[name] - first[name] for name in first if name != f"gateway-{size - 1:04}"]
        return {
            "targets": size,
            "reloads": count,
            "seconds": seconds,
            "reload": spread(took),
            "cores": (process.cpu() - cpu) / seconds,
            "skipped": sample(after, "ibkr_exporter_ticks_skipped_total")
            - sample(before, "ibkr_exporter_ticks_skipped_total"),
            "probes of an unchanged target": {"expected": expected, "least": min(unchanged), "most": max(unchanged)},
            "lost": sum(probed < int(expected) for probed in unchanged),
            "without reloads": late(quiet, before),
            "with reloads": late(before, after),
        }


async def measure_leaks(gateways: Process, size: int, count: int) -> Figures:
    """Reload so often in a row; the first hundred are the warm-up."""
    fleet = exporter(gateways.port, size, INTERVAL)
    async with fleet as (process, url, _), aiohttp.ClientSession() as session:
        marks = []
        for number in range(count):
            fleet.change(number % size, number)
            async with session.post(f"{url}-/reload") as response:
                response.raise_for_status()
            if number in (min(100, count // 2), count - 1):
                await asyncio.sleep(INTERVAL)
                marks.append(process_of(process.child.pid))
        body = await text(session, f"{url}metrics")
        return {"reloads": count, "after 100": marks[0], "at the end": marks[-1], "targets": len(probes(body))}


def process_of(pid: int) -> dict[str, int]:
    """Memory (bytes), threads and open files of a process."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return {"memory": int(fields["VmRSS"].split()[0]) * 1024, "threads": int(fields["Threads"]), "files": files}


async def measure(options: argparse.Namespace) -> Figures:
    """Everything."""
    async with Process.start(sys.executable, str(HERE / "many_gateways.py")) as gateways:
        gateways.port = int(await gateways.line())
        figures: Figures = {"first gateway": address(0)}
        for name, lists in (("load", False), ("lists", True)):
            print(f"measuring: {name}", file=sys.stderr)
            figures[name] = await measure_load(gateways, options.targets, options.reloads, lists=lists)
        print("measuring: leaks", file=sys.stderr)
        figures["leaks"] = await measure_leaks(gateways, 50, options.leaks)
    return figures


def main() -> int:
    """Measure, write it down, hold it against the bounds."""
    options = parse()
    figures = asyncio.run(measure(options))
    first, last = figures["leaks"]["after 100"], figures["leaks"]["at the end"]
    figures["bounds"] = {
        "no tick is lost": not figures["load"]["lost"] and not figures["lists"]["lost"],
        "no tick is skipped": not figures["load"]["skipped"] and not figures["lists"]["skipped"],
        "no memory stays": last["memory"] - first["memory"] < LEFT_BEHIND,
        "no thread and no file stays": last["threads"] <= first["threads"] and last["files"] <= first["files"] + 2,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    written = json.dumps(figures, indent=2)
    (options.output / "bench-reload.json").write_text(f"{written}\n")
    print(written)
    return 0 if all(figures["bounds"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
