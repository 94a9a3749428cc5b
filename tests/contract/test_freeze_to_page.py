"""From freeze to page: the worst cases of what is shipped, added up, are at most thirty seconds, as docs/stack.md says."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.rules import thresholds
from exporter.model.target import DEADLINE, INTERVAL
from exporter.probes import download
from exporter.service.schedule import grace_seconds
from exporter.service.watch import HEARTBEAT_TIMINGS
from exporter.state.fold_watch import CONFIRMATION
from exporter.state.target import PAUSE

ROOT = Path(__file__).parents[2]
WITHIN = 30.0
SETTLING = 0.5  # seconds: three waits between the parts of a download, and ending its session


def seconds(text: str) -> float:
    return float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / "deploy" / path).read_text(encoding="utf-8"))


def from_pause_to_page() -> list[float]:
    """What comes once a handshake has stayed unanswered: the end of a pause, scrape, rules, Alertmanager."""
    job = next(job for job in read("prometheus/prometheus.yml")["scrape_configs"] if job["job_name"] == "ibkr")
    group = next(each for each in read("prometheus/rules/pages.yml")["groups"] if each["name"] == "ibkr-silence")
    alert = next(rule for rule in group["rules"] if rule.get("alert") == "IbkrHandshakeTimeout")
    routes = read("alertmanager/alertmanager.yml")["route"]["routes"]
    pager = next(each for each in routes if 'severity="critical"' in each["matchers"])
    configured = (job["scrape_interval"], group["interval"], alert["for"], pager["group_wait"])
    return [PAUSE, *map(seconds, configured)]


def watched() -> float:
    """A heartbeat stays unanswered, and a client probe is stopped for the handshake that follows."""
    late = HEARTBEAT_TIMINGS.heartbeat + HEARTBEAT_TIMINGS.late
    return late + CONFIRMATION / 2 + sum(from_pause_to_page())


def unwatched(interval: float) -> float:
    """The next tick comes, and waits for a client probe where it does."""
    return interval + grace_seconds(interval, DEADLINE) + sum(from_pause_to_page())


def test_a_page_comes_within_thirty_seconds_with_the_watch_and_without_beside_libraries_and_not() -> None:
    assert watched() <= WITHIN
    assert max(unwatched(interval) for interval in (1.0, 5.0, 10.0, 12.5, 14.0, INTERVAL)) <= WITHIN


def test_a_watched_gateway_that_is_slow_by_habit_pages_within_thirty_seconds_too() -> None:
    """Its heartbeats are late after the deadline, and what confirms that has all of it."""
    _, late, _, _ = HEARTBEAT_TIMINGS.deadlines(usual=DEADLINE, most=DEADLINE)
    assert HEARTBEAT_TIMINGS.heartbeat + late + DEADLINE / 2 + sum(from_pause_to_page()) <= WITHIN


def test_a_download_gives_a_frozen_gateways_endpoint_back_before_the_next_probe_can_be_later_than_an_interval() -> None:
    assert download.PATIENCE + download.SPACING + download.LIVENESS + SETTLING <= INTERVAL
    assert DEADLINE <= INTERVAL, "before its session begins"


def test_a_page_waits_for_longer_than_a_pause_and_the_exporter_probes_on_for_as_long() -> None:
    assert float(thresholds.PAUSE.value) < PAUSE


@pytest.mark.parametrize("page", ["docs/stack.md", "deploy/rules/thresholds.py"])
def test_the_documented_sums_are_these(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.search(rf"\b{watched():g}[ *|]+{unwatched(INTERVAL):g}\b", text)
