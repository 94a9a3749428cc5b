"""The examples for a Prometheus that finds gateways or exporters itself: what they scrape, and that the pool fits the rules."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kubernetes.kustomize import BASES
from deploy.rules import thresholds
from exporter.config import Config, load
from exporter.web.app import ANSWERING
from tests.deploy.support import CHART, ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
EXAMPLES = PROMETHEUS / "examples"
FILES = sorted(EXAMPLES.glob("*-sd.yml"))
BY_PROBE = [path for path in FILES if path.name.startswith("probe-")]
# What Prometheus's kubernetes_sd_config takes, as far as it is used: Debian's promtool was built without it.
KUBERNETES_SD = {"role": str, "namespaces": dict, "selectors": list}
GATEWAY_POD = {
    "__address__": "10.0.1.11:4001",
    "__meta_kubernetes_namespace": "trading",
    "__meta_kubernetes_pod_container_port_name": "api",
    "__meta_kubernetes_pod_label_desk": "rates",
    "__meta_kubernetes_pod_name": "paper-0",
    "__meta_kubernetes_pod_phase": "Running",
}
SIDECAR = {
    **GATEWAY_POD,
    "__address__": "10.0.1.11:9497",
    "__meta_kubernetes_pod_container_port_name": "http-ibkr",
    "__meta_kubernetes_pod_label_app_kubernetes_io_instance": "gateways",
    "__meta_kubernetes_pod_label_app_kubernetes_io_name": "ib-gateway",
}
CENTRAL = {
    **SIDECAR,
    "__meta_kubernetes_pod_label_app_kubernetes_io_instance": "watcher",
    "__meta_kubernetes_pod_label_app_kubernetes_io_name": "ibkr-exporter",
    "__meta_kubernetes_pod_name": "watcher-ibkr-exporter-5d9c-x2x4z",
}


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return {one["job_name"]: one for one in yaml.safe_load(path.read_text("utf-8"))["scrape_configs"]}


def relabelled(labels: dict[str, str], rules: list[dict[str, Any]]) -> dict[str, str] | None:
    """What Prometheus makes of a discovered target; None where it is dropped. The actions that the examples use."""
    made = dict(labels)
    for rule in rules:
        joined = rule.get("separator", ";").join(made.get(name, "") for name in rule.get("source_labels", []))
        found = re.fullmatch(str(rule.get("regex", "(.*)")), joined, re.DOTALL)
        match rule.get("action", "replace"):
            case "replace" if found:
                value = found.expand(re.sub(r"\$(\d)", r"\\\1", rule.get("replacement", "$1")))
                made[rule["target_label"]] = value
            case "keep" if not found:
                return None
            case "drop" if found:
                return None
            case "hashmod":
                made[rule["target_label"]] = "0"  # the shard that is kept
            case "replace" | "keep" | "drop":
                pass
            case other:
                pytest.fail(f"no such action here: {other}")
    return {name: value for name, value in made.items() if not name.startswith(("__meta_", "__tmp_"))}


def test_what_finds_targets_is_shown_for_files_http_and_kubernetes() -> None:
    found = {key for path in FILES for job in jobs(path).values() for key in job if key.endswith("_sd_configs")}
    assert found == {"dns_sd_configs", "file_sd_configs", "http_sd_configs", "kubernetes_sd_configs"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_promtool_takes_each_example(path: Path, tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: it is in Debian's package prometheus")
    config = yaml.safe_load(path.read_text("utf-8"))
    for job in config["scrape_configs"]:
        for discovery in job.pop("kubernetes_sd_configs", []):
            assert {key: type(value) for key, value in discovery.items()}.items() <= KUBERNETES_SD.items()
            assert discovery["role"] == "pod"
            assert all(selector.keys() == {"role", "label"} for selector in discovery.get("selectors", []))
            assert discovery.get("namespaces", {}).keys() <= {"names"}
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder)
    shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")
    (folder / path.name).write_text(yaml.safe_dump(config), "utf-8")
    command = ["promtool", "check", "config", str(folder / path.name)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", BY_PROBE, ids=lambda path: path.stem)
def test_a_gateway_becomes_the_parameter_of_probe_and_the_pool_is_scraped(path: Path) -> None:
    job = jobs(path)["ibkr"]
    assert job["metrics_path"] == "/probe"
    made = relabelled(GATEWAY_POD, job["relabel_configs"])
    assert made is not None
    assert made["__param_target"] == "10.0.1.11:4001"
    assert re.fullmatch(r"ibkr-exporter[.\w]*:9497", made["__address__"])
    assert made["instance"] == ("trading/paper-0" if "kubernetes" in path.name else "10.0.1.11:4001")
    [pool] = [job for name, job in jobs(path).items() if name == "ibkr-pool"]
    itself = relabelled(CENTRAL, pool["relabel_configs"])
    assert itself is not None
    assert itself["job"] == "ibkr"


def test_only_the_port_of_the_api_of_a_pod_that_runs_is_probed() -> None:
    rules = jobs(EXAMPLES / "probe-kubernetes-sd.yml")["ibkr"]["relabel_configs"]
    found = relabelled(GATEWAY_POD, rules)
    assert found is not None
    assert found["desk"] == "rates"
    assert relabelled({**GATEWAY_POD, "__meta_kubernetes_pod_container_port_name": "vnc"}, rules) is None
    assert relabelled({**GATEWAY_POD, "__meta_kubernetes_pod_phase": "Succeeded"}, rules) is None


def test_exporters_are_scraped_as_in_compose_and_keep_their_instance_through_restarts() -> None:
    compose, found = jobs(PROMETHEUS / "prometheus.yml"), jobs(EXAMPLES / "exporters-kubernetes-sd.yml")
    for name in ("ibkr", "ibkr-details"):
        for key in ("scrape_interval", "scrape_timeout", "metric_relabel_configs"):
            assert found[name][key] == compose[name][key]
        rules = found[name]["relabel_configs"]
        instances = [(relabelled(pod, rules) or {}).get("instance") for pod in (SIDECAR, CENTRAL, GATEWAY_POD)]
        assert instances == ["trading/paper-0", "trading/watcher", None]


def pools() -> dict[str, tuple[Config, str, str]]:
    """Of every pool that is shown: the exporters' configuration, the interval and the timeout of their scrapes."""
    found = {}
    for path in BY_PROBE:
        job = jobs(path)["ibkr"]
        found[path.stem] = (load(EXAMPLES / "pool.yaml"), job["scrape_interval"], job["scrape_timeout"])
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    for name in ("probe", "gatewayMonitor"):
        config = load(BASES / "probe-pool" / "exporter.yaml")
        found[name] = (config, values[name]["interval"], values[name]["scrapeTimeout"])
    return found


@pytest.mark.parametrize("name", pools())
def test_a_silent_gateway_of_a_pool_is_probed_beyond_a_pause_and_within_the_scrape(name: str) -> None:
    config, interval, timeout = pools()[name]
    deadline = config.defaults.deadline
    assert float(thresholds.PAUSE.value) < deadline <= float(timeout.removesuffix("s")) - ANSWERING
    # What is known is as old as an interval and a scrape, and must not be late or forgotten by then.
    age = float(interval.removesuffix("s")) + float(timeout.removesuffix("s"))
    assert age < min(float(thresholds.STALE_SCRAPE.value), thresholds.seconds(thresholds.GAP))
