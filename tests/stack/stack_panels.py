"""Every query of every panel, run against the Prometheus that scraped the real exporter, returns data."""

import json
import math
import re
import time
from functools import partial
from typing import Any

import pytest

from dashboards.draw.draw import DASHBOARDS, answers
from tests.stack.containers import PROMETHEUS, fetch, query, set_modes, wait_for

WATCHED, LIBRARY = 7001, 7013  # ports of tests/stack/exporter.yaml
FAILED = 120.0  # seconds: a client's interval and deadline, a scrape, and once more
SPANS = 330.0  # seconds: the recordings over long spans are made every five minutes
QUARTER, DAYS = 15 * 60.0, 5 * 86400.0  # seconds: what is always there, and back over a long weekend


@pytest.fixture(scope="module")
def boards(stack: None) -> dict[str, dict[str, Any]]:
    """Every dashboard by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))}


@pytest.fixture(scope="module")
def failures(stack: None) -> None:
    """A gateway that was silent and a library that fails, for the panels that show failures."""
    set_modes({WATCHED: "silent", LIBRARY: "split_reply"})
    try:
        for layer in ("handshake", "client"):
            failed = f'increase(ibkr_probe_failures_total{{layer="{layer}"}}[5m]) > 0'
            wait_for(f"a failure of the layer {layer}", partial(query, failed), FAILED)
    finally:
        set_modes({WATCHED: "ok", LIBRARY: "ok"})
    well = 'ibkr_up{target="watched"} == 1 and on () ibkr_up{target="library"} == 1'
    wait_for("both well again", partial(query, well), FAILED)


@pytest.mark.usefixtures("failures")
def test_every_query_of_every_panel_returns_data(boards: dict[str, dict[str, Any]]) -> None:
    counted, empty = ask(boards)
    end = time.monotonic() + SPANS
    while empty and time.monotonic() < end:
        time.sleep(10)
        counted, empty = ask(boards)
    print(f"{counted} queries of {len(boards)} dashboards")
    assert empty == []


def ask(boards: dict[str, dict[str, Any]]) -> tuple[int, list[str]]:
    """How many queries there are, and those without data."""
    counted, empty = 0, []
    for name, board in boards.items():
        gateway = "watched|library" if name == "gateway" else ".+"  # the others show all by default
        found = answers(board, PROMETHEUS, QUARTER, gateway)["results"]
        longer = answers(board, PROMETHEUS, DAYS, gateway)["results"]
        for panel in board["panels"]:
            for index, target in enumerate(panel.get("targets", ())):
                counted += 1
                rare = re.search("trading|_budget", target["expr"])
                result = (longer if rare else found)[f"{panel['id']}/{index}"]
                if not any(has_value(row) for row in result):
                    empty.append(f"{name}: {panel['title']}: {target['expr']}")
    return counted, empty


def has_value(row: dict[str, Any]) -> bool:
    """Whether a result has a number in it."""
    return any(not math.isnan(float(value)) for _, value in row.get("values") or [row["value"]])


def test_every_variable_has_values(boards: dict[str, dict[str, Any]]) -> None:
    for board in boards.values():
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            selector, label = variable["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            expr = selector.replace("$job", ".+").replace("$instance", ".+")
            assert {row["metric"].get(label) for row in query(expr)} - {None}, variable["query"]


def test_every_rule_is_evaluated_without_an_error(stack: None) -> None:
    groups = fetch(f"{PROMETHEUS}/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    # `unknown` is a rule that was not evaluated yet: some are once an hour
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] not in {"ok", "unknown"}] == []
    assert len(rules) > 40
    slowest = max(rules, key=lambda rule: float(rule["evaluationTime"]))
    print(f"{len(rules)} rules; the slowest took {1000 * float(slowest['evaluationTime']):.1f} ms: {slowest['name']}")


def test_prometheus_drops_and_refuses_nothing(stack: None) -> None:
    for bad in (
        "prometheus_target_scrapes_sample_duplicate_timestamp_total",
        "prometheus_target_scrapes_sample_out_of_order_total",
        "increase(prometheus_notifications_dropped_total[3m])",  # the first ones, before Alertmanager was up, are none
        "prometheus_rule_evaluation_failures_total",
    ):
        assert [row for row in query(bad) if row["value"][1] != "0"] == [], bad
