"""Draw dashboards as PNG with Grafana's own components, from the answers of a running Prometheus.

    npm ci                       once, in this directory (Node 20 or later)
    python draw.py OUT [--prometheus URL] [--minutes N] [--target NAME] [DASHBOARD...]

Needs chromium on PATH. Standard library only.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DASHBOARDS = HERE.parents[1] / "deploy" / "grafana" / "dashboards"
WIDTH = 1680
CELL = 38  # pixels of one row of the grid with its gap, as in panels.jsx


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the directory for the pictures")
    parser.add_argument("names", nargs="*", default=["fleet", "gateway", "libraries"])
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--target", default=".+", help="the gateway of the Gateway dashboard")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        bundle(Path(work))
        for name in arguments.names:
            board = json.loads((DASHBOARDS / f"{name}.json").read_text(encoding="utf-8"))
            drawing = answers(board, arguments.prometheus, arguments.minutes * 60, arguments.target)
            picture = arguments.out / f"{name}.png"
            shoot(Path(work), drawing, picture)
            sys.stdout.write(f"{picture}\n")


def bundle(work: Path) -> None:
    """panels.jsx and all it needs as one script and one style sheet."""
    modules = HERE / "node_modules"
    loaders = [f"--loader:.{end}=dataurl" for end in ("svg", "png", "woff", "woff2", "ttf", "gif")]
    subprocess.run(
        [
            modules / ".bin" / "esbuild",
            HERE / "panels.jsx",
            "--bundle",
            f"--outfile={work}/panels.js",
            "--jsx=automatic",
            "--format=iife",
            "--log-level=error",
            *loaders,
            # as CommonJS: from .mjs files, default imports of older packages come out wrong
            f"--alias:@grafana/data/unstable={modules}/@grafana/data/dist/cjs/unstable.cjs",
            *(f"--alias:@grafana/{name}={modules}/@grafana/{name}/dist/cjs/index.cjs" for name in ("ui", "data")),
            '--define:process.env.NODE_ENV="production"',
            "--define:global=window",
        ],
        check=True,
    )


def answers(board: dict[str, Any], prometheus: str, seconds: float, target: str) -> dict[str, Any]:
    """The dashboard with the result of every query: present values, or a range over the last seconds."""
    end = time.time()
    step = max(3.0, round(seconds / 300))
    results = {}
    for panel in board["panels"]:
        for index, query in enumerate(panel.get("targets", ())):
            interval = max(step, duration(panel.get("interval", "0s")))
            expr = substituted(query["expr"], target, interval, seconds)
            if query.get("range"):
                form = {
                    "query": expr,
                    "start": end - seconds,
                    "end": end,
                    "step": max(step, interval),
                }
                url = f"{prometheus}/api/v1/query_range"
            else:
                form, url = {"query": expr, "time": end}, f"{prometheus}/api/v1/query"
            with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(form)}", timeout=30) as answer:
                results[f"{panel['id']}/{index}"] = json.load(answer)["data"]["result"]
    return {"dashboard": board, "results": results, "from": end - seconds, "to": end, "step": step}


def substituted(expr: str, target: str, interval: float, seconds: float) -> str:
    """The query with Grafana's variables in place; `$__rate_interval` as Grafana reckons it for a scrape every 3 s."""
    expr = expr.replace("$__rate_interval", f"{int(max(interval + 3, 12))}s").replace("$target", target)
    expr = expr.replace("$__range", f"{int(seconds)}s").replace("$__interval", f"{int(interval)}s")
    return re.sub(r"\$(job|instance|client)", ".+", expr)


def duration(text: str) -> float:
    """`30s`, `1m`, `1h` in seconds."""
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def shoot(work: Path, drawing: dict[str, Any], picture: Path) -> None:
    """The page in headless Chromium, as large as the dashboard."""
    (work / "drawing.js").write_text(f"window.drawing = {json.dumps(drawing)};", encoding="utf-8")
    page = (
        "<!doctype html><meta charset=utf-8><link rel=stylesheet href=panels.css>"
        "<div id=dashboard></div><script src=drawing.js></script><script src=panels.js></script>"
    )
    (work / "page.html").write_text(page, encoding="utf-8")
    height = CELL * max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in drawing["dashboard"]["panels"]) + 16
    subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
            f"--window-size={WIDTH},{height}",
            "--virtual-time-budget=8000",
            f"--screenshot={picture.resolve()}",
            f"file://{work}/page.html",
        ],
        check=True,
        capture_output=True,
    )


if __name__ == "__main__":
    main()
