"""Beside an IB Gateway in a container: two vantage points tell a dead relay from a dead gateway."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from exporter.schedule import WATCHED_SPACING
from tests.stack.containers import compose, fetch, query, wait_for

FILES = (
    *("--project-name", "ibkr-beside", "-f", "compose.yaml", "-f", "deploy/compose.ib-gateway.yaml"),
    *("-f", "tests/stack/compose.beside.yaml"),
)
PORTS = {"EXPORTER_PORT": "19497", "PROMETHEUS_PORT": "19090"}  # beside the stack of the other tests
PROMETHEUS = "http://127.0.0.1:19090"
SEEN = 45.0  # seconds: an interval, its deadline and a scrape, and once more
# The connection of the watch outlives the listener of the relay, so that only a probe can tell: every fourth interval.
SEEN_BY_A_PROBE = WATCHED_SPACING * 15.0 + SEEN


@pytest.fixture(scope="module", autouse=True)
def beside() -> Iterator[None]:
    """The gateway with its relay, both exporters, and Prometheus."""
    try:
        done = compose("up", "--detach", "--wait", "--pull", "never", *SERVICES, files=FILES, **PORTS)
        assert done.returncode == 0, done.stdout + compose("logs", "--tail", "30", files=FILES, **PORTS).stdout
        yield
    finally:
        compose("down", "--volumes", "--timeout", "5", files=FILES, **PORTS)


SERVICES = ("ib-gateway", "exporter", "inside", "prometheus")


def verdicts() -> dict[str, str]:
    """The present verdict of each target, as Prometheus has it."""
    return {
        row["metric"]["target"]: row["metric"]["verdict"] for row in query("ibkr_verdict == 1", prometheus=PROMETHEUS)
    }


def are(relay: str, inner: str) -> bool:
    return verdicts() == {"relay-paper": relay, "inner-paper": inner}


def inside_the_gateway(script: str) -> None:
    done = compose("exec", "-T", "ib-gateway", "python", "-c", script, files=FILES, **PORTS)
    assert done.returncode == 0, done.stdout


def test_with_relay_and_gateway_up_both_are_healthy_and_both_exporters_are_scraped() -> None:
    wait_for("both healthy", partial(are, "healthy", "healthy"), SEEN)
    targets: list[dict[str, Any]] = fetch(f"{PROMETHEUS}/api/v1/targets")["data"]["activeTargets"]
    up = {target["labels"]["instance"] for target in targets if target["labels"]["job"] == "ibkr"}
    assert up == {"exporter:9497", "ib-gateway:9498"}


def test_a_dead_gateway_behind_a_living_relay_is_told_from_both_sides() -> None:
    mode = "import urllib.request as u; u.urlopen('http://127.0.0.1:5002/mode?mode={}', data=b'')"
    inside_the_gateway(mode.format("refused"))
    wait_for("the gateway down", partial(are, "closed_before_handshake", "port_closed"), SEEN)
    inside_the_gateway(mode.format("ok"))
    wait_for("both healthy", partial(are, "healthy", "healthy"), SEEN)


def test_a_dead_relay_before_a_living_gateway_is_the_relay() -> None:
    inside_the_gateway("open('/tmp/no-relay', 'w')")
    wait_for("the relay down", partial(are, "port_closed", "healthy"), SEEN_BY_A_PROBE)
