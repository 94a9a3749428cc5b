"""From a document to sections: what is wrong with single values is reported, and the rest is kept for the other rules.

A faulty key is left out and, where one must be there, a stand-in put in of which no rule complains. So the rules
between keys find what else is wrong, and nobody has to correct a file three times to see its last fault.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from exporter.config.errors import ConfigError, Problem
from exporter.config.schema import (
    UNKNOWN_LIBRARY,
    ClientSection,
    DefaultsSection,
    LogSection,
    ProbeSection,
    RestartSection,
    Section,
    Settings,
    TargetSection,
    WebSection,
    WindowSection,
)
from exporter.config.wording import reword
from exporter.config.yaml_source import Document, Loc

DURATIONS = ("interval", "deadline", "slow_after")  # they are compared with each other: one faulty, none is known
COLLECTIONS = ("targets", "clients")
SECTIONS: Mapping[str, type[Section]] = {
    "targets": TargetSection,
    "clients": ClientSection,
    "defaults": DefaultsSection,
    "maintenance": WindowSection,
    "web": WebSection,
    "probe": ProbeSection,
    "log": LogSection,
}
STAND_IN_WINDOW = {"name": "-", "start": "00:00", "end": "00:01", "timezone": "UTC"}
STAND_IN_IDS = 2**30  # those of the target at index n are 2n and 2n + 1 above this


def validate(document: Document, problems: list[Problem]) -> Settings:
    """The document as sections. Appends to `problems`; raises ConfigError for a document that is no mapping at all."""
    if not isinstance(document.data, dict):
        message = "the file is not a mapping"
        raise ConfigError([document.problem((), message, "Begin with targets: and put the targets below, one an item")])
    try:
        return Settings.model_validate(document.data)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    places = [_written(fault) for fault in faults]
    for fault, loc in zip(faults, places, strict=True):
        problems.append(document.problem(loc, *reword(fault, _known_keys(loc))))
    return Settings.model_validate(_salvage(document.data, places))


def client_names(document: Document) -> tuple[str, ...]:
    """The names under `clients`, the faulty ones included: a reference to one of those is not at fault itself."""
    clients = document.data.get("clients")
    return tuple(clients) if isinstance(clients, dict) else ()


def _written(fault: ErrorDetails) -> Loc:
    """The place without the `[key]` that pydantic adds where a check of ours refused the key itself."""
    loc = fault["loc"]
    return loc[:-1] if loc[-1] == "[key]" and fault["type"] == "unfit" else loc


def _known_keys(loc: Loc) -> list[str]:
    """The keys of the mapping in which the value at `loc` is."""
    section = SECTIONS[str(loc[0])] if len(loc) > 1 else Settings
    if section in (TargetSection, DefaultsSection) and loc[-2] == "restart":
        section = RestartSection
    return list(section.model_fields)


def _salvage(data: dict[str, Any], faulty: Iterable[Loc]) -> dict[str, Any]:
    """The data without the faulty keys and with the stand-ins. The order of lists, and so every place, is kept."""
    sound = deepcopy(data)
    for loc in faulty:
        if loc[0] == "maintenance" and len(loc) > 1:
            continue  # a window is kept whole, or not at all
        _drop(sound, loc[: 3 if loc[0] in COLLECTIONS else 2])
    durations_known = not any(loc[0] == "defaults" and loc[-1] in DURATIONS for loc in faulty)
    for loc in faulty:
        if loc[0] == "maintenance" and len(loc) > 1 and "maintenance" in sound:
            sound["maintenance"][int(loc[1])] = STAND_IN_WINDOW
    for index, target in enumerate(sound.get("targets") or ()):
        _stand_in(target, index)
        for key in () if durations_known else DURATIONS:
            target.pop(key, None)
    for client in (sound.get("clients") or {}).values():
        client.setdefault("library", UNKNOWN_LIBRARY)
    return sound


def _drop(sound: dict[str, Any], loc: Loc) -> None:
    """Leave out what is at `loc`: of a mapping the key, of a list the item's content."""
    holder: Any = sound
    for part in loc[:-1]:
        if isinstance(holder, dict) and part not in holder:
            return  # left out already
        holder = holder[part]
    last = loc[-1]
    if isinstance(holder, list):
        holder[int(last)] = {}
        return
    for key in DURATIONS if last in DURATIONS else (last,):
        holder.pop(key, None)
    if last == "client_ids" and loc[0] == "targets":
        holder["client_ids"] = None


def _stand_in(target: dict[str, Any], index: int) -> None:
    if "host" not in target or "port" not in target:
        target.update(host=f"{index}.invalid", port=7497)
    target.setdefault("name", f"-{index}-")
    if target.get("client_ids", ()) is None:
        target["client_ids"] = [STAND_IN_IDS + 2 * index, STAND_IN_IDS + 2 * index + 1]
