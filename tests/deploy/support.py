"""What the tests of the manifests share: helm, kubectl and the schemas of scripts/kubernetes-tools."""

import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "build" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "ibkr-exporter"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE, NAMESPACE = "ibkr", "monitoring"
VERSIONS = ("1.25.0", "1.37.0")  # the oldest that the chart permits, the newest whose schemas there are
OPERATOR = "monitoring.coreos.com/v1"

Manifest = dict[str, Any]


def run(tool: str, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run helm or kubectl, with no cluster to ask. Skips where scripts/kubernetes-tools could not make them."""
    binary = TOOLS / "bin" / tool
    if not binary.exists():
        pytest.skip(f"no {tool}: scripts/kubernetes-tools makes it")
    environment = os.environ | {"KUBECONFIG": os.devnull, "HELM_CONFIG_HOME": str(TOOLS), "HELM_CACHE_HOME": str(TOOLS)}
    command = [str(binary), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stderr}\n{done.stdout}")
    return done


@cache
def rendered(values: Path, *arguments: str) -> tuple[Manifest, ...]:
    """What `helm template` makes of the chart with a file of values."""
    return tuple(template(CHART, "--values", values, *arguments))


def template(chart: Path, *arguments: str | Path) -> list[Manifest]:
    done = run("helm", "template", RELEASE, chart, "--namespace", NAMESPACE, *arguments)
    return [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]


def of_kind(manifests: tuple[Manifest, ...] | list[Manifest], kind: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] == kind]


def only(manifests: tuple[Manifest, ...] | list[Manifest], kind: str) -> Manifest:
    [found] = of_kind(manifests, kind)
    return found


def pods(manifests: tuple[Manifest, ...] | list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Metadata and specification of every pod."""
    for one in manifests:
        if one["kind"] == "Pod":
            yield one["metadata"], one["spec"]
        elif "template" in one.get("spec", {}):
            yield one["spec"]["template"]["metadata"], one["spec"]["template"]["spec"]


def problems(manifest: Manifest, version: str) -> list[str]:
    """What a cluster of that version would refuse or drop."""
    return [f"{error.json_path}: {error.message[:200]}" for error in validator(manifest, version).iter_errors(manifest)]


def validator(manifest: Manifest, version: str) -> Draft202012Validator:
    """Skips where scripts/kubernetes-tools could not make the schemas."""
    kind, api = manifest["kind"], manifest["apiVersion"]
    if api == OPERATOR:
        return _validator(f"{kind}.json", "")
    name = "-".join([kind, *api.replace(".k8s.io", "").replace(".authorization", "").split("/")]).lower()
    return _validator(f"{name}.json", version)


@cache
def _validator(name: str, version: str) -> Draft202012Validator:
    if not (TOOLS / "schemas").exists():
        pytest.skip("no schemas: scripts/kubernetes-tools makes them")
    folder = TOOLS / "schemas" / version
    registry: Registry[Any] = Registry()
    if version:
        registry = registry.with_resource("_definitions.json", _definitions(version))
    return Draft202012Validator(json.loads((folder / name).read_text("utf-8")), registry=registry)


@cache
def _definitions(version: str) -> Resource[Any]:
    found = json.loads((TOOLS / "schemas" / version / "_definitions.json").read_text("utf-8"))
    return DRAFT202012.create_resource(found)
