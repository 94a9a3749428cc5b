"""The alert and recording rules: generated, complete, quiet, and in step with the exporter's own tables."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from deploy.rules.__main__ import contents
from deploy.rules.expressions import COUNTED, SILENCE_COUNTED
from exporter.model import Verdict
from exporter.web.pages import OTHER_RUNBOOKS

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
WITHOUT_ALERT = {Verdict.HEALTHY}


def read_groups(name: str) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "rules" / name).read_text(encoding="utf-8"))["groups"]
    return groups


GROUPS = [group for path in sorted((PROMETHEUS / "rules").glob("*.yml")) for group in read_groups(path.name)]
ALERTS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDINGS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"] if "record" in rule]
NOTES = {"summary", "action", "description", "runbook_url", "dashboard_url"}
OF_TARGET = {"since", "page_url"}


def test_the_committed_rules_are_what_the_tables_give() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.rules", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("rule", ALERTS + RECORDINGS, ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_expression_parses(rule: dict[str, Any]) -> None:
    promql_parser.parse(rule["expr"])


def test_every_verdict_but_healthy_has_exactly_one_alert() -> None:
    first = r'^target:ibkr_(?:verdict:last|silent:verdict)\{verdict="(\w+)"\}\n  \* on'
    named = [re.findall(first, rule["expr"]) for rule in ALERTS]
    own = sorted(
        found[0] for found, rule in zip(named, ALERTS, strict=True) if found and "Overdue" not in rule["alert"]
    )
    assert own == sorted(verdict for verdict in Verdict if verdict not in WITHOUT_ALERT)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_what_where_and_what_to_do(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert set(notes) >= NOTES
    assert set(notes) <= NOTES | OF_TARGET
    assert "{{" not in notes["summary"], "a summary is static"
    assert "{{" in notes["description"] or rule["alert"] in ABOUT_ITSELF, "a description names what it is about"
    assert "What to do:\n1. " in notes["description"]
    assert len(notes["action"]) <= 48, "it is the end of what a lock screen shows"
    assert "{endpoint}" not in notes["description"]
    assert "$labels.account" not in notes["description"], "an account number does not travel through a pager"
    assert rule["labels"]["severity"] in {"critical", "warning", "info"} or rule["alert"] == "Watchdog"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_no_alert_asks_for_a_restart_first_nor_for_one_that_costs_a_second_factor(rule: dict[str, Any]) -> None:
    action = rule["annotations"]["action"]
    restart = re.search(r"(\w+ )?restart", action, re.IGNORECASE)
    assert restart is None or restart[1] in ("soft ", "Soft ", "not "), action


ABOUT_ITSELF = {"Watchdog", "IbkrAlertmanagerUnreachable"}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_every_alert_about_a_target_links_to_the_exporters_page_about_it(rule: dict[str, Any]) -> None:
    about_one = "$labels.target" in rule["annotations"]["description"].partition("What to do")[0]
    page = rule["annotations"].get("page_url", "")
    assert page.endswith("/targets/{{ $labels.target }}") == about_one


def test_only_what_pages_is_evaluated_every_few_seconds_and_fleets_come_before_single_gateways() -> None:
    for group in GROUPS:
        alerts = [rule for rule in group["rules"] if "alert" in rule]
        quick = seconds(group["interval"]) < 15
        assert {rule["labels"]["severity"] == "critical" for rule in alerts} <= {quick} or group["name"] == MONITORING
        fleets = [index for index, rule in enumerate(alerts) if re.search("Everywhere|OnHost|HostDown", rule["alert"])]
        assert fleets == list(range(len(fleets))), group["name"]


MONITORING = "ibkr-monitoring"


def test_the_rules_are_written_for_another_job_and_as_a_kubernetes_resource() -> None:
    jobs = {"exporter": "gateways", "prometheus": "monitoring/prometheus", "alertmanager": "am"}
    for name, text in contents(jobs, kubernetes=True).items():
        resource = yaml.safe_load(text)
        assert resource["kind"] == "PrometheusRule"
        usual = yaml.safe_load((PROMETHEUS / "rules" / name).read_text(encoding="utf-8"))["groups"]
        assert [group["name"] for group in resource["spec"]["groups"]] == [group["name"] for group in usual]
        assert set(re.findall(r'\bjob="([^"]+)"', text)) <= set(jobs.values())


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_every_runbook_and_dashboard_that_is_linked_exists(rule: dict[str, Any]) -> None:
    runbook = rule["annotations"]["runbook_url"].rpartition("/runbooks/")[2]
    assert runbook in {*Verdict, *OTHER_RUNBOOKS}
    assert (ROOT / "exporter" / "runbooks" / f"{runbook}.md").is_file()
    dashboard = re.search(r"/d/ibkr-(\w+)", rule["annotations"]["dashboard_url"])
    assert dashboard
    assert (ROOT / "deploy" / "grafana" / "dashboards" / f"{dashboard[1]}.json").is_file()


def test_no_alert_that_is_about_no_verdict_leads_to_the_runbook_of_another() -> None:
    """Everywhere and overdue are the verdicts' own, for several gateways and for long."""
    linked = {rule["alert"]: rule["annotations"]["runbook_url"].rpartition("/")[2] for rule in ALERTS}
    of_verdicts = {alert for alert, runbook in linked.items() if runbook in set(Verdict)}
    assert all(
        re.search("target:ibkr_(verdict:last|silent:verdict|fleet_.+:failing)", rule["expr"])
        for rule in ALERTS
        if rule["alert"] in of_verdicts
    )
    assert {linked[alert] for alert in set(linked) - of_verdicts} == set(OTHER_RUNBOOKS)


def test_every_alert_is_shown_to_fire_and_not_to_fire() -> None:
    """Fires: a test expects it by name. Does not: a test with what it reads expects nothing at some time."""
    fires, quiet = set(), ""
    for path in TESTS:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            fires |= {each["alertname"] for each in test.get("alert_rule_test", ())}
            for expected in test.get("promql_expr_test", ()):
                found = " ".join(sample["labels"] for sample in expected["exp_samples"])
                fires |= set(re.findall(r'alertname="(\w+)"', found))
                if not expected["exp_samples"] and "ALERTS" in expected["expr"]:
                    quiet += " ".join(each["series"] for each in test["input_series"])
    names = {rule["alert"] for rule in ALERTS}
    assert names - fires == set(), "no unit test expects these"
    assert fires - names == set(), "a unit test expects what does not exist"
    for rule in ALERTS:
        if rule["alert"] in ALWAYS:
            continue
        read = re.search(
            r'\b(?!ALERTS|last_over|max_over)(\w+:ibkr_\w+(?::\w+)?|ibkr_\w+|up|process_\w+|(?:prometheus|alertmanager)_\w+)\b(?:\{(verdict="\w+"))?',
            rule["expr"],
        )
        assert read
        name = re.sub(r"target:ibkr_(verdict:last|silent:verdict|fleet_\w+:failing)", "ibkr_verdict", read[1])
        name = name.replace("target:ibkr_down:info", "ibkr_up")
        assert name in quiet, f"no unit test shows {rule['alert']} quiet"
        assert (read[2] or "") in quiet, f"no unit test shows {rule['alert']} quiet"


ALWAYS = {"Watchdog"}


def seconds(text: str) -> float:
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]]


def test_what_says_that_the_number_of_gateways_is_known_is_as_old_as_the_alert_about_the_fleet() -> None:
    """The other group may record the numbers between the two: then a thousand single alerts would begin, and no fleet's."""
    rules = next(group["rules"] for group in GROUPS if group["name"] == "ibkr-silence")
    names = [rule.get("record") or rule["alert"] for rule in rules]
    single = rules[names.index("IbkrHandshakeTimeout")]["expr"]
    assert SILENCE_COUNTED in single
    assert not re.search(rf"\b{COUNTED}\b", single)
    assert rules[names.index(SILENCE_COUNTED)]["expr"] == COUNTED
    assert names.index(SILENCE_COUNTED) < names.index("IbkrApiSilentEverywhere") < names.index("IbkrHandshakeTimeout")
