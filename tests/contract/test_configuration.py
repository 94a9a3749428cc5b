"""What is generated from the configuration's code, and what is written about it, agrees with it."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from exporter.clients.libraries import find_libraries
from exporter.config import load
from exporter.config.discovered import resolve_entries
from exporter.config.discovery_schema import AuthorizationSection
from exporter.config.fields import RESERVED_LABELS
from exporter.config.reference import TITLES, key_tables, schema_text
from exporter.config.target_groups import parse_list
from exporter.config.types import LIBRARIES, NO_RULES
from exporter.metrics.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "ibkr-exporter.yaml"
CONFIGS = ROOT / "tests" / "configs"
# the schema knows the shape; what is wrong with these is a rule between keys, or the YAML itself
SHAPE = (
    "unknown_key",
    "unknown_key_far_from_all",
    "missing_keys",
    "wrong_types",
    "ports",
    "account",
    "log",
    "durations",
    "maintenance",
    "restart",
)

# we take more than the schema says: nothing for a section; and dates as text, which other readers make dates of
MORE = ("empty_sections", "names_that_yaml_might_read_otherwise")
ACCEPTED = [EXAMPLE, *(path for path in sorted((CONFIGS / "good").glob("*.yaml")) if path.stem not in MORE)]


def schema() -> dict[str, Any]:
    shipped: dict[str, Any] = json.loads((files("exporter") / "config.schema.json").read_text("utf-8"))
    return shipped


def test_the_shipped_schema_is_the_one_that_the_code_gives() -> None:
    assert (files("exporter") / "config.schema.json").read_text("utf-8") == schema_text(), "run: make generate"


def test_the_shipped_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


def test_every_object_in_the_schema_refuses_unknown_keys() -> None:
    sections = [schema(), *schema()["$defs"].values()]

    assert len(sections) == len(TITLES)
    assert all(section["additionalProperties"] is False for section in sections)


def test_every_key_says_what_it_means() -> None:
    for section in TITLES.values():
        assert all(field.description for field in section.model_fields.values())


def test_the_reference_has_the_tables_that_the_code_gives() -> None:
    assert key_tables() in (ROOT / "docs" / "configuration.md").read_text("utf-8"), "run: make generate"


def test_the_file_in_the_reference_loads(tmp_path: Path) -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "configuration.md").read_text("utf-8"), re.DOTALL)
    path = tmp_path / "exporter.yaml"
    path.write_text(block, "utf-8")

    assert [target.name for target in load(path).targets] == ["paper"]


def test_the_example_loads_and_shows_every_key() -> None:
    load(EXAMPLE)
    data = yaml.safe_load(EXAMPLE.read_text("utf-8"))

    [url] = data["http_sd_configs"]
    shown = {
        "The file": data,
        "targets[]": data["targets"][0],
        "targets[].restart": data["targets"][0]["restart"],
        "clients.NAME": data["clients"]["ib_async"],
        "file_sd_configs[]": data["file_sd_configs"][0],
        "http_sd_configs[]": url,
        "http_sd_configs[].basic_auth": url["basic_auth"],
        "http_sd_configs[].authorization": AuthorizationSection.model_fields,  # a URL has one kind of credentials
        "http_sd_configs[].tls_config": url["tls_config"],
        "http_sd_configs[].http_headers.NAME": url["http_headers"]["X-Team"],
        "maintenance[]": data["maintenance"][0],
        **{name: data[name] for name in ("defaults", "web", "probe", "log")},
    }
    assert {title: set(keys) for title, keys in shown.items()} == {
        title: set(section.model_fields) for title, section in TITLES.items()
    }


def test_the_example_of_a_list_is_one_that_is_read() -> None:
    path = ROOT / "deploy" / "discovery" / "gateways.yaml"
    [pattern] = load(EXAMPLE).sources[0].patterns  # type: ignore[union-attr]
    found = resolve_entries(parse_list(path.read_bytes(), "", is_json=False), NO_RULES, {})

    assert path.match(pattern)
    assert (len(found.targets), found.problems) == (3, ())


def test_the_example_names_its_schema_for_editors() -> None:
    first = EXAMPLE.read_text("utf-8").splitlines()[0]
    match = re.fullmatch(r"# yaml-language-server: \$schema=(.+)", first)

    assert match
    assert (EXAMPLE.parent / match[1]).resolve() == (ROOT / "exporter" / "config.schema.json").resolve()


@pytest.mark.parametrize("path", sorted(ROOT.glob("deploy/exporter/*.yaml")), ids=lambda path: path.name)
def test_every_configuration_that_we_deploy_loads(path: Path) -> None:
    assert load(path).targets


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_an_editor_accepts_what_loads(path: Path) -> None:
    Draft202012Validator(schema()).validate(yaml.safe_load(path.read_text("utf-8")))


@pytest.mark.parametrize("stem", SHAPE)
def test_an_editor_marks_what_has_the_wrong_shape(stem: str) -> None:
    data = yaml.safe_load((CONFIGS / "bad" / f"{stem}.yaml").read_text("utf-8"))

    assert not Draft202012Validator(schema()).is_valid(data)


def test_the_libraries_are_those_that_have_a_driver() -> None:
    assert set(LIBRARIES) == set(find_libraries())


def test_no_label_of_a_metric_can_be_configured_as_a_label() -> None:
    used = {label for metric in CATALOGUE for label in metric.labels}

    assert used <= RESERVED_LABELS
