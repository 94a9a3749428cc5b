"""The reference and the schema of the chart's values are made from values.yaml; every value is explained."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator

from deploy.kubernetes import values
from tests.deploy.support import CHART, EXAMPLES, ROOT


def test_the_committed_schema_and_reference_are_what_values_yaml_gives() -> None:
    command = [sys.executable, "-m", "deploy.kubernetes", "--check", "values"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_value_is_explained() -> None:
    read = values.read((CHART / "values.yaml").read_text("utf-8"))
    assert [".".join(one.path) for one in read if not one.meaning and not one.fixed] == []


def test_a_comment_above_a_key_is_its_meaning_and_its_schema() -> None:
    text = 'a:\n  # before\n\n  # -- first\n  # second\n  # @schema {"minimum": 1}\n  b: 2\n  # -- other\n  c: {d: 1}\n'
    [a] = values.read(text)
    b, c = a.inner
    assert (b.path, b.kind, b.default, b.meaning, b.schema) == (
        ("a", "b"),
        "integer",
        2,
        "first second",
        {"minimum": 1},
    )
    assert (c.default, c.inner, a.fixed) == ({"d": 1}, (), True)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_schema_is_one_and_takes_the_examples(path: Path) -> None:
    read = values.read((CHART / "values.yaml").read_text("utf-8"))
    schema = yaml.safe_load((CHART / "values.schema.json").read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    assert set(schema["properties"]) == {one.path[0] for one in read} | {"global", "enabled"}
    assert not list(Draft7Validator(schema).iter_errors(yaml.safe_load(path.read_text("utf-8"))))
