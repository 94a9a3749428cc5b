"""Round the loop with the real compose.yaml: a gateway freezes, a page arrives, it recovers, "resolved" arrives."""

import json
import re
import time
import urllib.request
from functools import partial
from typing import Any

import pytest

from tests.stack import containers
from tests.stack.containers import (
    ALERTMANAGER,
    EXPORTER,
    PROMETHEUS,
    compose,
    fetch,
    of_job,
    pages,
    query,
    set_modes,
    wait_for,
)

WATCHED, UNWATCHED, LIBRARY = 7001, 7002, 7013
WITHIN = 30.0  # seconds from freeze to page
ROUNDS = 2
GATEWAYS = 13
JOBS = {"ibkr", "ibkr-details", "prometheus", "alertmanager", "pauses", "fleet"}

# port: the target, the simulator's mode, the alert that is due, its verdict
FAILURES = {
    7003: ("refused", "refused", "IbkrPortClosed", "port_closed"),
    7004: ("relay", "relay", "IbkrClosedBeforeHandshake", "closed_before_handshake"),
    7005: ("backlog-full", "backlog_full", "IbkrUnreachable", "unreachable"),
    7006: ("http", "http", "IbkrNotTheApi", "not_tws_api"),
    7007: ("redirect", "redirect", "IbkrServerRedirect", "server_redirect"),
    7008: ("too-old", "too_old", "IbkrServerTooOld", "server_too_old"),
    7009: ("session-silent", "handshake_then_silence", "IbkrSessionSilent", "session_silent"),
    7010: ("stalled", "requests_unanswered", "IbkrSessionStalled", "session_stalled"),
    7011: ("session-refused", "close_after_start_api", "IbkrSessionRefused", "session_refused"),
    7012: ("upstream-lost", "upstream_lost", "IbkrUpstreamLost", "upstream_down"),
}
# Seconds, each the worst case by the shipped timings and about half of it again for a machine with other work.
HEALTHY = 60.0  # the first probes start within 2 s, a session takes 3, and a scrape
LONGEST_WAIT = 240.0  # upstream_lost waits 180, and its probe and page come on top
OVER = 120.0  # an interval and a deadline, scrape and evaluation, kept firing for 30, and Alertmanager's interval: 62
ONE_MESSAGE = 30.0  # Alertmanager's wait of 3


pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture(scope="module")
def failed() -> float:
    """The moment at which ten gateways began to fail, each in its own way, and one library with another gateway."""
    wait_for("all healthy", lambda: healthy() == GATEWAYS, HEALTHY)
    return set_modes({port: mode for port, (_, mode, _, _) in FAILURES.items()} | {LIBRARY: "split_reply"})


def test_prometheus_scrapes_the_exporter_by_the_name_of_its_service() -> None:
    wait_for("the first scrape", lambda: query('up{job="ibkr", instance="exporter:9497"} == 1'), 20)
    wait_for("every job up", lambda: {target["health"] for target in scraped()} == {"up"}, 30)
    assert {target["labels"]["job"] for target in scraped()} == JOBS


def test_every_gateway_of_the_fleet_is_healthy_and_nobody_is_paged() -> None:
    wait_for("all healthy", lambda: healthy() == GATEWAYS, HEALTHY)
    assert [message["commonLabels"] for message in of_job("ibkr")] == []


def test_a_frozen_gateway_is_a_page_within_thirty_seconds_and_its_recovery_is_told(failed: float) -> None:
    """Watched and unwatched at once, several times, so that the phases of all the clocks differ.

    Meanwhile the ten others fail, which must change nothing.
    """
    took: dict[str, list[float]] = {"watched": [], "unwatched": []}
    for round_ in range(ROUNDS):
        time.sleep(3.7 * round_)  # another phase of the intervals
        frozen = set_modes({WATCHED: "silent", UNWATCHED: "silent"})
        for name, times in took.items():
            page = wait_for(f"the page for {name}", partial(pages, name, frozen, "firing"), WITHIN + 15)[0]
            times.append(page["at"] - frozen)
            check_page(page, name)
        recovered = set_modes({WATCHED: "ok", UNWATCHED: "ok"})
        for name in took:
            over = wait_for(f"resolved for {name}", partial(pages, name, recovered, "resolved"), OVER)
            print(f"{name}: resolved {over[0]['at'] - recovered:.1f} s after the recovery")
    for name, times in took.items():
        print(f"{name}: from freeze to page {', '.join(f'{seconds:.1f}' for seconds in times)} s (at most {WITHIN:g})")
    assert max(max(times) for times in took.values()) <= WITHIN


def check_page(page: dict[str, object], name: str) -> None:
    """Verdict, remedy, runbook and dashboard are in the page's text; the runbook link works."""
    alerts = page["alerts"]
    assert isinstance(alerts, list)
    (alert,) = alerts
    assert alert["labels"]["alertname"] == "IbkrHandshakeTimeout"
    text = alert["annotations"]["description"]
    assert f"{name} (gateways:" in text
    assert "verdict api_silent" in text
    assert re.search(r"The last handshake that worked was at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.", text)
    assert alert["annotations"]["page_url"] == f"{EXPORTER}/targets/{name}"
    assert "Enable ActiveX and Socket Clients" in text
    assert alert["annotations"]["runbook_url"] == f"{EXPORTER}/runbooks/api_silent"
    assert "var-target=" + name in alert["annotations"]["dashboard_url"]
    with urllib.request.urlopen(alert["annotations"]["runbook_url"], timeout=10) as runbook:
        assert "api_silent" in runbook.read().decode()


def test_ten_failures_at_once_are_ten_notifications(failed: float) -> None:
    for name, _, alert, verdict in FAILURES.values():
        page = wait_for(f"the page for {name}", partial(pages, name, failed, "firing"), LONGEST_WAIT)[0]
        named = {(each["labels"]["alertname"], each["labels"]["verdict"]) for each in page["alerts"]}
        assert named == {(alert, verdict)}, f"{name}: {named}"
        print(f"{name}: {alert} after {page['at'] - failed:.1f} s")
    time.sleep(15)  # whatever else would be sent about them has time to come
    recovered = set_modes(dict.fromkeys(FAILURES, "ok"))
    for name, *_ in FAILURES.values():
        wait_for(f"resolved for {name}", partial(pages, name, recovered, "resolved"), OVER)
    for name, *_ in FAILURES.values():
        told = [message["status"] for message in about(name, failed)]
        assert told == ["firing", "resolved"], f"{name} was told of as {told}"
    frozen = {"watched", "unwatched"}
    others = [each["commonLabels"] for each in of_job("ibkr", failed) if each["receiver"] == "pager"]
    assert {labels.get("target") for labels in others} == frozen | {name for name, *_ in FAILURES.values()}, others


def test_a_library_at_fault_is_a_ticket_that_names_it_and_no_page(failed: float) -> None:
    """A reply in two segments is too much for ibapi (a fault of its own) and nothing for the others."""
    # Two tries that fail make 70 s at most, each with a wait for the wire 95 s; then 180 s of the rule, 30 s of the group.
    ticket = wait_for("the ticket", partial(pages, "library", failed, "firing"), 360)[0]
    print(f"library: a ticket after {ticket['at'] - failed:.1f} s")
    assert ticket["receiver"] == "tickets"
    (alert,) = ticket["alerts"]
    assert alert["labels"]["alertname"] == "IbkrLibraryFailing"
    assert "Failing: ibapi (ibapi 10." in alert["annotations"]["description"]
    assert "ib_async" not in alert["annotations"]["description"]
    assert {message["receiver"] for message in about("library", failed)} == {"tickets"}


def test_a_restart_of_the_exporter_while_a_gateway_is_frozen_is_no_message() -> None:
    """Neither that it got well, nor a second page: it is the same failure as before."""
    frozen = set_modes({WATCHED: "silent"})
    wait_for("the page", partial(pages, "watched", frozen, "firing"), WITHIN + 15)
    done = compose("restart", "--timeout", "5", "exporter")
    assert done.returncode == 0, done.stdout
    wait_for("silent again", lambda: query('ibkr_verdict{target="watched", verdict="api_silent"} == 1'), HEALTHY)
    time.sleep(45)  # longer than an alert outlasts its cause: 15 s of failed scrapes, and 30 s
    assert [message["status"] for message in about("watched", frozen)] == ["firing"]
    recovered = set_modes({WATCHED: "ok"})
    wait_for("resolved", partial(pages, "watched", recovered, "resolved"), OVER)


LADDER = ("network", "port", "handshake", "session", "upstream", "client", "quality")
SILENCING = LADDER[:5]


def test_of_all_rungs_of_the_ladder_at_once_only_the_outermost_is_a_message() -> None:
    """Posted to the real Alertmanager, one made-up gateway for each rung, with alerts on that rung and all behind it."""
    began = time.time()
    post([rung_alert(layer, rung) for index, rung in enumerate(SILENCING) for layer in LADDER[index:]])
    for rung in SILENCING:
        wait_for(f"the message from {rung}", partial(about, f"from-{rung}", began), ONE_MESSAGE)
    time.sleep(10)
    for rung in SILENCING:
        told = [[each["labels"]["layer"] for each in message["alerts"]] for message in about(f"from-{rung}", began)]
        assert told == [[rung]], rung


def rung_alert(layer: str, rung: str) -> dict[str, Any]:
    """An alert on a layer about the gateway whose outermost fault is on a rung."""
    labels = {"alertname": f"IbkrOn{layer}", "layer": layer, "severity": "critical"}
    return {
        "labels": {**labels, "job": "ibkr", "instance": "e", "target": f"from-{rung}", "gateway": f"from-{rung}"},
        "annotations": {},
    }


def post(alerts: list[dict[str, Any]]) -> None:
    """Hand alerts to Alertmanager as Prometheus does."""
    request = urllib.request.Request(
        f"{ALERTMANAGER}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_alertmanager_sent_all_of_it_and_failed_at_nothing() -> None:
    with urllib.request.urlopen(f"{ALERTMANAGER}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    failed = [
        line for line in lines if line.startswith("alertmanager_notifications_failed_total") and not line.endswith(" 0")
    ]
    assert failed == []


def test_the_containers_run_as_nobody_in_particular_with_a_root_that_cannot_be_written() -> None:
    done = compose("exec", "-T", "exporter", "python", "-c", HARDENED)
    assert done.stdout.strip() == "10001 0000000000000000 read-only", done.stdout


HARDENED = """
import os
caps = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('CapEff'))
try:
    open('/opt/probe', 'w')
    root = 'writable'
except OSError as error:
    root = 'read-only' if error.errno in (13, 30) else str(error)
print(os.getuid(), caps, root)
"""


def about(target: str, since: float) -> list[dict[str, Any]]:
    """Every message about a target since a moment."""
    return [
        each for each in containers.messages() if each["at"] > since and each["commonLabels"].get("target") == target
    ]


def scraped() -> list[dict[str, Any]]:
    """What Prometheus scrapes."""
    targets: list[dict[str, Any]] = fetch(f"{PROMETHEUS}/api/v1/targets")["data"]["activeTargets"]
    return targets


def healthy() -> int:
    """How many gateways are healthy now, by the exporter's own account."""
    found = query('sum(ibkr_verdict{job="ibkr", verdict="healthy"})')
    return int(float(found[0]["value"][1])) if found else 0
