"""The configuration as documents: its JSON Schema, and a table for each section. `make generate` writes them."""

import json
from typing import Any

from exporter.config.discovery_schema import (
    AuthorizationSection,
    BasicAuthSection,
    FileSdSection,
    HttpHeaderSection,
    HttpSdSection,
    TlsConfigSection,
)
from exporter.config.schema import (
    ClientSection,
    DefaultsSection,
    LogSection,
    ProbeSection,
    RestartSection,
    Settings,
    TargetSection,
    WebSection,
    WindowSection,
)
from exporter.config.section import Section
from exporter.config.variables import PATTERN

ABOUT = ("default", "description", "title", "examples")
TITLES: dict[str, type[Section]] = {
    "The file": Settings,
    "targets[]": TargetSection,
    "targets[].restart": RestartSection,
    "file_sd_configs[]": FileSdSection,
    "http_sd_configs[]": HttpSdSection,
    "http_sd_configs[].basic_auth": BasicAuthSection,
    "http_sd_configs[].authorization": AuthorizationSection,
    "http_sd_configs[].tls_config": TlsConfigSection,
    "http_sd_configs[].http_headers.NAME": HttpHeaderSection,
    "clients.NAME": ClientSection,
    "defaults": DefaultsSection,
    "maintenance[]": WindowSection,
    "web": WebSection,
    "probe": ProbeSection,
    "log": LogSection,
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors. It knows the shape, not the rules between keys."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema = head | Settings.model_json_schema()
    schema["title"] = "ibkr-exporter configuration"
    for section in (schema, *schema["$defs"].values()):
        section["properties"] = {name: _or_variable(value) for name, value in section["properties"].items()}
    return schema


def schema_text() -> str:
    """The text of config.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def key_tables() -> str:
    """Markdown: for each section every key with its kind of value, its default and its meaning."""
    return "\n".join(_table(title, section) for title, section in TITLES.items())


def _table(title: str, section: type[Section]) -> str:
    head = f"### `{title}`\n" if title.islower() or "." in title else f"### {title}\n"
    schema = section.model_json_schema()
    rows = (
        f"| `{name}` | {_kind(value)} | {_default(name, value, schema)} | {_meaning(section, name)} |"
        for name, value in schema["properties"].items()
    )
    return "\n".join([head, "| key | value | default | meaning |", "|---|---|---|---|", *rows, ""])


def _meaning(section: type[Section], name: str) -> str:
    return (section.model_fields[name].description or "").replace("|", "\\|")


def _default(name: str, value: dict[str, Any], schema: dict[str, Any]) -> str:
    if name in schema.get("required", ()):
        return "required"
    default = value.get("default")
    if default is None or (isinstance(default, dict) and default):
        return ""  # where null has a meaning, the description says which; a section has its own table
    return f"`{json.dumps(default)}`" if not isinstance(default, float) else f"`{default:g}s`"


def _kind(value: dict[str, Any]) -> str:
    """Return the kind of value that a key takes, such as `duration` or `list`."""
    if "anyOf" in value:
        members = [member for member in value["anyOf"] if member.get("type") != "null"]
        if [member.get("type") for member in members] == ["number", "string"]:
            return "duration"
        return " or ".join(map(_kind, members))
    if "enum" in value:
        return " or ".join(f"`{word}`" for word in value["enum"])
    kind = value.get("type")
    if kind == "array":
        kind = _kind(value["items"])
        return f"list of {kind}" if "enum" in value["items"] else f"list of {kind}s"
    if "$ref" in value or kind == "object":
        return "mapping"
    return {"string": "text", "integer": "whole number", "boolean": "`true` or `false`"}[str(kind)]


def _or_variable(value: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that may also be text with a variable in it, where that is no mapping and no plain text."""
    members = value.get("anyOf", [value])
    if any("$ref" in member or member.get("type") == "object" or _is_plain_text(member) for member in members):
        return value
    if any("items" in member for member in members):
        members = [
            member | {"items": _or_variable(member["items"])} if "items" in member else member for member in members
        ]
        return value | {"anyOf": members} if "anyOf" in value else members[0]
    about: dict[str, Any] = {key: value[key] for key in ABOUT if key in value}
    if "anyOf" not in value:
        members = [{key: part for key, part in value.items() if key not in about}]
    return {"anyOf": [*members, {"type": "string", "pattern": PATTERN}], **about}


def _is_plain_text(member: dict[str, Any]) -> bool:
    return member.get("type") == "string" and not {"pattern", "enum"} & member.keys()
