"""What the rules cost a real Prometheus: a made-up /metrics of a thousand targets that all fail in one way.

    python benchmarks/rules.py [--targets N] [--seconds S] [--rules DIRECTORY] [VERDICT ...]

For each verdict in turn Prometheus starts from scratch and scrapes the targets every 3 s. Written for each: the longest
and the mean evaluation of each group with its interval, the processor time, the series and the memory. Needs Prometheus
on PATH.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from exporter.metrics.catalogue import TARGET_FAMILIES
from exporter.metrics.family import HISTOGRAM, Metric
from exporter.model import Outcome, Stage, Verdict
from exporter.state.histogram import CLIENT_BUCKETS, CONNECT_BUCKETS, HANDSHAKE_BUCKETS

ROOT = Path(__file__).parents[1]
CLIENTS = ("ibapi", "ib_insync", "ib_async")
BUCKETS = {
    "ibkr_port_connect_duration_seconds": CONNECT_BUCKETS,
    "ibkr_handshake_duration_seconds": HANDSHAKE_BUCKETS,
    "ibkr_client_duration_seconds": CLIENT_BUCKETS,
}
VALUES: dict[str, tuple[str, ...]] = {
    "layer": ("port", "handshake", "session"),
    "client": ("",),
    "outcome": (Outcome.TIMEOUT.value, Outcome.REFUSED.value),
    "stage": tuple(Stage)[:5],
    "window": ("restart", "north_america", "weekend", "weekly_login"),
    "phase": (),
    "kind": ("market_data",),
    "farm": ("usfarm", "cashfarm"),
    "host": ("10.0.0.1",),
    "port": ("4001",),
    "mode": ("live",),
}
CONFIG = """
global: {{evaluation_interval: 15s, external_labels: {{exporter_url: 'http://127.0.0.1:9497'}}}}
rule_files: ['{rules}/*.yml']
scrape_configs:
  - job_name: ibkr
    scrape_interval: 3s
    static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]
  - job_name: prometheus
    scrape_interval: 3s
    static_configs: [{{targets: ['127.0.0.1:{prometheus}']}}]
"""


def main() -> None:
    """Measure each verdict and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verdicts", nargs="*", default=["healthy", "api_silent", "port_closed", "client_fault"])
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="for each verdict; the waits of the alerts are in it"
    )
    parser.add_argument("--rules", type=Path, default=ROOT / "deploy" / "prometheus" / "rules")
    options = parser.parse_args()
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("no prometheus on PATH")
    for verdict in options.verdicts:
        with tempfile.TemporaryDirectory() as place:
            measure(program, Path(place), Verdict(verdict), options)


def measure(program: str, place: Path, verdict: Verdict, options: argparse.Namespace) -> None:
    """One verdict of all targets."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), answering(exposition(options.targets, verdict)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = CONFIG.format(rules=options.rules.resolve(), exporter=server.server_port, prometheus=port)
    (place / "prometheus.yml").write_text(config, encoding="utf-8")
    arguments = [f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data"]
    arguments += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    running = subprocess.Popen([program, *arguments])  # noqa: S603 - Prometheus, with a configuration of ours
    try:
        time.sleep(options.seconds)
        report(verdict, f"http://127.0.0.1:{port}", options.seconds)
    finally:
        running.terminate()
        running.wait()
        server.shutdown()


def answering(body: bytes) -> type[BaseHTTPRequestHandler]:
    """The request handler of a /metrics that is always the same."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    return Answer


def exposition(targets: int, verdict: Verdict) -> bytes:
    """The metrics of so many targets that all have this verdict, two of three libraries failing."""
    lines = [
        f'ibkr_client_info{{client="{client}",library="{client}",version="1",python="3.13"}} 1' for client in CLIENTS
    ]
    lines.append('ibkr_exporter_web_info{external_url="http://127.0.0.1:9497"} 1')
    for number in range(targets):
        target = f'target="gateway-{number:04}"'
        for family in TARGET_FAMILIES:
            lines += series(family.metric, target, verdict)
    return ("\n".join(lines) + "\n").encode()


def series(metric: Metric, target: str, verdict: Verdict) -> list[str]:
    """One target's lines of a family."""
    if metric.name == "ibkr_verdict":
        return [f'{metric.name}{{{target},verdict="{each}"}} {int(each is verdict)}' for each in Verdict]
    labels = [target]
    for name in metric.labels[1:]:
        values = CLIENTS if name == "client" and "client_" in metric.name else VALUES.get(name, (name,))
        labels = [f'{before},{name}="{value}"' for before in labels for value in values]
    if metric.kind == HISTOGRAM:
        bounds = [*map(str, BUCKETS[metric.name]), "+Inf"]
        lines = [f'{metric.name}_bucket{{{each},le="{bound}"}} 5' for each in labels for bound in bounds]
        return lines + [f"{metric.name}_{end}{{{each}}} 5" for each in labels for end in ("sum", "count")]
    value = time.time() - 60 if "timestamp" in metric.name else 30 if "silence" in metric.name else 1
    if metric.name in ("ibkr_client_success", "ibkr_maintenance_window") or (
        metric.name == "ibkr_up" and verdict != "healthy"
    ):
        value = 0
    return [f"{metric.name}{{{each}}} {value}" for each in labels]


def report(verdict: Verdict, prometheus: str, seconds: float) -> None:
    """Write what Prometheus says of itself over the last minute."""
    over = f"[{int(min(60, seconds / 2))}s]"
    longest = query(prometheus, f"max_over_time(prometheus_rule_group_last_duration_seconds{over})")
    mean = query(prometheus, f"avg_over_time(prometheus_rule_group_last_duration_seconds{over})")
    every = query(prometheus, "prometheus_rule_group_interval_seconds")
    firing = sum(query(prometheus, 'count(ALERTS{alertstate="firing"})').values())
    one = {
        name: next(iter(query(prometheus, expr).values()), 0.0)
        for name, expr in (
            ("cores", f'rate(process_cpu_seconds_total{{job="prometheus"}}{over})'),
            ("series", 'prometheus_tsdb_head_series{job="prometheus"}'),
            ("MB", 'process_resident_memory_bytes{job="prometheus"} / 1e6'),
        )
    }
    numbers = ", ".join(
        f"{value:.3g} {name}" if name == "cores" else f"{value:.0f} {name}" for name, value in one.items()
    )
    sys.stdout.write(f"\n{verdict}: {firing:.0f} alerts firing; {numbers}\n")
    for group in sorted(every, key=lambda each: every[each]):
        sys.stdout.write(
            f"  {group:<28} every {every[group]:>5.0f} s  mean {mean[group]:.3f} s  longest {longest[group]:.3f} s\n"
        )
    sys.stdout.flush()


def query(prometheus: str, expr: str) -> dict[str, float]:
    """An instant query's values by rule group, without the file's name."""
    form = urllib.parse.urlencode({"query": expr})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{form}") as answer:  # noqa: S310 - on this machine
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return {row["metric"].get("rule_group", "").rpartition(";")[2]: float(row["value"][1]) for row in result}


if __name__ == "__main__":
    main()
