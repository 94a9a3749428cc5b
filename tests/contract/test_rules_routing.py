"""Alertmanager's configuration: every severity arrives, one failure is one message, the examples are sound."""

import re
import shutil
from collections.abc import Iterator
from datetime import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.rules.fleets import FLEETS
from deploy.rules.verdict_alerts import VERDICTS
from exporter.maintenance import IBKR_WINDOWS, WEEK, WEEKLY_LOGIN, Region
from tests.contract.alertmanager import CONFIG, PLACE, RULES, amtool, needs_amtool, read

EXAMPLES = sorted((PLACE / "examples").glob("*.yml"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The configuration with its templates where amtool finds them."""
    shutil.copytree(PLACE / "templates", tmp_path / "templates")
    return tmp_path


def written(place: Path, config: dict[str, Any]) -> Path:
    path = place / "alertmanager.yml"
    path.write_text(yaml.safe_dump({**config, "templates": [f"{place}/templates/*.tmpl"]}), encoding="utf-8")
    return path


@needs_amtool
def test_the_shipped_configuration_is_sound(place: Path) -> None:
    said = amtool("check-config", str(written(place, CONFIG)))
    assert "4 receivers" in said
    assert "1 templates" in said


@needs_amtool
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_every_example_is_sound_in_the_place_of_the_receiver_that_it_names(place: Path, example: Path) -> None:
    (receiver,) = yaml.safe_load(known_to_amtool(example.read_text(encoding="utf-8")))["receivers"]
    assert receiver["name"] == ("watchdog" if example.stem.startswith("watchdog") else "pager")
    others = [each for each in CONFIG["receivers"] if each["name"] != receiver["name"]]
    assert len(others) == len(CONFIG["receivers"]) - 1
    amtool("check-config", str(written(place, {**CONFIG, "receivers": [receiver, *others]})))


def known_to_amtool(text: str) -> str:
    """Debian's Alertmanager 0.25 knows these two only as text; 0.26 and later, which Compose pins, as files."""
    return (
        text.replace("bot_token_file: ", "bot_token: ")
        .replace("url_file: /", "url: http://127.0.0.1/")
        .replace("api_url: http://127.0.0.1/", "api_url_file: /")
    )


def test_the_services_have_an_example_and_no_secret_is_in_one() -> None:
    assert [path.stem for path in EXAMPLES] == ["email", "pagerduty", "slack", "telegram", "watchdog-healthchecks"]
    keys = {"routing_key", "service_key", "api_url", "auth_password", "bot_token", "url"}
    for path in EXAMPLES:
        (receiver,) = read(path)["receivers"]
        for configs in receiver.values():
            if isinstance(configs, list):
                assert not keys & set(configs[0]), f"{path.name}: a secret belongs in a file"
                secret = next(value for key, value in configs[0].items() if key.endswith("_file"))
                assert secret.startswith("/run/secrets/"), path.name


@needs_amtool
@pytest.mark.parametrize(
    ("severity", "layer", "receiver"),
    [
        ("none", "exporter", "watchdog"),
        ("critical", "handshake", "pager"),
        ("critical", "port", "pager"),
        ("critical", "exporter", "pager"),
        ("warning", "client", "tickets"),
        ("warning", "quality", "tickets"),
        ("info", "quality", "notes"),
    ],
)
def test_an_alert_goes_to_the_receiver_of_its_severity(place: Path, severity: str, layer: str, receiver: str) -> None:
    path = written(place, CONFIG)
    labels = [f"severity={severity}", f"layer={layer}", "job=ibkr", "target=paper", "gateway=paper"]
    labels.append("alertname=Watchdog" if receiver == "watchdog" else "alertname=IbkrOther")
    amtool("config", "routes", "test", f"--config.file={path}", f"--verify.receivers={receiver}", *labels)


@needs_amtool
def test_an_alert_about_a_fleet_goes_to_the_pager_as_a_group_of_its_own(place: Path) -> None:
    path = written(place, CONFIG)
    fleets = [rule["alert"] for rule in RULES if re.search("Everywhere|OnHost|HostDown", rule["alert"])]
    assert len(fleets) == 15
    for name in fleets:
        labels = ("severity=critical", "job=ibkr", "host=relay", f"alertname={name}")
        amtool("config", "routes", "test", f"--config.file={path}", "--verify.receivers=pager", *labels)
        route = next(each for each in CONFIG["route"]["routes"] if "Everywhere" in each["matchers"][0])
        assert re.fullmatch(route["matchers"][0].split('"')[1], name)
        assert route["group_by"] == ["job", "host"]


def test_no_route_takes_another_teams_alerts() -> None:
    for route in CONFIG["route"]["routes"]:
        assert re.match(r'alertname(=~"Ibkr|="Watchdog")', route["matchers"][0]), route["matchers"]


def test_what_happens_to_one_gateway_is_one_group_from_wherever_it_is_seen() -> None:
    assert CONFIG["route"]["group_by"] == ["job", "gateway"]
    grouped = [route["matchers"] for route in CONFIG["route"]["routes"] if "group_by" in route]
    assert len(grouped) == 2, "the watchdog and the fleets, which are about no one gateway"


def routes_below(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for each in route.get("routes", ()):
        yield each
        yield from routes_below(each)


MUTED = [route for route in routes_below(CONFIG["route"]) if "mute_time_intervals" in route]


def test_no_critical_alert_is_ever_muted_by_the_clock() -> None:
    """A reset window must not hide a gateway that froze in it; the rules know each target's own windows."""
    (top,) = (route for route in CONFIG["route"]["routes"] if route in MUTED or route.get("routes"))
    assert top["matchers"] == ['alertname=~"Ibkr.+"', 'severity="warning"', 'layer="quality"']
    assert all(route is top or route in top["routes"] for route in MUTED)


def test_a_warning_is_muted_in_the_window_of_its_own_region_and_in_no_other() -> None:
    """Asia's evening window lies in New York's trading hours: it must hide no farm there."""
    (top,) = (route for route in MUTED if route.get("routes"))
    assert top["mute_time_intervals"] == ["reset-weekend"], "of targets that do not say where they are"
    named = {route["matchers"][0].split('"')[1]: route["mute_time_intervals"] for route in top["routes"]}
    assert named == {region.value: ["reset-weekend", interval_of(region.value)] for region in Region}


def interval_of(window: str) -> str:
    return f"reset-{window.replace('_', '-')}"


def test_the_windows_are_those_that_the_exporter_knows() -> None:
    ours: dict[str, set[tuple[str, str, str, str]]] = {}
    for window in IBKR_WINDOWS:
        if window.name == WEEKLY_LOGIN:
            continue  # it excuses nothing
        for day in window.days:
            evening = window.end < window.start  # two ranges in Alertmanager, the second on the next day
            parts = [(day.value, window.start, time.max if evening else window.end)]
            if evening:
                parts.append((DAYS[(DAYS.index(day) + 1) % 7], time.min, window.end))
            for on, start, end in parts:
                ours.setdefault(interval_of(window.name), set()).add((on, clock(start), clock(end), window.zone))
    assert {each["name"]: set(ranges(each["time_intervals"])) for each in CONFIG["time_intervals"]} == ours


DAYS = [day.value for day in WEEK]


def clock(moment: time) -> str:
    return "24:00" if moment == time.max else f"{moment:%H:%M}"


def ranges(parts: list[dict[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    for part in parts:
        for days in part["weekdays"]:
            first, _, last = days.partition(":")
            for day in DAYS[DAYS.index(first) : DAYS.index(last or first) + 1]:
                for span in part["times"]:
                    yield day, span["start_time"], span["end_time"], part["location"]


def test_every_mute_names_a_time_interval_in_a_time_zone_of_its_own() -> None:
    intervals = {each["name"]: each["time_intervals"] for each in CONFIG["time_intervals"]}
    assert {name for route in MUTED for name in route["mute_time_intervals"]} == set(intervals)
    zones = {part["location"] for parts in intervals.values() for part in parts}
    assert zones == {"America/New_York", "Europe/Zurich", "Asia/Hong_Kong"}


LADDER = ("network", "port", "handshake", "session", "upstream", "client", "quality")


def test_every_layer_silences_all_that_lie_behind_it() -> None:
    for index, layer in enumerate(LADDER[:-2]):
        (rule,) = (each for each in CONFIG["inhibit_rules"] if f'layer="{layer}"' in each["source_matchers"])
        assert rule["target_matchers"][1] == f'layer=~"{"|".join(LADDER[index + 1 :])}"'
        assert rule["equal"] == ["job", "instance", "target"]
        # Alertmanager takes labels that are missing on both sides for equal: an alert about a fleet would silence another.
        assert 'target!=""' in rule["source_matchers"]


def test_a_fleet_silences_no_page_that_was_sent_before_it() -> None:
    """Its end would never be sent, and its next page not for an hour. What begins later the rules hold back."""
    fleets = "Everywhere|OnHost|HostDown"
    silenced = {
        rule["target_matchers"][0] for rule in CONFIG["inhibit_rules"] if re.search(fleets, rule["source_matchers"][0])
    }
    assert not silenced
    expressions = {rule["alert"]: rule["expr"] for rule in RULES}
    for fleet in FLEETS:
        for row in VERDICTS:
            if row.verdict in fleet.verdicts:
                assert f'ALERTS{{alertname="{fleet.name}", alertstate="firing"}}' in expressions[row.name]


def test_no_inhibition_touches_an_alert_that_is_not_ours() -> None:
    """In an Alertmanager that several teams share, `layer` may be a label of theirs too."""
    for rule in CONFIG["inhibit_rules"]:
        for side in ("source_matchers", "target_matchers"):
            assert any(re.match(r'alertname=~?"Ibkr', matcher) for matcher in rule[side]), rule


def test_an_exporter_that_starts_again_and_again_is_one_message() -> None:
    """Where each of its outages lasts longer than half a minute, both alerts fire: they must not silence each other."""
    of = {rule["source_matchers"][0]: rule["target_matchers"] for rule in CONFIG["inhibit_rules"]}
    assert of['alertname="IbkrExporterRestarting"'] == ['alertname="IbkrExporterDown"']
    assert of['alertname="IbkrExporterDown"'][1] == 'alertname!~"IbkrExporterDown|IbkrExporterRestarting"'


def test_every_layer_and_alert_that_is_named_here_is_one_of_the_rules() -> None:
    layers = {rule["labels"]["layer"] for rule in RULES if rule["alert"] != "Watchdog"}
    assert layers == {"exporter", *LADDER}
    names = {rule["alert"] for rule in RULES}
    for rule in CONFIG["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            if matcher.startswith("alertname") and '"Ibkr.+"' not in matcher:
                assert set(matcher.split('"')[1].split("|")) <= names
