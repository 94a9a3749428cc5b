"""Lists of targets as Prometheus's file_sd and http_sd have them: `[{"targets": ["HOST:PORT"], "labels": {...}}]`.

Here is the shape alone; what each entry means is in discovered.py. Nothing is read from a file or a network.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.config.checks import InvalidValue, yaml_text
from exporter.config.errors import ConfigError, suggestion
from exporter.config.yaml_source import parse

LARGEST = 8 * 1024 * 1024  # bytes of one list
MOST_ENTRIES = 20_000
KEYS = ("targets", "labels")
SHAPE = 'Write [{"targets": ["HOST:PORT"], "labels": {"name": "value"}}]'


@dataclass(frozen=True, slots=True)
class Entry:
    """One address with the labels of its group. `place` is where it is written in the list: `[0].targets[2]`."""

    source: str  # the file or the URL, for people
    place: str
    address: str
    labels: Mapping[str, str]


def parse_list(raw: bytes, source: str, *, is_json: bool) -> tuple[Entry, ...]:
    """The entries of one list. Raises InvalidValue, and then nothing of the list is to be used."""
    if len(raw) > LARGEST:
        raise InvalidValue(f"the list has more than {LARGEST} bytes", "Divide it")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidValue(f"the byte 0x{raw[error.start]:02x} is not UTF-8 text", "Write it as UTF-8") from None
    entries = tuple(_entries(_from_json(text) if is_json else _from_yaml(text), source))
    if len(entries) > MOST_ENTRIES:
        raise InvalidValue(f"the list has more than {MOST_ENTRIES} targets", "Divide the fleet between exporters")
    return entries


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidValue(f"line {error.lineno} is not JSON: {error.msg}", SHAPE) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets in brackets
        raise InvalidValue("this is not JSON that can be read", SHAPE) from None


def _from_yaml(text: str) -> Any:
    try:
        document = parse(text, "", SHAPE, typed=False)
    except ConfigError as error:
        problem = error.problems[0]
        raise InvalidValue(f"line {problem.line}: {problem.message}", problem.remedy) from None
    for problem in document.faults:
        raise InvalidValue(f"line {problem.line}: {problem.message}", problem.remedy)
    return document.data


def _entries(data: Any, source: str) -> Iterator[Entry]:
    if not isinstance(data, list):
        raise InvalidValue("the list of targets is not a list", SHAPE)
    for index, group in enumerate(data):
        place = f"[{index}]"
        if not isinstance(group, dict):
            raise InvalidValue(f"{place} is not a mapping with targets", SHAPE)
        for key in group:
            if key not in KEYS:
                raise InvalidValue(f"{place} has the unknown key {yaml_text(key)}", suggestion(key, KEYS) or SHAPE)
        labels = _labels(f"{place}.labels", group.get("labels"))
        addresses = group.get("targets")
        if not isinstance(addresses, list | None):
            raise InvalidValue(f"{place}.targets is not a list", SHAPE)
        for number, address in enumerate(addresses or ()):
            here = f"{place}.targets[{number}]"
            if not isinstance(address, str):
                raise InvalidValue(f"{here} is not text", SHAPE)
            yield Entry(source, here, address, labels)


def _labels(place: str, labels: Any) -> Mapping[str, str]:
    if labels is None:
        return {}
    if not isinstance(labels, dict):
        raise InvalidValue(f"{place} is not a mapping", SHAPE)
    for name, value in labels.items():
        if not isinstance(value, str):
            raise InvalidValue(f"{place}.{name} is not text", "Write the value in quotes")
    return labels
