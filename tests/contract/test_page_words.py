"""What a page says: the first line on a lock screen, the text below it, and of an end no more than is known."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.pager.pager import page
from deploy.rules.fleets import FLEETS
from tests.contract.alertmanager import PLACE, RULES, amtool, needs_amtool


def notification(status: str = "firing", **labels: str) -> dict[str, Any]:
    """What Alertmanager hands to a template and to a webhook."""
    alert = {
        "status": status,
        "labels": {"alertname": "IbkrX", "severity": "critical", "job": "ibkr", **labels},
        "annotations": {
            "summary": "The API does not answer the handshake",
            "action": "Answer a dialog; else toggle its API port.",
            "description": "paper (127.0.0.1:7497, paper): verdict api_silent. What to do:\n1. Look.",
            "since": "14:02:11 UTC",
            "page_url": "http://127.0.0.1:9497/targets/paper",
            "runbook_url": "http://127.0.0.1:9497/runbooks/api_silent",
            "dashboard_url": "http://127.0.0.1:3000/d/ibkr-gateway",
        },
        "startsAt": "2026-11-21T14:02:25Z",
        "endsAt": "2026-11-21T14:09:51Z",
    }
    return {
        "receiver": "pager",
        "status": status,
        "alerts": [alert],
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
    }


def rendered(template: str, message: dict[str, Any], tmp_path: Path) -> str:
    data = tmp_path / "data.json"
    data.write_text(json.dumps(message), encoding="utf-8")
    text = f'{{{{ template "{template}" . }}}}'
    glob = f"--template.glob={PLACE}/templates/*.tmpl"
    return amtool(
        "template", "render", glob, "--template.type=text", f"--template.data={data}", f"--template.text={text}"
    )


@needs_amtool
def test_a_lock_screen_shows_which_gateway_what_since_when_and_what_to_do(tmp_path: Path) -> None:
    message = notification(target="paper", verdict="api_silent")
    title = rendered("ibkr.title", message, tmp_path)
    assert title == "CRITICAL paper: api_silent since 14:02:11 UTC. Answer a dialog; else toggle its API port."
    assert page(message).splitlines()[0] == title, "the stand-in for a telephone shows the same"
    text = rendered("ibkr.text", message, tmp_path)
    assert "Now: http://127.0.0.1:9497/targets/paper\n" in text
    assert "Runbook: http://127.0.0.1:9497/runbooks/api_silent\n" in text


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule["alert"] != "Watchdog"], ids=lambda rule: rule["alert"]
)
def test_the_longest_title_of_every_alert_ends_within_a_lock_screen(rule: dict[str, Any]) -> None:
    """120 characters, where the gateway, the host or the exporter has a name of twenty."""
    about = {"instance": "n" * 20} if rule["alert"] not in OF_ALL else {}
    if verdict := re.match(r'target:ibkr_(?:verdict:last|silent:verdict)\{verdict="(\w+)"', rule["expr"].strip("( \n")):
        about["verdict"] = verdict[1]
    message = notification(**rule["labels"], **about)
    message["alerts"][0]["annotations"] |= {key: rule["annotations"][key] for key in ("summary", "action")}
    title = page(message).splitlines()[0]
    assert "{{" not in title
    assert len(title) <= 120, title


OF_ALL = {"IbkrDownEverywhere", *(fleet.name for fleet in FLEETS if fleet.scope == "job")}


@needs_amtool
@pytest.mark.parametrize("label", ["host", "instance"])
def test_a_title_about_no_gateway_says_which_host_or_which_of_two_exporters(tmp_path: Path, label: str) -> None:
    message = notification(**{"instance": "exporter-b:9497", label: "that.one"})
    title = rendered("ibkr.title", message, tmp_path)
    assert title.startswith("CRITICAL that.one: The API does not answer the handshake since")
    assert page(message).splitlines()[0] == title


@needs_amtool
def test_an_end_says_no_more_than_is_known(tmp_path: Path) -> None:
    """Alertmanager ends an alert too when Prometheus has ended."""
    message = notification("resolved", target="paper", verdict="api_silent")
    title = rendered("ibkr.title", message, tmp_path)
    assert title == "ENDED paper: api_silent, no longer reported since 14:09:51 UTC"
    assert page(message).splitlines()[0] == title
    text = rendered("ibkr.text", message, tmp_path)
    assert "That is all that is known here: if Prometheus ended, it looks the same." in text
    assert "http://127.0.0.1:9497/targets/paper" in text
    assert not re.search("resolved|recovered|healthy", title + text, re.IGNORECASE)


@needs_amtool
def test_an_alert_about_no_target_has_its_summary_in_the_title(tmp_path: Path) -> None:
    message = notification()
    message["alerts"][0]["annotations"].pop("since")
    title = rendered("ibkr.title", message, tmp_path)
    assert title.startswith("CRITICAL The API does not answer the handshake since 14:02:25 UTC. Answer")
    assert page(message).splitlines()[0] == title
