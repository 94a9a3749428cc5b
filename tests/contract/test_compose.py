"""The Compose files: what every service is bounded by, and what must agree with other files."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BASE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
BESIDE = yaml.safe_load((ROOT / "deploy" / "compose.ib-gateway.yaml").read_text("utf-8"))["services"]
VNC = yaml.safe_load((ROOT / "deploy" / "compose.ib-gateway.vnc.yaml").read_text("utf-8"))["services"]
PAIR = yaml.safe_load((ROOT / "deploy" / "compose.high-availability.yaml").read_text("utf-8"))["services"]
APART = yaml.safe_load((ROOT / "deploy" / "compose.high-availability.two-machines.yaml").read_text("utf-8"))["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
WITH_IMAGE = [(name, service) for each in (BESIDE, PAIR) for name, service in each.items() if "image" in service]
SERVICES = [*BASE.items(), *WITH_IMAGE]
DIGEST = r"@sha256:[0-9a-f]{64}"


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_every_service_has_a_bounded_log_a_bounded_memory_and_a_restart_policy(
    name: str, service: dict[str, Any]
) -> None:
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert service["mem_limit"]
    assert service["restart"] == ("no" if name == "settings" else "unless-stopped")


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_every_service_but_the_gateway_can_gain_no_privilege(name: str, service: dict[str, Any]) -> None:
    if name == "ib-gateway":
        return  # an image of others, which starts a screen and a relay in its own way
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True


@pytest.mark.parametrize(
    "service", [service for _, service in [*BASE.items(), *VNC.items(), *PAIR.items()] if "ports" in service]
)
def test_every_port_is_published_on_this_machine_only(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "grafana"])
def test_images_of_others_are_pinned_by_version_and_digest(name: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+" + DIGEST, BASE[name]["image"])


def test_the_base_image_is_pinned_by_version_and_digest() -> None:
    assert re.search(r"^ARG PYTHON=python:3\.13\.\d+-slim" + DIGEST + "$", DOCKERFILE, re.MULTILINE)


def test_what_the_image_downloads_with_pip_is_tried_again_where_the_index_breaks_off() -> None:
    """`clients install`, which downloads the rest, does so itself."""
    downloads = [line for line in DOCKERFILE.splitlines() if "pip" in line and "--require-hashes" in line]
    assert len(downloads) == 2
    assert all("&& thrice /build/bin/pip " in line for line in downloads)
    assert re.search(r'^RUN thrice\(\) \{ "\$@" \|\| "\$@" \|\| "\$@"; \}', DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize("service", [service for service in BASE.values() if "healthcheck" in service])
def test_a_health_check_runs_every_half_minute(service: dict[str, Any]) -> None:
    """Each costs Docker a process in the container, most of the CPU of an idle stack."""
    assert service["healthcheck"]["interval"] == "30s"


@pytest.mark.parametrize("service", [service for _, service in SERVICES if "healthcheck" in service])
def test_a_health_check_in_python_starts_no_more_than_it_needs(service: dict[str, Any]) -> None:
    command = service["healthcheck"]["test"]
    if command[1] != "python":
        return
    assert command[2:4] == ["-I", "-S"]
    assert "urllib" not in " ".join(command)
    assert service["healthcheck"]["interval"] in {"10s", "30s"}


def test_the_images_own_health_check_starts_no_more_than_it_needs() -> None:
    check = DOCKERFILE.partition("HEALTHCHECK ")[2].partition("ENTRYPOINT")[0]
    assert '"-I", "-S"' in check
    assert "--interval=30s" in check
    assert "urllib" not in check


def test_a_web_page_cannot_end_prometheus() -> None:
    command = " ".join(BASE["prometheus"]["command"])
    assert "enable-lifecycle" not in command
    assert "enable-admin-api" not in command
    assert "--storage.tsdb.retention.size=" in command


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_the_gateways_restart_is_a_window_of_both_targets(mode: str) -> None:
    environment = BESIDE["ib-gateway"]["environment"]
    assert environment["AUTO_RESTART_TIME"] == "${AUTO_RESTART_TIME:-11:45 PM}"
    assert environment["TZ"] == environment["TIME_ZONE"]
    for name, service in (("ib-gateway", "exporter"), ("inside", "inside")):
        assert BESIDE[service]["command"].endswith(f"/{name}-${{TRADING_MODE:-paper}}.yaml")
        file = ROOT / "deploy" / "exporter" / f"{name}-{mode}.yaml"
        (target,) = yaml.safe_load(file.read_text("utf-8"))["targets"]
        assert target["mode"] == mode
        assert target["restart"] == {"time": "23:45", "timezone": environment["TZ"]}


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_of_two_both_are_the_same_image_and_read_the_same_files(name: str) -> None:
    other = PAIR[f"{name}-b"]
    assert other["image"] == BASE[name]["image"]
    assert [each for each in BASE[name]["volumes"] if each.startswith(("./", "${"))] == [
        each for each in other["volumes"] if each.startswith(("./", "${")) and "replicas" not in each
    ]
    command = PAIR[name].get("command", BASE[name]["command"])
    assert [part.partition("=")[0] for part in other["command"]] == [part.partition("=")[0] for part in command]


def test_two_exporters_watch_the_same_gateways_with_client_ids_of_their_own() -> None:
    folder = ROOT / "deploy" / "high-availability"
    first, second = (yaml.safe_load((folder / f"exporter-{each}.yaml").read_text("utf-8"))["targets"] for each in "ab")
    ids = [set(target.pop("client_ids")) for targets in (first, second) for target in targets]
    assert first == second
    assert len(set.union(*ids)) == sum(map(len, ids)) == 6


@pytest.mark.parametrize(("name", "port"), [("exporter", 9497), ("exporter-b", 9498)])
def test_what_one_of_two_exporters_pages_about_links_to_that_one(name: str, port: int) -> None:
    """The other one may be down. Where Prometheus has an external label for it, all links lead to one of them."""
    assert {PAIR[each]["environment"]["EXPORTER_URL"] for each in ("prometheus", "prometheus-b")} == {""}
    address = PAIR[name]["environment"]["EXTERNAL_URL"]
    assert address.endswith(f":-http://127.0.0.1:{port}}}")
    published = PAIR[name].get("ports") or BASE[name]["ports"]
    assert published[0].endswith(f":-{port}}}:9497")
    written = (ROOT / "deploy" / "high-availability" / f"exporter-{name[9:] or 'a'}.yaml").read_text("utf-8")
    assert yaml.safe_load(written)["web"] == {"external_url": "${EXTERNAL_URL}", "route_prefix": "/"}


def test_two_prometheus_know_both_of_everything_by_the_same_names() -> None:
    """So that what both of them see is one alert."""
    folder = ROOT / "deploy" / "high-availability" / "replicas"
    others = {path.stem: yaml.safe_load(path.read_text("utf-8"))[0]["targets"] for path in folder.glob("*.yml")}
    (exporters,) = yaml.safe_load((folder / "exporters.yml").read_text("utf-8"))
    assert exporters["labels"] == {"standby": "yes"}, "or each Prometheus might take another exporter's word"
    assert others == {
        "exporters": ["exporter-b:9497"],
        "alertmanagers": ["alertmanager-b:9093"],
        "prometheus": ["prometheus-b:9090"],
    }
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    for name, job in (("exporters", "ibkr"), ("alertmanagers", "alertmanager"), ("prometheus", "prometheus")):
        assert f"replicas/{name}.yml" in jobs[job]["file_sd_configs"][0]["files"]
    assert "replicas/alertmanagers.yml" in config["alerting"]["alertmanagers"][0]["file_sd_configs"][0]["files"]
    assert [PAIR[name]["environment"]["REPLICA"] for name in ("prometheus", "prometheus-b")] == ["a", "b"]


def test_on_two_machines_each_half_finds_the_other_where_it_listens() -> None:
    """The names and ports are those of one machine, or the two Prometheus would send other alerts."""
    listens = {"exporter": {"9497"}, "prometheus": {"9090"}, "alertmanager": {"9093", "9094", "9094/udp"}}
    for half, other in (("", "-b"), ("-b", "")):
        for name, ports in listens.items():
            published = [each.rpartition("}:")[2].split(":") for each in APART[f"{name}{half}"]["ports"]]
            assert {inside for _, inside in published} == ports
            assert all(outside == inside.partition("/")[0] for outside, inside in published)
        found = {name: {each.partition(":")[0] for each in APART[f"{name}{half}"]["extra_hosts"]} for name in FINDS}
        assert found == {name: {f"{each}{other}" for each in others} for name, others in FINDS.items()}
    assert "--cluster.advertise-address=${OWN_ADDRESS:+${OWN_ADDRESS-}:9094}" in PAIR["alertmanager"]["command"]


FINDS = {"prometheus": ("exporter", "prometheus", "alertmanager"), "alertmanager": ("alertmanager",)}


def test_read_only_and_the_mode_are_choices_and_the_example_names_them() -> None:
    environment = BESIDE["ib-gateway"]["environment"]
    assert environment["READ_ONLY_API"] == "${READ_ONLY_API:-yes}"
    assert environment["TRADING_MODE"] == "${TRADING_MODE:-paper}"


def test_the_gateways_window_is_shown_only_where_asked_for_and_with_a_password() -> None:
    assert "VNC_SERVER_PASSWORD" not in str(BESIDE)
    assert VNC["ib-gateway"]["environment"] == {"VNC_SERVER_PASSWORD_FILE": "/run/secrets/vnc_password"}
