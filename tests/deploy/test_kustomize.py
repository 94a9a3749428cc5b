"""The kustomize bases: made from the chart, built by kubectl, and used by overlays as docs/kubernetes.md says."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kubernetes.kustomize import BASES, HELM, bases, rules
from exporter.config import load
from tests.deploy.support import ROOT, VERSIONS, Manifest, of_kind, only, pods, problems, run

WHOLE = ("central", "monitoring", "probe-pool")
GATEWAY: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "metadata": {"name": "paper", "labels": {"ibkr-exporter/sidecar": "true"}},
    "spec": {
        "selector": {"matchLabels": {"app": "paper"}},
        "template": {
            "metadata": {"labels": {"app": "paper"}},
            "spec": {"containers": [{"name": "gateway", "image": "ib-gateway:1"}], "volumes": [{"name": "settings"}]},
        },
    },
}


def built(folder: Path) -> list[Manifest]:
    return [one for one in yaml.load_all(run("kubectl", "kustomize", folder).stdout, yaml.CSafeLoader) if one]


def overlay(folder: Path, kustomization: Manifest, files: dict[str, object]) -> list[Manifest]:
    """Build an overlay in a folder of its own, which names the bases by relative paths as kustomize wants it."""
    for name, content in {"kustomization.yaml": kustomization, **files}.items():
        (folder / name).write_text(yaml.safe_dump(content), "utf-8")
    return built(folder)


def base(name: str, folder: Path) -> str:
    return os.path.relpath(BASES / name, folder.resolve())


def test_the_committed_bases_are_what_the_chart_gives() -> None:
    if not HELM.exists():
        pytest.skip("no helm: scripts/kubernetes-tools makes it")
    command = [sys.executable, "-m", "deploy.kubernetes", "--check", "rules", "bases"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    by_hand = {BASES / "README.md", BASES / "monitoring" / "kustomization.yaml"} | set(BASES.rglob("values.yaml"))
    assert {path for path in BASES.rglob("*") if path.is_file()} - by_hand == set(bases()) | set(rules())


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("version", VERSIONS)
def test_kubectl_builds_each_base_and_a_cluster_would_take_it(name: str, version: str) -> None:
    manifests = built(BASES / name)
    assert {one["metadata"]["name"]: errors for one in manifests if (errors := problems(one, version))} == {}
    assert not [one for one in manifests if "Helm" in one["metadata"].get("labels", {}).values()]


@pytest.mark.parametrize("name", ["central", "probe-pool"])
def test_the_exporter_takes_the_configuration_of_each_base(name: str) -> None:
    load(BASES / name / "exporter.yaml")


def test_a_sidecar_names_its_target_after_its_pod(tmp_path: Path) -> None:
    config = yaml.safe_load((BASES / "sidecar" / "configmap.yaml").read_text("utf-8"))["data"]["exporter.yaml"]
    patch = yaml.safe_load((BASES / "sidecar" / "patch.yaml").read_text("utf-8"))
    [variable] = [one for one in patch["spec"]["template"]["spec"]["containers"][0]["env"] if "valueFrom" in one]
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    (tmp_path / "exporter.yaml").write_text(config, "utf-8")
    loaded = load(tmp_path / "exporter.yaml", {variable["name"]: "paper-0"})
    assert [target.name for target in loaded.targets] == ["paper-0"]


def test_the_dashboards_are_the_files_of_compose() -> None:
    made: dict[str, str] = {}
    for one in of_kind(built(BASES / "monitoring"), "ConfigMap"):
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        made |= one["data"]
    folder = ROOT / "deploy" / "grafana" / "dashboards"
    assert made == {f"ibkr-{path.name}": path.read_text("utf-8") for path in folder.glob("*.json")}


def test_an_overlay_says_namespace_image_and_targets(tmp_path: Path) -> None:
    kustomization: Manifest = {
        "resources": [base("central", tmp_path)],
        "namespace": "trading",
        "images": [{"name": "ibkr-exporter", "newName": "registry.example.net/ibkr-exporter", "newTag": "1.2.3"}],
        "configMapGenerator": [{"name": "ibkr-exporter", "behavior": "replace", "files": ["exporter.yaml"]}],
    }
    targets = {"targets": [{"name": "mine", "host": "gateway", "port": 4001}]}
    manifests = overlay(tmp_path, kustomization, {"exporter.yaml": targets})
    assert {one["metadata"]["namespace"] for one in manifests} == {"trading"}
    assert yaml.safe_load(only(manifests, "ConfigMap")["data"]["exporter.yaml"]) == targets
    deployment = only(manifests, "Deployment")["spec"]["template"]["spec"]
    assert deployment["containers"][0]["image"] == "registry.example.net/ibkr-exporter:1.2.3"
    assert deployment["volumes"][0]["configMap"]["name"] == only(manifests, "ConfigMap")["metadata"]["name"]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_the_component_puts_the_exporter_into_the_pods_of_gateways(kind: str, tmp_path: Path) -> None:
    other = {**GATEWAY, "kind": kind, "metadata": {"name": "other"}}
    own = {**GATEWAY, "kind": kind}
    if kind == "StatefulSet":
        own["spec"] = {**GATEWAY["spec"], "serviceName": "paper"}
        other["spec"] = own["spec"]
    targets = {"targets": [{"name": "mine", "host": "127.0.0.1", "port": 4001}]}
    kustomization: Manifest = {
        "resources": ["gateway.yaml", "other.yaml"],
        "components": [base("sidecar", tmp_path)],
        "namespace": "trading",
        "patches": [{"path": "exporter.yaml"}],
    }
    patch = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ibkr-exporter"},
        "data": {"exporter.yaml": yaml.safe_dump(targets)},
    }
    manifests = overlay(tmp_path, kustomization, {"gateway.yaml": own, "other.yaml": other, "exporter.yaml": patch})
    assert [errors for one in manifests if (errors := problems(one, VERSIONS[-1]))] == []
    made = {metadata["labels"].get("ibkr-exporter/sidecar"): spec for metadata, spec in pods(manifests)}
    assert [one["name"] for one in made["true"]["containers"]] == ["ibkr-exporter", "gateway"]
    assert {one["name"] for one in made["true"]["volumes"]} == {"settings", "ibkr-exporter-config", "ibkr-exporter-tmp"}
    assert [one["name"] for one in made[None]["containers"]] == ["gateway"]
    assert yaml.safe_load(only(manifests, "ConfigMap")["data"]["exporter.yaml"]) == targets
    assert only(manifests, "PodMonitor")["spec"]["selector"]["matchLabels"] == {"ibkr-exporter/sidecar": "true"}


def test_the_pool_asks_its_own_service() -> None:
    manifests = built(BASES / "probe-pool")
    service = only(manifests, "Service")
    [endpoint] = only(manifests, "PodMonitor")["spec"]["podMetricsEndpoints"]
    [address] = [one["replacement"] for one in endpoint["relabelings"] if one.get("targetLabel") == "__address__"]
    named = service["metadata"]
    assert address == f"{named['name']}.{named['namespace']}.svc:{service['spec']['ports'][0]['port']}"


@pytest.mark.parametrize("number", range(3))
def test_the_examples_of_the_readme_build(number: int, tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", (BASES / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(examples) == 3
    example: Manifest = yaml.safe_load(examples[number])
    if "patches" in example and "resources" not in example:
        example |= {"resources": [base("probe-pool", tmp_path)], "namespace": "trading"}
    text = yaml.safe_dump(example).replace("../ibkr-exporter/deploy/kustomize/", base("", tmp_path) + "/")
    gateway = {**GATEWAY, "kind": "Deployment"}
    config = {"targets": [{"name": "a", "host": "b", "port": 4001}]}
    manifests = overlay(tmp_path, yaml.safe_load(text), {"gateway.yaml": gateway, "exporter.yaml": config})
    assert [errors for one in manifests if (errors := problems(one, VERSIONS[-1]))] == []
    written = yaml.safe_dump_all(manifests)
    assert ("ibkr-exporter.trading.svc:9497" in written) is (number == 2)
    assert ("registry.example.net/ibkr-exporter:0.1.0" in written) is (number < 2)
