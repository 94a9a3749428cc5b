"""Driving the stack from outside: Compose, the simulated gateways' modes, Prometheus' answers, the pager's messages."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
FILES = ("-f", "compose.yaml", "-f", "tests/stack/compose.test.yaml", "--profile", "demo")
# Grafana has no stand-in
SERVICES = ("exporter", "prometheus", "alertmanager", "pager", "gateways", "pausing", "pauses", "fleet")
DOCKER = os.environ.get("DOCKER", "docker")
# An imported image has no digest, so it goes by the version alone.
STAND_INS = {
    f"{name.upper()}_IMAGE": re.findall(rf"prom/{name}:[\w.]+", (ROOT / "compose.yaml").read_text("utf-8"))[0]
    for name in ("prometheus", "alertmanager")
}
PROMETHEUS = f"http://127.0.0.1:{os.environ.get('PROMETHEUS_PORT', '9090')}"
ALERTMANAGER = f"http://127.0.0.1:{os.environ.get('ALERTMANAGER_PORT', '9093')}"
EXPORTER = f"http://127.0.0.1:{os.environ.get('EXPORTER_PORT', '9497')}"
PAGER = f"http://127.0.0.1:{os.environ.get('PAGER_PORT', '9499')}"

T = TypeVar("T")


def compose(*arguments: str, files: tuple[str, ...] = FILES, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `docker compose` in the repository; standard output and error together in `stdout`."""
    return subprocess.run(
        [DOCKER, "compose", "--ansi", "never", *files, *arguments],
        cwd=ROOT,
        env={**os.environ, **STAND_INS, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )


def free_ports(*names: str) -> dict[str, str]:
    """Settings with ports that are free on this machine now: the default ones are the stack's of the other tests."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: str(listener.getsockname()[1]) for name, listener in zip(names, taken, strict=True)}


def set_modes(modes: dict[int, str], files: tuple[str, ...] = FILES, **environment: str) -> float:
    """Set the mode of gateways by port, all in one go; gives the unix time of the last one."""
    script = (
        "import sys, time, urllib.request as u\n"
        "for pair in sys.argv[1:]:\n"
        "    port, mode = pair.split('=')\n"
        "    u.urlopen(f'http://127.0.0.1:{int(port) + 1000}/mode?mode={mode}', data=b'', timeout=10)\n"
        "print(time.time())"
    )
    pairs = (f"{port}={mode}" for port, mode in modes.items())
    done = compose("exec", "-T", "gateways", "python", "-c", script, *pairs, files=files, **environment)
    assert done.returncode == 0, done.stdout
    return float(done.stdout)


def fetch(url: str) -> Any:
    """The JSON at an address."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def query(expr: str, prometheus: str = PROMETHEUS) -> list[dict[str, Any]]:
    """An instant query's result."""
    form = urllib.parse.urlencode({"query": expr})
    result: list[dict[str, Any]] = fetch(f"{prometheus}/api/v1/query?{form}")["data"]["result"]
    return result


def messages(pager: str = PAGER) -> list[dict[str, Any]]:
    """All that the pager got, oldest first."""
    got: list[dict[str, Any]] = fetch(f"{pager}/messages")
    return got


def of_job(job: str, since: float = 0.0) -> list[dict[str, Any]]:
    """The messages about the gateways of one job since a moment, oldest first."""
    return [each for each in messages() if each["at"] > since and each["commonLabels"].get("job") == job]


def signal_gateways(
    command: str, ports: Iterable[int], *arguments: str, files: tuple[str, ...] = FILES, **environment: str
) -> str:
    """Stop gateways, let them go on, or pause them (tests/stack/pausing.py); gives what that prints."""
    script = ("exec", "-T", "pausing", "python", "/test/pausing.py", command, *arguments)
    done = compose(*script, *map(str, ports), files=files, **environment)
    assert done.returncode == 0, done.stdout
    return done.stdout


def pages(target: str, since: float, status: str) -> list[dict[str, Any]]:
    """The messages about a target since a moment, in which an alert has this status."""
    return [
        message
        for message in messages()
        if message["at"] > since and message["commonLabels"].get("target") == target and message["status"] == status
    ]


def wait_for(what: str, look: Callable[[], T], seconds: float) -> T:
    """Look every half second until there is something; fail after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.5)
    message = f"{what}: not within {seconds:g} s"
    raise AssertionError(message)
