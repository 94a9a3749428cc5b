"""What the chart brings to Prometheus and Grafana: Compose's rules, dashboards and scrapes."""

import tarfile
from pathlib import Path

import pytest
import yaml

import exporter
from deploy.rules.__main__ import contents
from exporter.config import load
from tests.deploy.support import CHART, NAMESPACE, RELEASE, ROOT, of_kind, only, rendered, run, template

CENTRAL, POOL = CHART / "ci" / "central-values.yaml", CHART / "ci" / "probe-pool-values.yaml"


def test_the_rules_are_those_of_compose_with_the_jobs_and_links_of_the_values() -> None:
    expected = contents({"exporter": "ibkr", "prometheus": "prometheus-k8s", "alertmanager": "alertmanager-main"})
    made = {
        one["metadata"]["name"].removeprefix(f"{RELEASE}-ibkr-exporter-"): one
        for one in of_kind(rendered(CENTRAL), "PrometheusRule")
    }
    assert {f"{name}.yml" for name in made} == expected.keys()
    for name, one in made.items():
        linked = expected[f"{name}.yml"].replace("http://127.0.0.1:9497", "https://ibkr.example.net")
        linked = linked.replace("http://127.0.0.1:3000", "https://grafana.example.net")
        assert one["spec"] == yaml.safe_load(linked)


def test_the_dashboards_are_those_of_compose() -> None:
    made: dict[str, str] = {}
    for one in of_kind(rendered(CENTRAL), "ConfigMap"):
        if "grafana_dashboard" in one["metadata"]["labels"]:
            made |= one["data"]
    folder = ROOT / "deploy" / "grafana" / "dashboards"
    assert made == {f"ibkr-{path.name}": path.read_text("utf-8") for path in folder.glob("*.json")}


def test_a_packaged_chart_holds_the_same_bytes(tmp_path: Path) -> None:
    run("helm", "package", CHART, "--destination", tmp_path)
    with tarfile.open(tmp_path / f"ibkr-exporter-{exporter.__version__}.tgz") as archive:
        held = {name: archive.extractfile(name) for name in archive.getnames()}
        kept = {name.partition("/")[2]: file.read() for name, file in held.items() if file}
    for place, folder in (("rules", "prometheus/rules"), ("dashboards", "grafana/dashboards")):
        files = {
            path.name: path.read_bytes()
            for path in (ROOT / "deploy" / folder).iterdir()
            if path.suffix in {".yml", ".json"}
        }
        found = {Path(name).name: data for name, data in kept.items() if name.startswith(f"files/{place}/")}
        assert found == files
    assert not [name for name in kept if name.startswith("ci/")]


def test_what_only_dashboards_read_is_scraped_apart_as_in_compose() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))
    compose = {one["job_name"]: one for one in config["scrape_configs"]}
    often, details = only(rendered(CENTRAL), "ServiceMonitor")["spec"]["endpoints"]
    for endpoint, job in ((often, "ibkr"), (details, "ibkr-details")):
        assert endpoint["interval"] == compose[job]["scrape_interval"]
        assert endpoint["scrapeTimeout"] == compose[job]["scrape_timeout"]
        assert endpoint["relabelings"][0] == {"targetLabel": "job", "replacement": job}
        names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
        made = [{names.get(key, key): value for key, value in one.items()} for one in endpoint["metricRelabelings"]]
        assert made == compose[job]["metric_relabel_configs"]


def test_one_exporter_keeps_its_instance_through_restarts_and_pods_of_a_pool_have_their_own() -> None:
    for endpoint in only(rendered(CENTRAL), "ServiceMonitor")["spec"]["endpoints"]:
        assert {"targetLabel": "instance", "replacement": f"{NAMESPACE}/{RELEASE}-ibkr-exporter"} in endpoint[
            "relabelings"
        ]
    for endpoint in only(rendered(POOL), "ServiceMonitor")["spec"]["endpoints"]:
        assert {"sourceLabels": ["namespace", "pod"], "separator": "/", "targetLabel": "instance"} in endpoint[
            "relabelings"
        ]


@pytest.mark.parametrize(
    ("web", "prefix"),
    [
        ({}, ""),
        ({"external_url": "https://monitor.example"}, ""),
        ({"external_url": "https://monitor.example/ibkr/"}, "/ibkr"),
        ({"external_url": "https://monitor.example/ibkr", "route_prefix": "/"}, ""),
        ({"route_prefix": "/a/b"}, "/a/b"),
    ],
)
def test_all_that_asks_the_exporter_asks_below_its_route_prefix(
    web: dict[str, str], prefix: str, tmp_path: Path
) -> None:
    values = tmp_path / "values.yaml"
    config = {"probe": {"allow": ["10.0.0.0/8"]}, "web": web}
    made = {"serviceMonitor": {"enabled": True}, "probe": {"enabled": True, "targets": ["10.0.0.1:4001"]}}
    values.write_text(yaml.safe_dump({"config": config, "gatewayMonitor": {"enabled": True}, **made}), "utf-8")
    manifests = template(CHART, "--values", values)
    [container] = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == f"{prefix}/-/healthy"
    assert {one["path"] for one in only(manifests, "ServiceMonitor")["spec"]["endpoints"]} == {f"{prefix}/metrics"}
    assert only(manifests, "Probe")["spec"]["prober"]["path"] == f"{prefix}/probe"
    assert only(manifests, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["path"] == f"{prefix}/probe"
    written = tmp_path / "exporter.yaml"
    written.write_text(only(manifests, "ConfigMap")["data"]["exporter.yaml"], "utf-8")
    assert load(written).route_prefix == prefix
