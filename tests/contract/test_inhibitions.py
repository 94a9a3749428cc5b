"""Which alerts the real Alertmanager silences because of others, with the shipped rules."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import yaml

from tests.contract.alertmanager import CONFIG, RULES

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
PATIENCE = 60.0  # seconds for what is done in one
LABELS = {rule["alert"]: rule["labels"] for rule in RULES}

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="alertmanager is not installed; .ci/run installs it")


def ask(url: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - on this machine
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        text = answer.read()
    return json.loads(text) if text else None


@contextmanager
def running(place: Path, config: dict[str, Any]) -> Iterator[str]:
    """The URL of the alerts of one with this configuration."""
    (place / "am.yml").write_text(yaml.safe_dump(config | {"templates": []}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert PROGRAM
    command = [PROGRAM, f"--config.file={place}/am.yml", f"--storage.path={place}/data"]
    command += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://{address}/api/v2/alerts"
        finally:
            process.terminate()


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """The URL of one with the shipped routes and inhibitions, whose receivers send nothing."""
    receivers = [{"name": receiver["name"]} for receiver in CONFIG["receivers"]]
    with running(tmp_path, CONFIG | {"receivers": receivers}) as url:
        yield url


def send(url: str, *alerts: dict[str, str], ended: bool = False) -> None:
    """Send these alerts with the labels of their rules, once it answers."""
    ends = {"endsAt": datetime.now(UTC).isoformat()} if ended else {}
    sent = [{"labels": LABELS[alert["alertname"]] | {"job": "ibkr"} | alert, **ends} for alert in alerts]
    until = time.monotonic() + PATIENCE
    while True:
        try:
            ask(url, sent)
        except OSError:
            assert time.monotonic() < until, "it does not answer"
            time.sleep(0.1)
        else:
            return


def states(url: str, *alerts: dict[str, str]) -> dict[str, str]:
    """Which of these alerts are active, and which suppressed."""
    send(url, *alerts)
    until = time.monotonic() + PATIENCE
    while True:
        listed = ask(url)
        assert isinstance(listed, list)
        found = {each["labels"]["alertname"]: each["status"]["state"] for each in listed}
        if len(found) == len(alerts) and "unprocessed" not in found.values():
            return found
        assert time.monotonic() < until, found
        time.sleep(0.1)


def of_target(alertname: str, target: str) -> dict[str, str]:
    return {"alertname": alertname, "instance": "e", "target": target, "host": target}


def test_a_fleet_silences_no_other_alert(alertmanager: str) -> None:
    """Labels that are missing on both sides count as equal: the alerts about fleets have no target."""
    assert states(
        alertmanager,
        {"alertname": "IbkrUnreachableEverywhere"},
        {"alertname": "IbkrHostDown", "host": "a"},
        {"alertname": "IbkrSessionsFailingEverywhere"},
        {"alertname": "IbkrUpstreamLostEverywhere"},
        of_target("IbkrPortClosed", "b"),
        of_target("IbkrSessionSilent", "c"),
        of_target("IbkrDown", "d"),
        of_target("IbkrUpstreamOverdue", "f"),
    ) == {
        "IbkrUnreachableEverywhere": "active",
        "IbkrHostDown": "active",
        "IbkrSessionsFailingEverywhere": "active",
        "IbkrUpstreamLostEverywhere": "active",
        "IbkrPortClosed": "active",
        "IbkrSessionSilent": "active",
        "IbkrDown": "active",
        "IbkrUpstreamOverdue": "active",
    }


def test_a_page_that_ends_while_a_fleet_is_paged_about_is_resolved_and_the_next_one_is_sent(tmp_path: Path) -> None:
    """Alertmanager would take the next one for a repetition, had it silenced the end of the first."""
    messages: Queue[tuple[str, str]] = Queue()

    class Pager(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in message["alerts"]:
                messages.put((alert["status"], alert["labels"]["alertname"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pager) as pager:
        threading.Thread(target=pager.serve_forever, daemon=True).start()
        hook = {"url": f"http://127.0.0.1:{pager.server_port}/", "send_resolved": True}
        receivers = [{"name": receiver["name"], "webhook_configs": [hook]} for receiver in CONFIG["receivers"]]
        quick = yaml.safe_load(re.sub(r"group_(wait|interval): \w+", r"group_\1: 1s", yaml.safe_dump(CONFIG["route"])))
        single, fleet = of_target("IbkrHandshakeTimeout", "a"), {"alertname": "IbkrApiSilentEverywhere"}
        with running(tmp_path, CONFIG | {"receivers": receivers, "route": quick}) as url:
            for alert, ended in ((single, False), (fleet, False), (single, True), (fleet, True), (single, False)):
                send(url, alert, ended=ended)
                assert messages.get(timeout=PATIENCE) == ("resolved" if ended else "firing", alert["alertname"])
        pager.shutdown()


def test_what_is_further_out_silences_what_lies_behind_it_on_the_same_target_only(alertmanager: str) -> None:
    assert states(
        alertmanager,
        of_target("IbkrPortClosed", "a"),
        of_target("IbkrLibraryFailing", "a"),
        of_target("IbkrSessionSilent", "b"),
        {"alertname": "IbkrApiSilentEverywhere"},
    ) == {
        "IbkrPortClosed": "active",
        "IbkrLibraryFailing": "suppressed",
        "IbkrSessionSilent": "active",
        "IbkrApiSilentEverywhere": "active",
    }
