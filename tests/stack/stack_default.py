"""What a user gets who names one gateway and nothing else: the shipped compose.yaml and image, no file of the tests' own.

The simulated gateways of the profile `demo` stand for the gateway; IB_HOST and IB_PORT name the first.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.draw.draw import DASHBOARDS, answers
from tests.stack import figures
from tests.stack.containers import DOCKER, compose, fetch, free_ports, query, wait_for

PROJECT = "ibkr-default"
FILES = ("--project-name", PROJECT, "-f", "compose.yaml", "--profile", "demo")
SETTINGS = {
    **free_ports("EXPORTER_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "PAGER_PORT"),
    "IB_HOST": "gateways",
    "IB_PORT": "7001",
    "FLEET_ARGS": "--steady",
}
PROMETHEUS = f"http://127.0.0.1:{SETTINGS['PROMETHEUS_PORT']}"
SERVICES = ("exporter", "prometheus", "alertmanager", "pager", "gateways")  # Grafana has no stand-in
LIBRARIES = {"ibapi", "ib_insync", "ib_async"}  # what the image has by default
TRIED = 200.0  # seconds: each library within its first interval of a minute, one after the other, and a scrape
FAILURES = "Failed client probes"  # the one panel that is empty while all is well
MINUTE = 60.0
CHECKS, CHECKS_A_MINUTE = 10, 2
MOST_A_MINUTE = 1.0  # seconds: twice a tenth of what it was, on a machine with other work


@pytest.fixture(scope="module", autouse=True)
def default() -> Iterator[None]:
    """The stack as it is shipped."""
    try:
        done = compose("up", "--detach", "--wait", "--pull", "never", *SERVICES, files=FILES, **SETTINGS)
        assert done.returncode == 0, done.stdout + compose("logs", "--tail", "30", files=FILES, **SETTINGS).stdout
        yield
    finally:
        compose("down", "--volumes", "--timeout", "5", files=FILES, **SETTINGS)


def tried() -> set[str]:
    """The libraries that were answered by the gateway."""
    return {row["metric"]["client"] for row in query("ibkr_client_success == 1", prometheus=PROMETHEUS)}


def test_every_library_of_the_image_is_tried_without_a_configuration() -> None:
    wait_for("every library tried", lambda: tried() >= LIBRARIES, TRIED)


def test_the_libraries_dashboard_is_filled() -> None:
    wait_for("every library tried", lambda: tried() >= LIBRARIES, TRIED)
    board: dict[str, Any] = json.loads((DASHBOARDS / "libraries.json").read_text("utf-8"))

    def empty() -> list[str]:
        found = answers(board, PROMETHEUS, 15 * MINUTE, ".+")["results"]
        return [
            panel["title"]
            for panel in board["panels"]
            for index, _ in enumerate(panel.get("targets", ()))
            if not found[f"{panel['id']}/{index}"] and panel["title"] != FAILURES
        ]

    wait_for(f"data in every panel, none in {empty()}", lambda: not empty(), 2 * MINUTE)


def test_nobody_is_paged_about_a_gateway() -> None:
    messages = fetch(f"http://127.0.0.1:{SETTINGS['PAGER_PORT']}/messages")
    about = [message["commonLabels"] for message in messages if "target" in message["commonLabels"]]
    assert about == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_health_check_costs_little(service: str) -> None:
    """What so many checks use, run one after the other, less what the service uses by itself in the same time."""
    identity = inspect(service, "{{.Id}}")
    command = json.loads(inspect(service, "{{json .Config.Healthcheck.Test}}"))
    before, began = used(identity), time.monotonic()
    for _ in range(CHECKS):
        subprocess.run([DOCKER, "exec", identity, *command[1:]], capture_output=True, check=True)
    spent, took = used(identity) - before, time.monotonic() - began
    before = used(identity)
    time.sleep(took)
    idle = used(identity) - before
    a_minute = max(0.0, spent - idle) / CHECKS * CHECKS_A_MINUTE
    figures.keep(f"health checks of {service}: CPU a minute", f"{a_minute:.2f} s")
    assert a_minute < MOST_A_MINUTE, "4.75 s is what one every 5 s with urllib took"


def inspect(service: str, form: str) -> str:
    """What Docker says of the service's container."""
    shown = [DOCKER, "inspect", "--format", form, f"{PROJECT}-{service}-1"]
    return subprocess.run(shown, capture_output=True, text=True, check=True).stdout.strip()


def used(identity: str) -> float:
    """Seconds of CPU that a container has used, its health checks included."""
    for path in Path("/sys/fs/cgroup").glob(f"**/*{identity}*"):
        if (usage := path / "cpuacct.usage").exists():
            return int(usage.read_text()) / 1e9
        if (stat := path / "cpu.stat").exists() and "usage_usec" in stat.read_text():
            return int(stat.read_text().split()[1]) / 1e6
    message = "no account of the container's CPU"
    raise AssertionError(message)
