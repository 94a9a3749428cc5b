"""The committed dashboards: what Grafana's own linter asks for, sound in themselves, and in step with the catalogue."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from exporter.metrics.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
}
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
# Prometheus' own, its client's, and those of the rules about Prometheus and Alertmanager
OTHERS = {"process_resident_memory_bytes", "process_start_time_seconds", "up", "ALERTS", "ALERTS_FOR_STATE"}
MONITORING = ("prometheus_", "alertmanager_")
SUFFIXES = ("_bucket", "_count", "_sum")


def panels() -> Iterator[Any]:
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield pytest.param(name, panel, id=f"{name}: {panel['title']}")


def rules() -> list[dict[str, Any]]:
    found = []
    for path in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            found += group["rules"]
    return found


RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def named(expr: str) -> set[str]:
    """The metrics that an expression reads."""
    text = re.sub(r'"[^"]*"', '""', re.sub(r"\b(by|on|without|ignoring|group_left|group_right) *\([^)]*\)", "", expr))
    names = set(re.findall(r"(?<![\w$:.])([A-Za-z_][\w:]*)(?=[{\[ )]|$)(?! *\()", text))
    words = {"or", "and", "unless", "bool", "by", "on", "offset", "without"}
    return {name for name in names if name not in words and not re.fullmatch(r"\d+[smhd]?", name)}


def placed(expr: str) -> str:
    """The expression with Grafana's own variables in place."""
    return re.sub(r"\$__(rate_interval|interval|range)", "1m", expr)


def base(name: str) -> str:
    """A histogram's name for one of its series."""
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)


def test_there_are_three_dashboards_with_their_own_uids() -> None:
    assert {board["uid"] for board in BOARDS.values()} == {"ibkr-fleet", "ibkr-gateway", "ibkr-libraries"}


@pytest.mark.parametrize("name", BOARDS)
def test_ids_are_unique_and_panels_lie_on_the_grid_without_overlap(name: str) -> None:
    placed = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in placed}) == len(placed)
    taken: set[tuple[int, int]] = set()
    for panel in placed:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize(("board", "panel"), list(panels()))
def test_every_panel_has_what_the_linter_asks_for(board: str, panel: dict[str, Any]) -> None:
    assert panel["title"], board
    assert panel["description"].endswith(".")
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH")[: len(panel["targets"])]
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        for part in re.findall(r"\{([^{}]*)\}", target["expr"]):
            assert 'job=~"$job"' in part, target["expr"]
            assert 'instance=~"$instance"' in part, target["expr"]
        for over in re.findall(r"_over_time\([^\[]*\[([^\]]*)\]", target["expr"]):
            assert over == "$__range:$__interval", target["expr"]
        for rate in re.findall(r"(?:rate|increase)\([^\[]*\[([^\]]*)\]", target["expr"]):
            assert rate in {"$__rate_interval", "1h"}, target["expr"]


@pytest.mark.parametrize(("board", "panel"), list(panels()))
def test_every_query_parses(board: str, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        expr = placed(target["expr"])
        promql_parser.parse(expr)
        assert board


@pytest.mark.parametrize("name", BOARDS)
def test_the_data_source_and_what_selects_are_variables(name: str) -> None:
    variables = {each["name"]: each for each in BOARDS[name]["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert {"job", "instance", "target"} <= set(variables)


def test_every_metric_that_rules_and_dashboards_read_is_in_the_catalogue() -> None:
    known = {metric.name for metric in CATALOGUE} | RECORDED | OTHERS
    read = {metric for rule in rules() for metric in named(rule["expr"])}
    for board in BOARDS.values():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                read |= named(placed(target["expr"]))
    unknown = {base(name) for name in read} - known
    assert {name for name in unknown if not name.startswith(MONITORING)} == set()


def test_every_metric_of_the_catalogue_is_shown_or_alerted_on() -> None:
    text = " ".join(f"{rule['expr']} {rule.get('annotations', {}).get('runbook_url')}" for rule in rules())
    text += " ".join(
        target["expr"] for board in BOARDS.values() for panel in board["panels"] for target in panel.get("targets", ())
    )
    text += " ".join(each["query"] for board in BOARDS.values() for each in board["templating"]["list"][1:])
    assert [metric.name for metric in CATALOGUE if not re.search(rf"\b{metric.name}(_bucket)?\b", text)] == []


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("exporter/runbooks/*.md")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_metric_that_a_text_names_is_in_the_catalogue(path: Path) -> None:
    known = {metric.name for metric in CATALOGUE} | {name.split(":")[1] for name in RECORDED if ":ibkr_" in name}
    text = re.sub(r"ibkr_[a-z0-9_]*\*", "", path.read_text(encoding="utf-8"))  # ibkr_client_*: a family, not a name
    named_here = set(re.findall(r"(?<![\w./-])(ibkr_[a-z0-9_]+[a-z0-9])(?![\w/.-]*\()", text))
    assert {base(name) for name in named_here} - known == set()


def test_the_names_reader_reads_names_and_nothing_else() -> None:
    expr = 'max by (a, b) (x_y{c="d"}) * on (e) group_left (f) z or rate(q_bucket[5m]) > bool 3 and up == 1'
    assert named(expr) == {"x_y", "z", "q_bucket", "up"}


def test_grafana_is_configured_with_the_dashboards_and_prometheus() -> None:
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "dashboards.yml").read_text())["providers"]
    mounts = [volume.split(":") for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert ["./deploy/grafana/dashboards", provider["options"]["path"], "ro"] in mounts
    for kind in ("datasources", "dashboards"):
        assert [f"./deploy/grafana/provisioning/{kind}", f"/etc/grafana/provisioning/{kind}", "ro"] in mounts


def test_no_dashboard_can_be_changed_in_grafana_where_the_change_would_be_lost() -> None:
    provisioning = ROOT / "deploy" / "grafana" / "provisioning" / "dashboards" / "dashboards.yml"
    (provider,) = yaml.safe_load(provisioning.read_text())["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True
    assert {board["editable"] for board in BOARDS.values()} == {False}


def test_grafana_asks_nothing_of_the_internet() -> None:
    """No news, no feedback links, no updates, no plugins: a monitor's screen is about the gateways."""
    environment = COMPOSE["services"]["grafana"]["environment"]
    for name in ("REPORTING_ENABLED", "CHECK_FOR_UPDATES", "CHECK_FOR_PLUGIN_UPDATES", "FEEDBACK_LINKS_ENABLED"):
        assert environment[f"GF_ANALYTICS_{name}"] == "false"
    assert environment["GF_NEWS_NEWS_FEED_ENABLED"] == "false"
    assert environment["GF_PLUGINS_PREINSTALL_AUTO_UPDATE"] == "false"
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"


@pytest.mark.parametrize("name", BOARDS)
def test_pages_are_marked_on_every_dashboard(name: str) -> None:
    (pages,) = BOARDS[name]["annotations"]["list"]
    assert pages["enable"]
    assert pages["datasource"]["uid"] == "${datasource}"
    assert 'alertstate="firing", severity="critical"' in pages["expr"]
    promql_parser.parse(pages["expr"])


@pytest.mark.parametrize("name", BOARDS)
def test_links_lead_to_the_other_dashboards_and_to_the_exporter(name: str) -> None:
    others, page = BOARDS[name]["links"]
    assert (others["type"], others["tags"], others["includeVars"]) == ("dashboards", ["ibkr"], True)
    assert page["url"].startswith("${exporter_url:raw}/")
    assert all("placement" not in link for link in (others, page)), "it would be hidden in a menu"
    boxes = {each["name"]: each for each in BOARDS[name]["templating"]["list"] if each["type"] == "textbox"}
    assert boxes["exporter_url"]["query"] == "http://127.0.0.1:9497"


@pytest.mark.parametrize("name", ["fleet", "gateway"])
def test_a_verdict_leads_to_its_runbook(name: str) -> None:
    (panel,) = (each for each in BOARDS[name]["panels"] if each["title"] in {"Verdict", "Worst first"})
    text = json.dumps(panel)
    assert "${exporter_url:raw}/runbooks/${__value.text}" in text
    words = set(re.findall(r'"text": "(\w+)"', text))
    runbooks = {path.stem for path in (ROOT / "exporter" / "runbooks").glob("*.md")}
    assert words
    assert words <= runbooks


@pytest.mark.parametrize(("board", "panel"), list(panels()))
def test_a_panel_with_a_row_for_each_target_has_room_for_a_thousand(board: str, panel: dict[str, Any]) -> None:
    """A table scrolls; lines, bars and states show the worst."""
    if board == "gateway" or panel["type"] in {"table", "stat"}:
        return
    for target in panel["targets"]:
        if "{{target}}" in target["legendFormat"]:
            assert re.search(r"\b(top|bottom)k\(\d+, ", target["expr"]), target["expr"]
            assert "worst" in panel["title"] or "slowest" in panel["title"], panel["title"]


def test_quantiles_are_called_as_everywhere() -> None:
    legends = {
        (target["expr"].partition("histogram_quantile(")[2].partition(",")[0], target["legendFormat"])
        for board in BOARDS.values()
        for panel in board["panels"]
        for target in panel.get("targets", ())
        if "histogram_quantile" in target["expr"]
    }
    for quantile, legend in legends:
        assert f"p{float(quantile) * 100:g}" in legend or legend == "{{client}}", legend


def test_a_gateway_that_two_exporters_watch_is_counted_once() -> None:
    """Ranks of verdicts must never be added up, and neither must what is 0 or 1 for each gateway."""
    for board in BOARDS.values():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                sums = re.findall(
                    r"\bsum(?: by \([^)]*\))? \(?(target:ibkr_verdict:rank|ibkr_up|ibkr_verdict)\b", target["expr"]
                )
                assert not sums, f"{panel['title']}: {target['expr']}"
                assert not re.search(r"\b(?:sum|count)\((?:ibkr_up|ibkr_verdict|ibkr_target_info)\b", target["expr"]), (
                    panel["title"]
                )


def test_the_readme_says_which_panels_are_empty_without_the_recording_rules() -> None:
    readme = (ROOT / "dashboards" / "README.md").read_text("utf-8")
    named_there = set(re.findall(r"`((?:target|ibkr):[\w:]+)`", readme))
    shown: dict[str, set[str]] = {}
    for board in BOARDS.values():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                for name in named(placed(target["expr"])) & RECORDED:
                    shown.setdefault(name, set()).add(panel["title"].partition(",")[0])
    assert set(shown) == named_there
    assert [title for titles in shown.values() for title in titles if f"*{title}*" not in readme] == []
