"""From the entries of a discovered list to targets: what a label means, and what a list may not do.

`__param_KEY` sets the key KEY of the target, as in `targets[]` of the configuration file; KEYS has which. Every other
label with two underscores is dropped, as Prometheus does, and the rest are labels of `ibkr_target_info`. No path comes
from a list, and no address that `/probe` would refuse.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from exporter.config.addresses import Network, connected_address, is_allowed, is_forbidden, is_number
from exporter.config.checks import InvalidValue, is_address, whole, yaml_text
from exporter.config.endpoint import parse_endpoint
from exporter.config.errors import Problem, reword, suggestion
from exporter.config.fields import LABEL, RESERVED_LABELS
from exporter.config.resolve import check_durations_of, check_target, resolve_target
from exporter.config.schema import TargetSection
from exporter.config.target_groups import Entry
from exporter.config.types import TargetRules
from exporter.config.yaml_source import Loc
from exporter.model import Target

PARAM = "__param_"
MOST_LABELS = 32  # names, over all targets of a source: each is on every line of ibkr_target_info
LONGEST = 256  # characters of a label's name, and of its value
NONE = "none"
REPEATED = (
    "the list names this gateway before, with other labels",
    "List it once, or give each its own __param_name and __param_client_ids",
)


@dataclass(frozen=True, slots=True)
class Discovered:
    """The targets of one source by their key (address and name), and what is wrong.

    `rejected` counts the entries that are left out; other problems are labels that are left out.
    """

    targets: Mapping[tuple[str, str], Target]
    problems: tuple[Problem, ...] = ()
    rejected: int = 0


def _text(text: str) -> str:
    return text


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise InvalidValue(f"{yaml_text(text)} is not true or false", "Write true or false")
    return text.lower() == "true"


def _words(text: str) -> list[str]:
    return [] if text == NONE else [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    numbers = [whole(word) for word in _words(text)]
    if None in numbers:
        raise InvalidValue(f"{yaml_text(text)} is not a list of client ids", "Write them with commas, or none")
    return [number for number in numbers if number is not None]


KEYS: Mapping[str, Callable[[str], Any]] = {
    "name": _text,
    "mode": _text,
    "interval": _text,
    "deadline": _text,
    "slow_after": _text,
    "api_versions": _text,
    "address_family": _text,
    "client_ids": _numbers,
    "avoid_client_ids": _numbers,
    "account": _text,
    "clients": _words,
    "watch": _boolean,
    "download": _boolean,
    "download_interval": _text,
    "settings": _boolean,
    "region": _text,
    "restart_time": _text,
    "restart_timezone": _text,
    "restart_length": _text,
}


def resolve_entries(
    entries: Sequence[Entry],
    rules: TargetRules,
    before: Mapping[tuple[str, str], Target],
) -> Discovered:
    """The targets of a list. An entry with a fault is left out; where it was a target `before`, that one stays."""
    targets: dict[tuple[str, str], Target] = {}
    problems: list[Problem] = []
    names: set[str] = set()
    rejected = 0
    for entry in entries:
        key = (entry.address, entry.labels.get(PARAM + "name", ""))
        faults: list[Problem] = []
        target = _target(entry, rules, faults)
        if target is None:
            rejected += 1
            if key in before:
                targets.setdefault(key, before[key])
        elif targets.setdefault(key, labelled := _with_labels(target, entry, names, faults)) != labelled:
            rejected += 1
            faults.append(Problem(entry.source, None, None, entry.place, *REPEATED))
        problems += faults
    return Discovered(targets, tuple(problems), rejected)


def _target(entry: Entry, rules: TargetRules, faults: list[Problem]) -> Target | None:
    """The target of an entry, without labels; None where a value is at fault."""

    def complain(loc: Loc, message: str, remedy: str) -> None:
        key = "_".join(part for part in loc if isinstance(part, str))
        place = "" if not key or key in ("host", "port") else f" {PARAM}{key}"
        faults.append(Problem(entry.source, None, None, f"{entry.place}{place}", message, remedy))

    values = _values(entry, complain)
    named = "name" in values
    try:
        host, port = parse_endpoint(entry.address)
        host = permitted_host(host, rules.networks)
    except InvalidValue as fault:
        complain((), fault.message, fault.remedy)
        return None
    if faults:
        return None
    try:
        section = TargetSection.model_validate({"name": "-", **values, "host": host, "port": port})
    except ValidationError as error:
        for wrong in error.errors(include_url=False):
            complain(wrong["loc"], *reword(wrong, list(KEYS)))
        return None
    target = resolve_target(section, rules)
    check_durations_of(section, target, (), complain)
    check_target(section, target, rules.clients, (), complain)
    return None if faults else replace(target, name=target.name if named else target.endpoint, discovered=True)


def permitted_host(host: str, networks: Sequence[Network]) -> str:
    """The host in its canonical form. Raises InvalidValue for one that no list may name.

    Names are permitted only where no networks are listed.
    """
    try:
        address = connected_address(host)
    except ValueError:
        if is_address(host):
            raise InvalidValue(f"the address {yaml_text(host)} has a zone", "Write it without the %") from None
        if is_number(host):
            raise InvalidValue(
                f"{yaml_text(host)} is an address in another spelling", "Write it as 192.168.1.20"
            ) from None
        address = None
    if address is not None and is_forbidden(address):
        raise InvalidValue(f"{host} is no address of a gateway", "Remove it from the list: no list may name it")
    if networks and (address is None or not is_allowed(address, networks)):
        remedy = "Add its network there, or name it by its IP address: what a name resolves to may change"
        raise InvalidValue(f"{host} is no address in a network of probe.allow", remedy)
    return host if address is None else str(address)


def _values(entry: Entry, complain: Callable[[Loc, str, str], None]) -> dict[str, Any]:
    """The keys that the labels set. An empty value is none, as in Prometheus."""
    values: dict[str, Any] = {}
    restart: dict[str, str] = {}
    for label, text in entry.labels.items():
        key = label.removeprefix(PARAM)
        if not text or not label.startswith(PARAM) or key not in KEYS:
            continue
        try:
            value = KEYS[key](text)
        except InvalidValue as fault:
            complain((key,), fault.message, fault.remedy)
            continue
        if key.startswith("restart_"):
            restart[key.removeprefix("restart_")] = value
        else:
            values[key] = value
    return {**values, "restart": restart} if restart else values


def _with_labels(target: Target, entry: Entry, names: set[str], faults: list[Problem]) -> Target:
    """The target with the labels that it may have; one that it may not have is a fault, and is left out."""
    labels = {}
    for name, value in entry.labels.items():
        if (
            (name.startswith("__") and not name.startswith(PARAM))
            or not value
            or (name.startswith(PARAM) and name[len(PARAM) :] in KEYS)
        ):
            continue
        problem = _label_problem(name, value)
        if problem is None and name not in names and len(names) >= MOST_LABELS:
            problem = f"there are more than {MOST_LABELS} label names", "Leave out those that no query needs"
        if problem is not None:
            faults.append(Problem(entry.source, None, None, f"{entry.place} {name[:LONGEST]}", *problem))
            continue
        names.add(name)
        labels[name] = value
    return replace(target, labels=labels) if labels else target


def _label_problem(name: str, value: str) -> tuple[str, str] | None:
    for what, text in (("name", name), ("value", value)):
        if len(text) > LONGEST:
            return f"the {what} has more than {LONGEST} characters", "Shorten it"
    if name.startswith(PARAM):
        near = suggestion(name.removeprefix(PARAM), list(KEYS))
        return "a target has no such key", near or f"Known are {', '.join(KEYS)}"
    if not re.fullmatch(LABEL.strip("^$"), name):
        return "this is not a label name", "Use letters, digits and underscores, and no digit first"
    if name in RESERVED_LABELS:
        return "the exporter or Prometheus has this label itself", "Choose another name"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "the value is not text: it has half of a surrogate pair", "Write the whole character"
    return None
