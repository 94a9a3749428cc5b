"""The chart's values: from values.yaml and its comments, the JSON Schema and the table for people.

`# -- TEXT` above a key says what it means, as helm-docs has it; lines of comment after it go on with it.
`# @schema {...}` is JSON Schema for what the default value does not tell. The schema of `config` is the exporter's own.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[1] / "helm" / "ibkr-exporter"
CONFIG_SCHEMA = Path(__file__).parents[2] / "exporter" / "config.schema.json"
TYPES = {
    "bool": "boolean",
    "float": "number",
    "int": "integer",
    "map": "object",
    "seq": "array",
    "str": "string",
}
# What Helm itself gives to a chart that is a dependency of another.
OF_HELM = {"global": {"type": "object"}, "enabled": {"type": "boolean"}}


@dataclass(frozen=True, slots=True)
class Value:
    """One key of values.yaml."""

    path: tuple[str, ...]
    kind: str  # of TYPES
    default: Any
    meaning: str
    schema: dict[str, Any]
    inner: "tuple[Value, ...]" = ()

    @property
    def fixed(self) -> bool:
        """The keys below are all that there may be: none of them is an example."""
        return bool(self.inner) and all(one.meaning or one.fixed for one in self.inner)


def read(text: str) -> tuple[Value, ...]:
    """The values with their comments. Raises ValueError where `@schema` is no JSON."""
    return _inner(yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text), text.splitlines(), ())


def _inner(node: yaml.Node | None, defaults: Any, lines: list[str], path: tuple[str, ...]) -> tuple[Value, ...]:
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        return ()
    found = []
    for key, value in node.value:
        meaning, schema = _comment(lines, key.start_mark.line)
        own = (*path, key.value)
        below = _inner(value, defaults[key.value], lines, own)
        found.append(Value(own, TYPES[value.tag.rpartition(":")[2]], defaults[key.value], meaning, schema, below))
    return tuple(found)


def _comment(lines: list[str], line: int) -> tuple[str, dict[str, Any]]:
    """The comment that ends right above a line: what it says, and what it adds to the schema."""
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    texts: list[str] = []
    schema: dict[str, Any] = {}
    for one in lines[first:line]:
        text = one.lstrip().removeprefix("#").strip()
        if text.startswith("@schema"):
            schema = json.loads(text.removeprefix("@schema"))
        elif text.startswith("-- "):
            texts = [text.removeprefix("-- ")]
        elif texts:
            texts.append(text)
    return " ".join(texts), schema


def schema_text(values: tuple[Value, ...], config_schema: dict[str, Any]) -> str:
    """values.schema.json. Draft 7, which every Helm knows; the exporter's own schema uses nothing newer."""
    made = _object(values)
    config = {key: value for key, value in config_schema.items() if key not in ("$defs", "$schema", "title")}
    made["properties"] = {**made["properties"], "config": config, **OF_HELM}
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", **made, "$defs": config_schema["$defs"]}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _object(values: tuple[Value, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {value.path[-1]: _property(value) for value in values},
    }


def _property(value: Value) -> dict[str, Any]:
    described = {"description": value.meaning} if value.meaning else {}
    if value.fixed:
        return {**described, **_object(value.inner)}
    return {**described, "type": value.kind, **value.schema}


def table(values: tuple[Value, ...]) -> str:
    """The rows for README.md, in the order of values.yaml."""
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for value in _documented(values):
        shown = "" if value.fixed or value.default in ({}, [], "") else f"`{json.dumps(value.default)}`"
        rows.append(f"| `{'.'.join(value.path)}` | {value.kind} | {shown} | {_escaped(value.meaning)} |")
    return "\n".join(rows) + "\n"


def _documented(values: tuple[Value, ...]) -> Iterator[Value]:
    for value in values:
        if value.meaning:
            yield value
        if value.fixed:
            yield from _documented(value.inner)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
