"""The bench of scale: fleets of up to 5,000 gateways, faults among them, and `/probe`. `make bench-scale` runs it.

    fleet   the real command with each size and kind of target (scale_fleet.py)
    faults  one gateway in ten frozen, slow or answering rubbish: the handshakes of the others (scale_fleet.py)
    probe   `/probe` beside blackbox_exporter's (scale_probe.py)

The exporter, the gateways and blackbox_exporter are processes of their own, on this machine. Writes
build/bench-scale.json and build/bench-scale.md, and exits with 1 if a bound below is not kept. It takes about half an
hour; times by the clock on the wall hold what the machine did for others.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parts import Process
from scale_fleet import KINDS, measure_faults, measure_fleet
from scale_probe import BLACKBOX, measure_probe
from scale_report import as_markdown, verdicts

HERE = Path(__file__).parent
SIZES = (100, 1000, 5000)
PARTS = ("fleet", "faults", "probe")
FAULTS_KIND = "sessions"
Figures = dict[str, Any]


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build"), help="the directory for the results")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=60.0, help="for each fleet; half of it for each fault")
    return parser.parse_args()


def begun() -> Figures:
    """Where and when it is measured."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
        "load_before": os.getloadavg()[0],
    }


async def measure(options: argparse.Namespace, figures: Figures) -> None:
    """Everything that was asked for."""
    async with Process.start(sys.executable, str(HERE / "many_gateways.py")) as gateways:
        gateways.port = int(await gateways.line())
        if "fleet" in options.parts:
            figures["fleet"] = []
            for size in options.sizes:
                for kind in options.kinds:
                    print(f"measuring: {size} targets, {kind}", file=sys.stderr)
                    figures["fleet"].append(await measure_fleet(gateways, size, kind, options.seconds))
        if "faults" in options.parts:
            print("measuring: faults", file=sys.stderr)
            figures["faults"] = await measure_faults(gateways, max(options.sizes), FAULTS_KIND, options.seconds / 2)
        if "probe" in options.parts:
            print("measuring: /probe", file=sys.stderr)
            figures["probe"] = await measure_probe(gateways, 5.0)


def main() -> int:
    """Measure, write it down, hold it against the bounds."""
    options = parse()
    if "probe" in options.parts and shutil.which(BLACKBOX) is None:
        print(f"{BLACKBOX} is missing: apt-get install {BLACKBOX}", file=sys.stderr)
        return 2
    figures = begun()
    try:
        asyncio.run(measure(options, figures))
    finally:  # half an hour of figures is not thrown away for the last part's failure
        figures |= {"load_after": os.getloadavg()[0], "bounds": verdicts(figures)}
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "bench-scale.json").write_text(json.dumps(figures, indent=2) + "\n")
        table = as_markdown(figures)
        (options.output / "bench-scale.md").write_text(table)
        print(table)
    return 0 if all(row["kept"] for row in figures["bounds"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
