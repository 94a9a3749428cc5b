"""The kinds of value that a configuration has: durations, names, addresses, each with its check and its JSON Schema."""

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from exporter.config.checks import (
    ACCOUNT,
    MAX_CLIENT_ID,
    MAX_PORT,
    VERSIONS,
    InvalidValue,
    check_account,
    check_client_id,
    check_host,
    check_port,
    parse_duration,
    parse_versions,
    yaml_text,
)
from exporter.config.endpoint import parse_listen
from exporter.config.maintenance_windows import load_zone
from exporter.config.web_url import check_route_prefix, parse_external_url

DURATION = r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h)?$"
NAME = r"^\.*[a-zA-Z0-9_-][a-zA-Z0-9_.-]*$"  # a path's . and .. are no segment of a URL: /targets/.. would be /
LONGEST_NAME = 64
LABEL = r"^[a-zA-Z_][a-zA-Z0-9_]*$"
TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
DAY = 86_400.0
MAPPED = 96  # bits of ::ffff:0:0, before an IPv4 address that is written as IPv6

# Every label that a metric of ours has, and those that Prometheus adds: a second one would overwrite the first.
OURS = (
    "target host port mode layer client outcome verdict stage kind farm window phase library version python "
    "release request setting external_url mechanism config"
)
PROMETHEUS = "job instance le quantile"
RESERVED_LABELS = frozenset(f"{OURS} {PROMETHEUS}".split())


def unfit(message: str, remedy: str) -> PydanticCustomError:
    """A complaint of ours as pydantic carries it; errors.py takes it out again."""
    return PydanticCustomError("unfit", "{message}", {"message": message, "remedy": remedy})


def checked(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The check as pydantic calls it: an InvalidValue becomes an error of pydantic."""

    def run(value: Any) -> Any:
        try:
            return check(value)
        except InvalidValue as fault:
            raise unfit(fault.message, fault.remedy) from None

    return run


def matching(pattern: str, kind: str, remedy: str, longest: int | None = None) -> AfterValidator:
    """Text of one shape, of at most `longest` characters."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern.removesuffix("$"), text) or len(text) > (longest or len(text)):
            raise unfit(f'"{text}" is not {kind}', remedy)
        return text

    return AfterValidator(check)


def duration(least: float, meaning: str) -> Any:
    """A duration of `least` seconds to a day; `meaning` is what is wrong with less."""

    def check(value: Any) -> float:
        seconds = parse_duration(value)
        if seconds < least:
            raise InvalidValue(f"{_shown(seconds)} is too short", f"Give {_shown(least)} or more: {meaning}")
        if seconds > DAY:
            raise InvalidValue(f"{_shown(seconds)} is longer than a day", "Give 24h or less")
        return seconds

    number = {"type": "number", "minimum": least, "maximum": DAY}
    text = {"type": "string", "pattern": DURATION}
    schema = {"anyOf": [number, text], "examples": [max(least, 1), "15s"]}
    return Annotated[float, BeforeValidator(checked(check)), WithJsonSchema(schema)]


def _shown(seconds: float) -> str:
    return f"{seconds:g}s"


def _versions(value: Any) -> Any:
    parse_versions(value)
    return value


def _listen(value: Any) -> list[str]:
    """One address, or a list of them."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise InvalidValue("the list of addresses is empty", "Name one, such as 127.0.0.1:9497, or remove the key")
    addresses = [parse_listen(each if isinstance(each, str) else yaml_text(each)) for each in values]
    for index, address in enumerate(addresses):
        if address.port and address in addresses[:index]:
            raise InvalidValue(f'"{values[index]}" is written twice', "Keep one of them")
    return values


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        try:
            loose = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise InvalidValue(
                f'"{text}" is not a network', "Write it as 10.0.0.0/8, or one address as 10.0.0.5"
            ) from None
        raise InvalidValue(f'"{text}" is an address in a network', f"Write {loose} for the network") from None
    first = network.network_address
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped and network.prefixlen >= MAPPED:
        remedy = f"Write {first.ipv4_mapped}/{network.prefixlen - MAPPED}"
        raise InvalidValue(f'"{text}" is an IPv4 network written as IPv6', remedy)
    return text


def _zone(name: str) -> str:
    load_zone(name)
    return name


def _label(name: str) -> str:
    if not re.fullmatch(LABEL.strip("^$"), name):
        raise InvalidValue(f'"{name}" is not a label name', "Use letters, digits and underscores, and no digit first")
    if name.startswith("__"):
        raise InvalidValue(
            f'the label "{name}" begins with two underscores', "Prometheus keeps these to itself: rename it"
        )
    if name in RESERVED_LABELS:
        raise InvalidValue(f'the label "{name}" is used by the exporter or by Prometheus', "Choose another name")
    return name


def _client_id(number: int) -> int:
    if number == 0:
        remedy = "Choose another, such as 9001: id 0 binds the orders that are placed by hand"
        raise InvalidValue("client id 0 is never used by probes", remedy)
    if not 0 < number <= MAX_CLIENT_ID:
        raise InvalidValue(f"{number} is not a client id", f"Give a whole number from 1 to {MAX_CLIENT_ID}")
    return number


def _whole(least: int, most: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": least, "maximum": most})


def _text(pattern: str, *examples: str, **more: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples), **more})


SHAPE = "Use 1 to 64 letters, digits, underscores, dots and hyphens, and not dots alone: it is part of a URL"

Interval = duration(1.0, "every probe costs the gateway a connection")
Deadline = duration(0.01, "nothing answers faster")
Name = Annotated[str, matching(NAME, "a name", SHAPE, LONGEST_NAME), _text(NAME, "paper", maxLength=LONGEST_NAME)]
Host = Annotated[str, AfterValidator(checked(check_host)), Field(examples=["127.0.0.1", "ib-gateway"], min_length=0)]
Port = Annotated[int, AfterValidator(checked(check_port)), _whole(1, MAX_PORT)]
ClientId = Annotated[int, AfterValidator(checked(_client_id)), _whole(1, MAX_CLIENT_ID)]
UsedId = Annotated[int, AfterValidator(checked(check_client_id)), _whole(0, MAX_CLIENT_ID)]
Account = Annotated[str, AfterValidator(checked(check_account)), _text(ACCOUNT, "DU1234567")]
LabelName = Annotated[str, AfterValidator(checked(_label)), _text(LABEL, "desk")]
TimeOfDay = Annotated[
    str, matching(TIME, "a time of day", "Write it as 23:45, from 00:00 to 23:59"), _text(TIME, "23:45")
]
Zone = Annotated[str, AfterValidator(checked(_zone)), Field(examples=["America/New_York"])]
Length = duration(1.0, "nothing restarts in less")
Versions = Annotated[str, BeforeValidator(checked(_versions)), _text(VERSIONS, "100..226")]
ListenAddresses = Annotated[
    list[str],
    BeforeValidator(checked(_listen)),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
            "examples": ["127.0.0.1:9497", ":9497", ["127.0.0.1:9497", "[::1]:9497"]],
        }
    ),
]
ExternalUrl = Annotated[
    str, AfterValidator(checked(parse_external_url)), Field(examples=["https://monitor.example/ibkr"])
]
RoutePrefix = Annotated[str, AfterValidator(checked(check_route_prefix)), Field(examples=["/ibkr", "/"])]
Network = Annotated[str, AfterValidator(checked(_network)), Field(examples=["10.0.0.0/8", "fd00::/8"])]
