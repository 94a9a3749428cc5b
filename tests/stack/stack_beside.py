"""Beside an IB Gateway in a container: two vantage points tell a dead relay from a dead gateway."""

import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from exporter.service.schedule import WATCHED_SPACING
from tests.stack.containers import DOCKER, compose, fetch, free_ports, query, wait_for

FILES = (
    *("--project-name", "ibkr-beside", "-f", "compose.yaml", "-f", "deploy/compose.ib-gateway.yaml"),
    *("-f", "tests/stack/compose.beside.yaml"),
)
SETTINGS = {**free_ports("EXPORTER_PORT", "PROMETHEUS_PORT"), "TWS_USERID": "trader"}  # which has no default
PROMETHEUS = f"http://127.0.0.1:{SETTINGS['PROMETHEUS_PORT']}"
# inside.py has patience for 15 s and looks every 10 s; the exporter may take 10 s to end; and a start
ENDED_AND_STARTED = 15.0 + 2 * 10.0 + 10.0 + 10.0
SEEN = 45.0  # seconds: an interval, its deadline and a scrape, and once more
# The connection of the watch outlives the listener of the relay, so that only a probe can tell: every fourth interval.
SEEN_BY_A_PROBE = WATCHED_SPACING * 15.0 + SEEN


@pytest.fixture(scope="module", autouse=True)
def beside() -> Iterator[None]:
    """The gateway with its relay, both exporters, and Prometheus."""
    try:
        done = compose("up", "--detach", "--wait", "--pull", "never", *SERVICES, files=FILES, **SETTINGS)
        assert done.returncode == 0, done.stdout + compose("logs", "--tail", "30", files=FILES, **SETTINGS).stdout
        yield
    finally:
        compose("down", "--volumes", "--timeout", "5", files=FILES, **SETTINGS)


SERVICES = ("ib-gateway", "exporter", "inside", "prometheus")


def verdicts() -> dict[str, str]:
    """The present verdict of each target, as Prometheus has it."""
    return {
        row["metric"]["target"]: row["metric"]["verdict"] for row in query("ibkr_verdict == 1", prometheus=PROMETHEUS)
    }


def are(relay: str, inner: str) -> bool:
    return verdicts() == {"relay-paper": relay, "inner-paper": inner}


def inside_the_gateway(script: str) -> None:
    done = compose("exec", "-T", "ib-gateway", "python", "-c", script, files=FILES, **SETTINGS)
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


def test_the_phase_of_the_login_is_read_where_the_gateway_writes_its_log() -> None:
    phase = 'ibkr_login_phase{phase="logged_in"} == 1'
    wait_for("the phase", lambda: len(query(phase, prometheus=PROMETHEUS)) == 2, SEEN)


def test_a_gateway_whose_container_is_started_again_is_seen_from_the_inside_again() -> None:
    """Docker gives it a new network, and leaves the second exporter alone in the old one."""
    done = subprocess.run([DOCKER, "restart", "-t", "2", "ibkr-beside-ib-gateway-1"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    wait_for("the exporter inside gone", lambda: "inner-paper" not in verdicts(), SEEN)
    wait_for("both healthy", partial(are, "healthy", "healthy"), ENDED_AND_STARTED + SEEN_BY_A_PROBE)


def test_a_dead_relay_before_a_living_gateway_is_the_relay() -> None:
    inside_the_gateway("open('/tmp/no-relay', 'w')")
    wait_for("the relay down", partial(are, "port_closed", "healthy"), SEEN_BY_A_PROBE)
