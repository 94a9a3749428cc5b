"""The chart: every example of its values is linted, rendered and checked against the schemas of a cluster."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import exporter
from exporter.config import load
from tests.deploy.support import (
    CHART,
    EXAMPLES,
    NAMESPACE,
    RELEASE,
    ROOT,
    VERSIONS,
    Manifest,
    of_kind,
    only,
    pods,
    problems,
    rendered,
    run,
    template,
)

CENTRAL, POOL = CHART / "ci" / "central-values.yaml", CHART / "ci" / "probe-pool-values.yaml"
STANDARD = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "managed-by")}
REFUSED = {
    "nothing to watch": {},
    "several pods would connect": {"replicas": 2, "config": {"targets": [{"name": "a", "host": "b", "port": 1}]}},
    "several pods would": {"replicas": 2, "config": {"file_sd_configs": [{"files": ["*.yml"]}]}},
    "'nonsense' not allowed": {"nonsense": 1},
    "'prot' not allowed": {"config": {"targets": [{"name": "a", "host": "b", "prot": 1}]}},
    "minAvailable or maxUnavailable": {
        "config": {"probe": {"allow": ["10.0.0.0/8"]}},
        "podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1},
    },
    "probe.targets": {"config": {"probe": {"allow": ["10.0.0.0/8"]}}, "probe": {"enabled": True}},
    "config.web: leave out listen": {
        "config": {"probe": {"allow": ["10.0.0.0/8"]}, "web": {"listen": "127.0.0.1:9497"}}
    },
    "does not match pattern": {"image": {"digest": "latest"}},
    "value must be one of": {"image": {"pullPolicy": "Sometimes"}},
}

NETWORK = {"probe": {"allow": ["10.0.0.0/8"]}}

each_example = pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)


def with_values(folder: Path, values: Manifest) -> list[Manifest]:
    """What the chart gives with these values."""
    written = folder / "values.yaml"
    written.write_text(yaml.safe_dump(values), "utf-8")
    return template(CHART, "--values", written)


@each_example
def test_helm_lints_without_a_warning(values: Path) -> None:
    printed = run("helm", "lint", "--strict", CHART, "--values", values).stdout
    assert "[WARNING]" not in printed
    assert "0 chart(s) failed" in printed


@each_example
@pytest.mark.parametrize("version", VERSIONS)
def test_a_cluster_would_take_every_manifest(values: Path, version: str) -> None:
    manifests = rendered(values)
    found = {f"{one['kind']} {one['metadata']['name']}": problems(one, version) for one in manifests}
    assert {name: errors for name, errors in found.items() if errors} == {}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0)),
        ("NetworkPolicy", ("spec", "ingress", 0)),
        ("ServiceMonitor", ("spec", "endpoints", 0, "metricRelabelings", 0)),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0)),
        ("Service", ("spec", "ports", 0)),
    ],
)
def test_a_misspelt_key_would_be_found(kind: str, place: tuple[str | int, ...], version: str) -> None:
    manifest: Any = yaml.safe_load(yaml.safe_dump(of_kind(rendered(CENTRAL), kind)[0]))
    inner = manifest
    for key in place:
        inner = inner[key]
    assert problems(manifest, version) == []
    inner["misspelt"] = 1
    assert problems(manifest, version)


@each_example
def test_no_pod_has_a_privilege(values: Path) -> None:
    for _, spec in pods(rendered(values)):
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any("hostPath" in volume for volume in spec.get("volumes", []))
        for container in spec["containers"] + spec.get("initContainers", []):
            context = container["securityContext"]
            assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not context.get("privileged", False)
            assert {"requests", "limits"} <= container["resources"].keys()


@each_example
def test_names_fit_and_labels_are_the_usual_ones(values: Path) -> None:
    for one in rendered(values):
        named = one["metadata"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", named["name"]), named["name"]
        labels = named["labels"]
        assert "ibkr-exporter/test" in labels or labels.keys() >= STANDARD, named["name"]
        assert all(len(str(value)) <= 63 for value in labels.values())


@each_example
def test_no_two_resources_have_one_name(values: Path) -> None:
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in rendered(values)]
    assert len(names) == len(set(names))


@each_example
def test_the_exporter_takes_the_configuration(values: Path, tmp_path: Path) -> None:
    made = [one for one in rendered(values) if one["kind"] in {"ConfigMap", "Secret"}]
    texts = [{**one.get("data", {}), **one.get("stringData", {})}.get("exporter.yaml") for one in made]
    files = [text for text in texts if text is not None]
    assert len(files) == (0 if "configExistingSecret" in values.read_text("utf-8") else 1)
    for text in files:
        written = tmp_path / "exporter.yaml"
        written.write_text(text.replace("/etc/ibkr-exporter-web/web.yml", "web.yml"), "utf-8")
        (tmp_path / "web.yml").write_text("{}", "utf-8")
        load(written, {"GATEWAY": "paper-0"})  # what check-config does


@each_example
def test_services_monitors_and_policies_select_the_pods_of_the_exporter_alone(values: Path) -> None:
    manifests = rendered(values)
    for deployment in of_kind(manifests, "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        selectors = [deployment["spec"]["selector"]["matchLabels"]]
        selectors += [one["spec"]["selector"] for one in of_kind(manifests, "Service")]
        selectors += [one["spec"]["podSelector"]["matchLabels"] for one in of_kind(manifests, "NetworkPolicy")]
        selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind(manifests, "PodDisruptionBudget")]
        test = only(manifests, "Pod")["metadata"]["labels"]
        for selector in selectors:
            assert selector.items() <= labels.items()
            assert not selector.items() <= test.items()
        service = only(manifests, "Service")
        for monitor in of_kind(manifests, "ServiceMonitor"):
            assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
            assert {one["port"] for one in monitor["spec"]["endpoints"]} == {service["spec"]["ports"][0]["name"]}


@pytest.mark.parametrize("complaint", REFUSED)
def test_values_that_cannot_work_are_refused(complaint: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(REFUSED[complaint]), "utf-8")
    done = run("helm", "template", RELEASE, CHART, "--values", values, check=False)
    assert done.returncode
    assert complaint in done.stderr


def test_two_pods_with_the_same_client_ids_never_run_at_a_time() -> None:
    assert only(rendered(CENTRAL), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert only(rendered(POOL), "Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"


def test_the_network_policy_opens_the_ports_of_the_targets_and_dns_alone() -> None:
    dns, gateways = only(rendered(CENTRAL), "NetworkPolicy")["spec"]["egress"]
    assert [one["port"] for one in dns["ports"]] == [53, 53]
    assert [one["port"] for one in gateways["ports"]] == [4004, 4003]


def test_a_web_configuration_file_is_named_in_the_configuration(tmp_path: Path) -> None:
    manifests = with_values(tmp_path, {"webConfig": {"existingSecret": "web"}, "config": NETWORK})
    config = yaml.safe_load(only(manifests, "ConfigMap")["data"]["exporter.yaml"])
    assert config["web"] == {"config_file": "/etc/ibkr-exporter-web/web.yml"}


@pytest.mark.parametrize(
    "values",
    [
        {"webConfig": {"existingSecret": "web"}, "config": NETWORK},
        {
            "secretFiles": {"existingSecret": "files"},
            "config": {**NETWORK, "web": {"config_file": "/etc/ibkr-exporter-secrets/web.yml"}},
        },
        {"configExistingSecret": "configuration"},
        {"extraArgs": ["--web.route-prefix=/x"], "config": NETWORK},
    ],
    ids=["webConfig", "secretFiles", "configExistingSecret", "extraArgs"],
)
def test_health_is_asked_without_a_password_wherever_one_may_be_wanted(tmp_path: Path, values: Manifest) -> None:
    [container] = only(with_values(tmp_path, values), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"] == container["readinessProbe"]
    command = container["livenessProbe"]["exec"]["command"]
    assert json.dumps(command) in (ROOT / "Dockerfile").read_text("utf-8")
    assert {"name": "IBKR_EXPORTER_LISTEN", "value": ":9497"} in container["env"]


def test_health_is_asked_by_the_kubelet_below_the_prefix_where_nobody_wants_a_password(tmp_path: Path) -> None:
    values = {"config": {**NETWORK, "web": {"external_url": "https://monitor.example.net/ibkr"}}}
    [container] = only(with_values(tmp_path, values), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/ibkr/-/healthy", "port": "http-ibkr"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/ibkr/-/ready", "port": "http-ibkr"}


def test_helm_test_asks_the_service_as_the_image_asks_itself() -> None:
    [container] = only(rendered(CENTRAL), "Pod")["spec"]["containers"]
    assert json.dumps(container["command"]) in (ROOT / "Dockerfile").read_text("utf-8")
    service = only(rendered(CENTRAL), "Service")
    named = service["metadata"]
    address = f"{named['name']}.{named['namespace']}.svc:{service['spec']['ports'][0]['port']}"
    assert container["env"] == [{"name": "IBKR_EXPORTER_LISTEN", "value": address}]


def test_the_chart_of_a_gateway_can_run_the_exporter_in_its_own_pod(tmp_path: Path) -> None:
    gateway = tmp_path / "gateway"
    (gateway / "templates").mkdir(parents=True)
    (gateway / "charts").mkdir()
    (gateway / "charts" / "ibkr-exporter").symlink_to(CHART)
    (gateway / "Chart.yaml").write_text("{apiVersion: v2, name: gateway, version: 1.0.0}", "utf-8")
    values = {
        "deployment": {"enabled": False},
        "config": {"targets": [{"name": "own", "host": "127.0.0.1", "port": 4002}]},
    }
    (gateway / "values.yaml").write_text(yaml.safe_dump({"ibkr-exporter": values}), "utf-8")
    [snippet] = re.findall(r"```yaml\n# in the pod.*?\n(.*?)```", (CHART / "README.md").read_text("utf-8"), re.DOTALL)
    pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: gateway\nspec:\n" + re.sub(
        "^", "  ", snippet, flags=re.MULTILINE
    )
    (gateway / "templates" / "pod.yaml").write_text(pod, "utf-8")
    manifests = template(gateway)
    made = only(manifests, "Pod")
    assert problems(made, VERSIONS[-1]) == []
    assert {volume["name"] for volume in made["spec"]["volumes"]} == {"ibkr-exporter-config", "ibkr-exporter-tmp"}
    assert made["spec"]["volumes"][0]["configMap"]["name"] == only(manifests, "ConfigMap")["metadata"]["name"]


@each_example
def test_the_notes_say_what_comes_next(values: Path) -> None:
    done = run("helm", "install", RELEASE, CHART, "--values", values, "--dry-run=client", "--namespace", NAMESPACE)
    notes = done.stdout.partition("NOTES:")[2]
    assert ("port-forward" in notes) is ("deployment: {enabled: false}" not in values.read_text("utf-8"))
    assert "<no value>" not in notes + done.stdout


def test_the_version_is_that_of_the_exporter() -> None:
    chart: Manifest = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["version"] == chart["appVersion"] == exporter.__version__
