"""From a document to sections: every faulty value is a problem, and the sound sections are kept for the other rules.

A target, a client or a window with a faulty value is left out as a whole, so that no rule between keys complains of
a default in place of the faulty value. The places of the others do not change.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from exporter.config.discovery_schema import (
    AuthorizationSection,
    BasicAuthSection,
    FileSdSection,
    HttpHeaderSection,
    HttpSdSection,
    TlsConfigSection,
)
from exporter.config.errors import ConfigError, Problem, reword
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
from exporter.config.yaml_source import Document, Loc, dotted

SECTIONS: Mapping[str, type[Section]] = {
    "targets": TargetSection,
    "clients": ClientSection,
    "defaults": DefaultsSection,
    "maintenance": WindowSection,
    "web": WebSection,
    "probe": ProbeSection,
    "log": LogSection,
    "file_sd_configs": FileSdSection,
    "http_sd_configs": HttpSdSection,
}
NESTED: Mapping[str, type[Section]] = {
    "restart": RestartSection,
    "basic_auth": BasicAuthSection,
    "authorization": AuthorizationSection,
    "tls_config": TlsConfigSection,
}
# Sections with several members, of which a faulty one is left out alone.
SEVERAL = ("targets", "clients", "maintenance", "file_sd_configs", "http_sd_configs")


TYPED = ("int_type", "float_type", "bool_type")  # complaints of text where a typed value belongs


class Sound(NamedTuple):
    """The sections without a faulty value. The sequences are the places of those in their lists."""

    settings: Settings
    targets: Sequence[int]
    windows: Sequence[int]
    files: Sequence[int]
    urls: Sequence[int]
    defaults: bool  # the section `defaults` is sound, or not there


def validate(document: Document, problems: list[Problem]) -> Sound:
    """The document as sections. Appends to `problems`; raises ConfigError for a document that is no mapping at all."""
    data = document.data
    if not isinstance(data, dict):
        message = "the file is not a mapping"
        raise ConfigError([document.problem((), message, "Begin with targets: and put the targets below, one an item")])
    faulty: set[tuple[str | int, ...]] = set()
    try:
        settings = _settings(document)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            loc = _written(fault)
            if not document.unset(dotted(loc)):
                problems.append(document.problem(loc, *reword(fault, _known_keys(loc))))
            faulty.add(tuple(loc[: 2 if loc[0] in SEVERAL else 1]))
        settings = Settings.model_validate(
            {key: _sound(key, data[key], faulty) for key in data if (key,) not in faulty}
        )
    return Sound(
        settings,
        targets=_places("targets", data, faulty),
        windows=_places("maintenance", data, faulty),
        files=_places("file_sd_configs", data, faulty),
        urls=_places("http_sd_configs", data, faulty),
        defaults=("defaults",) not in faulty,
    )


def _settings(document: Document) -> Settings:
    """The sections; text from a variable is typed where the key takes no text. Raises pydantic's ValidationError."""
    try:
        return Settings.model_validate(document.data)
    except ValidationError as error:
        typed = [document.retype(fault["loc"]) for fault in error.errors(include_url=False) if fault["type"] in TYPED]
        if not any(typed):
            raise
    return Settings.model_validate(document.data)


def client_names(document: Document) -> tuple[str, ...] | None:
    """The names under `clients`, the faulty ones included: a reference to one of those is not at fault itself."""
    clients = document.data.get("clients")
    return None if clients is None else tuple(clients) if isinstance(clients, dict) else ()


def _written(fault: ErrorDetails) -> Loc:
    """The place without the `[key]` that pydantic adds where a check of ours refused the key itself."""
    loc = fault["loc"]
    return loc[:-1] if loc[-1] == "[key]" and fault["type"] == "unfit" else loc


def _known_keys(loc: Loc) -> list[str]:
    """The keys of the mapping in which the value at `loc` is."""
    section = SECTIONS[str(loc[0])] if len(loc) > 1 else Settings
    if "http_headers" in loc[2:-2]:
        section = HttpHeaderSection
    elif len(loc) > 2 and loc[-2] in NESTED:  # noqa: PLR2004 - a key in a mapping in a section
        section = NESTED[str(loc[-2])]
    return list(section.model_fields)


def _places(key: str, data: Mapping[str, Any], faulty: Collection[Loc]) -> Sequence[int]:
    items = data.get(key)
    sound = isinstance(items, list) and (key,) not in faulty
    return [index for index in range(len(items or ())) if (key, index) not in faulty] if sound else ()


def _sound(key: str, value: Any, faulty: Collection[Loc]) -> Any:
    """Return the section's items without those in which a value is faulty."""
    if isinstance(value, list):
        return [item for index, item in enumerate(value) if (key, index) not in faulty]
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if (key, name) not in faulty}
    return value
