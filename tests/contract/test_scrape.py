"""What Prometheus scrapes every 3 s and what every 15 s: no rule may read what comes late."""

import re
from pathlib import Path
from typing import Any

import yaml

from exporter.metrics.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2] / "deploy" / "prometheus"
JOBS: dict[str, dict[str, Any]] = {
    job["job_name"]: job for job in yaml.safe_load((ROOT / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
}
(FAST,) = JOBS["ibkr"]["metric_relabel_configs"]
SLOW, NAMED = JOBS["ibkr-details"]["metric_relabel_configs"]
SERIES = [
    metric.name + end
    for metric in CATALOGUE
    for end in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
]


def late(name: str) -> bool:
    """Whether a series is scraped every 15 s; Prometheus anchors the expression at both ends."""
    return re.fullmatch(SLOW["regex"], name) is not None


def test_every_series_is_scraped_by_one_of_the_two_jobs_from_the_same_exporters() -> None:
    assert (FAST["regex"], FAST["action"]) == (SLOW["regex"], "drop")
    assert SLOW["action"] == "keep"
    for key in ("static_configs", "file_sd_configs"):
        assert JOBS["ibkr"][key] == JOBS["ibkr-details"][key]


def test_a_query_finds_both_under_one_job() -> None:
    assert NAMED == {"target_label": "job", "replacement": "ibkr"}


def test_no_rule_reads_what_comes_late() -> None:
    text = " ".join(
        rule["expr"]
        for path in sorted((ROOT / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    )
    read = set(re.findall(r"[a-zA-Z_:][\w:]*", text))
    assert [name for name in read if late(name)] == []
    assert late("ibkr_handshake_duration_seconds_bucket")


def test_most_series_come_late() -> None:
    """Histograms above all: with them every 3 s, a thousand targets would fill a disk."""
    buckets = [name for name in SERIES if name.endswith(("_bucket", "_sum", "_count"))]
    assert buckets
    assert all(late(name) for name in buckets)
