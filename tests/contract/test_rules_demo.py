"""The Compose profile demo watches exactly the fleet that `ibkr-exporter demo` has."""

import re
from pathlib import Path

import yaml

from exporter.cli.demo import FLEET
from exporter.config import load

ROOT = Path(__file__).parents[2]


def test_every_simulated_gateway_is_a_target_under_its_own_name_and_port() -> None:
    targets = {target.port: (target.name, target.mode) for target in load(ROOT / "deploy/exporter/demo.yaml").targets}
    for port, extra in enumerate(FLEET, 7001):
        assert targets.pop(port) == (extra.name, extra.mode)
    assert [name for name, _ in targets.values()] == ["no-such-host"]


def test_every_example_configuration_is_sound() -> None:
    for path in sorted((ROOT / "deploy" / "exporter").glob("*.yaml")):
        assert load(path).targets, path.name


# What is no setting of a user: the demo's own, which deploy/demo.env and tests/stack give.
OURS = {"FLEET_ARGS"}


def test_the_settings_that_are_explained_are_those_that_compose_reads() -> None:
    files = [ROOT / "compose.yaml", *(ROOT / "deploy").glob("compose.*.yaml")]
    read = set(re.findall(r"\$\{(\w+)", "".join(path.read_text(encoding="utf-8") for path in files)))
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert {found[1] for line in lines if (found := re.match(r"#?([A-Z_]+)=", line))} == read - OURS


def test_every_port_is_open_to_this_machine_only() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["init"] is True, name
        assert service["mem_limit"], name
