"""The mixin: the rules and dashboards that are shipped as files, with other names in them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.rules.__main__ import contents

ROOT = Path(__file__).parents[2]
JOBS = {
    "exporter": "prometheus",
    "prometheus": "monitoring/prometheus",
    "alertmanager": "ibkr",
}  # two are another's of ours
BOARDS = {path.name: path.read_text("utf-8") for path in (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")}


def mixin(**config: Any) -> dict[str, Any]:
    jsonnet = pytest.importorskip("_jsonnet", reason="jsonnet is installed on Linux for x86_64 only")
    snippet = (
        f"local mixin = (import 'deploy/mixin.libsonnet') + {{_config+:: {json.dumps(config)}}};"
        "{[name]: mixin[name] for name in ['prometheusAlerts', 'prometheusRules', 'grafanaDashboards']}"
    )
    made: dict[str, Any] = json.loads(jsonnet.evaluate_snippet(f"{ROOT}/test.jsonnet", snippet))
    return made


def groups(made: dict[str, Any]) -> dict[str, Any]:
    return {group["name"]: group for kind in ("prometheusAlerts", "prometheusRules") for group in made[kind]["groups"]}


@pytest.mark.parametrize("jobs", [None, JOBS])
def test_it_has_the_same_rules_as_the_files_for_jobs_of_these_names(jobs: dict[str, str] | None) -> None:
    made = mixin(**{f"{kind}Job": name for kind, name in (jobs or {}).items()})
    written = [group for text in contents(jobs).values() for group in yaml.safe_load(text)["groups"]]
    assert groups(made) == {group["name"]: group for group in written}
    assert len(made["prometheusAlerts"]["groups"]) + len(made["prometheusRules"]["groups"]) == len(written)


def test_every_alert_is_where_alerts_are_looked_for_with_what_its_group_records() -> None:
    made = mixin()
    assert all(any("alert" in rule for rule in group["rules"]) for group in made["prometheusAlerts"]["groups"])
    assert all("record" in rule for group in made["prometheusRules"]["groups"] for rule in group["rules"])


def test_the_rules_about_prometheus_and_alertmanager_can_be_left_out() -> None:
    assert set(groups(mixin())) - set(groups(mixin(monitoring=False))) == {"ibkr-monitoring"}


def test_it_has_every_dashboard_and_its_links_lead_to_the_exporter_that_is_named() -> None:
    assert mixin()["grafanaDashboards"] == {name: json.loads(text) for name, text in BOARDS.items()}
    made = mixin(exporterUrl="https://ibkr.example.com")["grafanaDashboards"]
    for board in made.values():
        (url,) = (each for each in board["templating"]["list"] if each["name"] == "exporter_url")
        assert url["query"] == "https://ibkr.example.com"
        assert "127.0.0.1:9497" not in json.dumps(board)
