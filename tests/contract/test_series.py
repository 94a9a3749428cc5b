"""How many series a target has, and what reads them: docs/series.md. UPDATE_GOLDEN=1 writes it anew."""

import json
import os
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import yaml

from exporter.config.maintenance_windows import ibkr_windows
from exporter.metrics.catalogue import TARGET_FAMILIES
from exporter.metrics.exposition import exposition
from exporter.state.target import TargetState
from tests.core.states import CLIENT_OK, T0, TARGET, TRADING, grown, tried

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "series.md"
CLIENTS = ("ibapi", "ib_insync", "ib_async")
MOST, MOST_WITH_CLIENTS = 100, 170
# Why a metric stays that nothing in this repository reads.
UNREAD: dict[str, str] = {}
HEAD = """\
# Series per target, and what reads them

A target that is healthy and watched, with IBKR's windows and three data farms, without client libraries and with three. Each
farm more is one series more. What only a few targets have is not in the sums: those of the account download, `ibkr_setting`,
`ibkr_login_phase`. A test writes this table (`UPDATE_GOLDEN=1 make test args=tests/contract/test_series.py`) and fails where it
is out of date, or where nothing reads a metric and no reason is given why it stays.

Prometheus takes what rules read every 3 seconds and the rest every 15 (`deploy/prometheus/prometheus.yml`). To have fewer series,
drop there what you do not read: no rule reads a histogram.

| metric | series | with three clients | rules | dashboards | runbooks |
|---|---|---|---|---|---|
"""


def typical(clients: tuple[str, ...]) -> TargetState:
    target = replace(
        TARGET, client_ids=(9001, 9002), watch=True, clients=clients, windows=ibkr_windows(), account="DU1234567"
    )
    return tried(grown(TRADING, target=target), *(replace(CLIENT_OK, client=client) for client in clients))


def counted(state: TargetState) -> Counter[str]:
    lines = "".join(exposition([state], T0 + 6.0)).splitlines()
    named = (re.split(r"[{ ]", line, maxsplit=1)[0] for line in lines if not line.startswith("#"))
    families = {family.metric.name for family in TARGET_FAMILIES}
    return Counter(name if name in families else re.sub(r"_(bucket|sum|count)$", "", name) for name in named)


@cache
def readers() -> tuple[dict[str, str], ...]:
    """The text of each alert and recording, each dashboard and each runbook, by its name."""
    groups = [
        group
        for path in sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
        for group in yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)["groups"]
    ]
    rules = {rule.get("alert") or rule["record"]: json.dumps(rule) for group in groups for rule in group["rules"]}
    boards = {
        path.stem: path.read_text("utf-8") for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
    }
    books = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "exporter/runbooks").glob("*.md"))}
    return rules, boards, books


def read_by(name: str) -> list[str]:
    """Which alerts and recordings, dashboards, and runbooks name a metric."""
    word = re.compile(rf"\b{name}(_bucket|_sum|_count)?\b")
    return [shortened([title for title, text in texts.items() if word.search(text)]) for texts in readers()]


def shortened(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def table() -> str:
    few, many = counted(typical(())), counted(typical(CLIENTS))
    rows = [
        f"| `{metric.name}` | {few[metric.name]} | {many[metric.name]} | {' | '.join(read_by(metric.name))} |\n"
        for metric, _ in TARGET_FAMILIES
    ]
    return HEAD + "".join(rows) + f"| **together** | **{few.total()}** | **{many.total()}** | | | |\n"


def test_the_table_of_series_is_the_one_that_is_committed() -> None:
    made = table()
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made


def test_every_metric_of_a_target_is_read_or_says_why_it_stays() -> None:
    unread = {metric.name for metric, _ in TARGET_FAMILIES if not any(read_by(metric.name))}
    assert unread == set(UNREAD)


def test_a_target_has_no_more_series_than_before() -> None:
    assert counted(typical(())).total() <= MOST
    assert counted(typical(CLIENTS)).total() <= MOST_WITH_CLIENTS
