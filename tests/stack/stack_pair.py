"""Two of everything, as deploy/compose.high-availability.yaml has it: no page comes twice, whatever of it ends."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from deploy.rules.thresholds import ANEW
from tests.stack import figures
from tests.stack.containers import compose, fetch, free_ports, messages, query, set_modes, wait_for

FILES = (
    *("--project-name", "ibkr-pair", "-f", "compose.yaml", "-f", "deploy/compose.high-availability.yaml"),
    *("-f", "tests/stack/compose.pair.yaml", "--profile", "demo"),
)
SETTINGS = {
    **free_ports("EXPORTER_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "PAGER_PORT"),
    **free_ports("EXPORTER_B_PORT", "PROMETHEUS_B_PORT", "ALERTMANAGER_B_PORT"),
    "FLEET_ARGS": "--steady",
}
SERVICES = (
    "exporter",
    "exporter-b",
    "prometheus",
    "prometheus-b",
    "alertmanager",
    "alertmanager-b",
    "pager",
    "gateways",
)
PAGER, PROMETHEUS, PROMETHEUS_B, ALERTMANAGER = (
    f"http://127.0.0.1:{SETTINGS[name]}"
    for name in ("PAGER_PORT", "PROMETHEUS_PORT", "PROMETHEUS_B_PORT", "ALERTMANAGER_PORT")
)
FROZEN, TARGETS, ROUNDS = 7001, 3, 2
OURS = {"9001", "9002", "9003", "9011", "9012", "9013"}
PAGED = 60.0  # seconds: 30, 5 more where one of Alertmanager's two has just ended, and a machine with other work
OVER = 150.0
ANOTHER = 25.0  # seconds in which a second page would have come: scrape, rules, both Alertmanager's waits


@pytest.fixture(scope="module", autouse=True)
def pair() -> Iterator[None]:
    """Both halves, with all well."""
    try:
        # The gateways first: one that was shut a moment ago is starting, and is given two minutes.
        for services in (("gateways",), SERVICES):
            done = compose("up", "--detach", "--wait", "--pull", "never", *services, files=FILES, **SETTINGS)
            assert done.returncode == 0, done.stdout + compose("logs", "--tail", "30", files=FILES, **SETTINGS).stdout
        wait_for("all healthy, in both", all_healthy, 180)
        wait_for("a cluster of two", clustered, 60)
        time.sleep(30)  # the watches have their sessions
        yield
    finally:
        compose("down", "--volumes", "--timeout", "5", files=FILES, **SETTINGS)


def all_healthy() -> bool:
    counted = [query('sum(ibkr_verdict{verdict="healthy"})', prometheus=each) for each in (PROMETHEUS, PROMETHEUS_B)]
    return all(found and int(float(found[0]["value"][1])) == 2 * TARGETS for found in counted)


def clustered() -> bool:
    cluster = fetch(f"{ALERTMANAGER}/api/v2/status")["cluster"]
    return cluster["status"] == "ready" and len(cluster["peers"]) == 2


def run(*arguments: str) -> str:
    done = compose(*arguments, files=FILES, **SETTINGS)
    assert done.returncode == 0, done.stdout
    return done.stdout


def freeze() -> float:
    return set_modes({FROZEN: "silent"}, files=FILES, **SETTINGS)


def recover() -> float:
    return set_modes({FROZEN: "ok"}, files=FILES, **SETTINGS)


def of_gateway(since: float) -> list[dict[str, Any]]:
    """The pages about the gateway since a moment. Tickets are none: so many freezes burn its error budget, which is one."""
    return [
        each
        for each in messages(PAGER)
        if each["at"] > since and each["receiver"] == "pager" and each["commonLabels"].get("target") == "frozen"
    ]


def told(since: float) -> list[tuple[float, str, list[tuple[str, str, str]]]]:
    """The messages about the gateway since a moment: after how many seconds, and what each says of which alert."""
    return [
        (
            round(message["at"] - since, 1),
            message["status"],
            [(each["status"], each["labels"]["alertname"], each["labels"]["instance"]) for each in message["alerts"]],
        )
        for message in of_gateway(since)
    ]


def statuses(since: float) -> list[str]:
    return [each["status"] for each in of_gateway(since)]


def wait_for_the_page(since: float) -> float:
    page = wait_for("the page", partial(of_gateway, since), PAGED)[0]
    return float(page["at"]) - since


def wait_for_the_end(since: float) -> None:
    wait_for("the end", lambda: "resolved" in statuses(since), OVER)
    time.sleep(ANOTHER)


def test_the_two_exporters_share_the_gateway_by_client_ids_and_every_connection_is_counted() -> None:
    wait_for("as many connections counted as there were", connections_agree, 60)
    seen = of_the_gateway()["connections"]["open_most_by_client_id"]
    assert set(seen) <= OURS
    assert set(seen.values()) == {1}, "no id of theirs was ever in use twice"
    assert query("sum(ibkr_client_id_conflicts_total)", prometheus=PROMETHEUS)[0]["value"][1] == "0"


def connections_agree() -> bool:
    counted = query('sum(ibkr_connections_opened_total{target="frozen"})', prometheus=PROMETHEUS)
    opened: int = of_the_gateway()["connections"]["opened"]
    return int(float(counted[0]["value"][1])) == opened


def of_the_gateway() -> dict[str, Any]:
    script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{FROZEN + 1000}/').read().decode())"
    answer: dict[str, Any] = json.loads(run("exec", "-T", "gateways", "python", "-c", script))
    return answer


def test_each_freeze_is_one_page_of_four_that_could_come() -> None:
    took = []
    for round_ in range(ROUNDS):
        time.sleep(4.3 * round_)  # another phase of all the clocks
        began = freeze()
        took.append(wait_for_the_page(began))
        time.sleep(ANOTHER)
        recover()
        wait_for_the_end(began)
        assert statuses(began) == ["firing", "resolved"]
    figures.keep("two of everything, from freeze to its only page: least / median / most", figures.spread(took))


@pytest.mark.parametrize("service", ["prometheus", "alertmanager"])
def test_the_end_of_one_of_two_while_a_gateway_is_frozen_is_no_second_page_and_the_recovery_is_told(
    service: str,
) -> None:
    began = freeze()
    wait_for_the_page(began)
    run("kill", service)
    time.sleep(ANOTHER)
    assert statuses(began) == ["firing"]
    recover()
    wait_for_the_end(began)
    run("start", service)
    time.sleep(ANOTHER)
    assert statuses(began) == ["firing", "resolved"]
    wait_for("all healthy, in both", all_healthy, 120)
    wait_for("a cluster of two", clustered, 60)


def test_a_gateway_that_freezes_again_while_the_exporter_that_paged_is_down_is_one_page_by_the_other() -> None:
    began = freeze()
    wait_for_the_page(began)
    killed = time.time()
    run("kill", "exporter")
    wait_for("the page about the exporter", lambda: exporter_down(killed), 120)
    time.sleep(ANOTHER)
    assert statuses(began) == ["firing"], "what goes on is no second page"
    recover()
    time.sleep(float(ANEW.value))
    again = freeze()
    wait_for_the_page(again)
    (alert,) = of_gateway(again)[0]["alerts"]
    assert alert["annotations"]["page_url"] == "http://127.0.0.1:9498/targets/frozen", "the other one is down"
    time.sleep(ANOTHER)
    recover()
    wait_for_the_end(again)
    run("start", "exporter")
    time.sleep(2 * ANOTHER)
    assert statuses(began) == ["firing", "firing", "resolved"], told(began)
    assert len(exporter_down(killed)) == 1
    figures.keep("one exporter of two killed: pages about it, and about a gateway that freezes then", "1 and 1")


def exporter_down(since: float) -> list[dict[str, Any]]:
    down = ("firing", "IbkrExporterDown")
    return [
        message
        for message in messages(PAGER)
        if message["at"] > since
        and down in {(each["status"], each["labels"]["alertname"]) for each in message["alerts"]}
    ]
