"""Which alerts the real Alertmanager silences because of others, with the shipped rules."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """The URL of one with the shipped routes and inhibitions, whose receivers send nothing."""
    receivers = [{"name": receiver["name"]} for receiver in CONFIG["receivers"]]
    (tmp_path / "am.yml").write_text(yaml.safe_dump(CONFIG | {"templates": [], "receivers": receivers}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert PROGRAM
    command = [PROGRAM, f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}/data"]
    command += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            yield f"http://{address}/api/v2/alerts"
        finally:
            running.terminate()


def states(url: str, *alerts: dict[str, str]) -> dict[str, str]:
    """Send these alerts with the labels of their rules; which of them are active, and which suppressed."""
    sent = [{"labels": LABELS[alert["alertname"]] | {"job": "ibkr"} | alert} for alert in alerts]
    until = time.monotonic() + PATIENCE
    while True:
        try:
            ask(url, sent)
            break
        except OSError:
            assert time.monotonic() < until, "it does not answer"
            time.sleep(0.1)
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


def test_a_fleet_silences_its_own_single_alerts_and_no_fleet_of_another_layer(alertmanager: str) -> None:
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
    ) == {
        "IbkrUnreachableEverywhere": "active",
        "IbkrHostDown": "suppressed",
        "IbkrSessionsFailingEverywhere": "active",
        "IbkrUpstreamLostEverywhere": "active",
        "IbkrPortClosed": "suppressed",
        "IbkrSessionSilent": "suppressed",
        "IbkrDown": "active",
    }


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
