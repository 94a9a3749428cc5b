"""The dashboards' sources: the committed files are what the code gives, and the drawing kit can draw all of them.

The kit itself runs on npm's packages of Grafana, Chromium and a live Prometheus; no test draws a picture.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from dashboards.__main__ import ALL, PLACE, as_json
from dashboards.draw.draw import DASHBOARDS, duration, substituted

KIT = Path(__file__).parents[2] / "dashboards" / "draw"
BOARDS = {name: json.loads((PLACE / f"{name}.json").read_text("utf-8")) for name in ALL}


def panels() -> Iterator[dict[str, Any]]:
    for board in BOARDS.values():
        yield from board["panels"]


@pytest.mark.parametrize("name", ALL)
def test_a_committed_dashboard_is_what_its_code_gives(name: str) -> None:
    assert (PLACE / f"{name}.json").read_text("utf-8") == as_json(ALL[name]().build()), "run python -m dashboards"


def test_the_files_can_be_written_for_an_exporter_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dashboards", "--out", str(tmp_path), "--exporter-url", "https://ibkr.example.com"]
    subprocess.run(command, check=True, cwd=KIT.parents[1])
    for name in ALL:
        variables = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))["templating"]["list"]
        (url,) = (each["query"] for each in variables if each["name"] == "exporter_url")
        assert url == "https://ibkr.example.com"


def test_no_dashboard_is_without_code() -> None:
    assert {path.stem for path in PLACE.glob("*.json")} == set(ALL)
    assert DASHBOARDS == PLACE


def test_the_kit_draws_every_kind_of_panel_there_is() -> None:
    source = (KIT / "panels.jsx").read_text("utf-8")
    kinds = re.search(r"const KINDS = \{([^}]*)\}", source)
    assert kinds is not None
    drawn = {name.strip().strip("'\"") for name in re.findall(r"([\w'\"-]+) *:", kinds[1])} | {"row"}
    assert {panel["type"] for panel in panels()} <= drawn


def test_the_kit_can_ask_every_query() -> None:
    asked = 0
    for panel in panels():
        for query in panel.get("targets", ()):
            expr = substituted(query["expr"], "paper", duration(panel.get("interval", "15s")), 3600)
            assert "$" not in expr
            promql_parser.parse(expr)
            asked += 1
    assert asked > 50


def test_the_kit_has_the_components_of_the_grafana_that_the_dashboards_are_written_for() -> None:
    pinned = (KIT.parents[1] / "requirements" / "dev.txt").read_text("utf-8")
    assert "grafana-foundation-sdk==0.0.21\n" in pinned  # the line of Grafana 12 and 13
    image = re.search(r"grafana/grafana:(\d+\.\d+)\.", (KIT.parents[1] / "compose.yaml").read_text("utf-8"))
    assert image is not None
    needed = json.loads((KIT / "package.json").read_text("utf-8"))["dependencies"]
    kit = {number.rpartition(".")[0] for name, number in needed.items() if name.startswith("@grafana/")}
    assert kit == {image[1]}
    locked = json.loads((KIT / "package-lock.json").read_text("utf-8"))["packages"][""]["dependencies"]
    assert locked == needed
