"""Checks of single values, for the file and the environment alike. Standard library only: `diagnose` starts fast."""

import ipaddress
import re
from typing import Any

from exporter.model import Hello

MAX_PORT = 65535
MAX_CLIENT_ID = 2**31 - 1
OLDEST_VERSION = 100  # here the handshake of today begins

HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
ZONE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
ACCOUNT = r"^[A-Z]{1,4}[0-9]{4,12}[A-Z]{0,2}$"
VERSIONS = r"^v?([0-9]{3})\.\.v?([0-9]{3})$"
PORT_REMEDY = "Give a whole number from 1 to 65535; paper TWS listens on 7497"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class InvalidValue(ValueError):  # noqa: N818 - a value that does not fit is not our error; it becomes a Problem
    """A value that cannot be used: what is wrong with it, and what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        """Both are sentences without the final stop."""
        super().__init__(f"{message}. {remedy}")
        self.message = message
        self.remedy = remedy


def parse_port(text: str) -> int:
    """A port number, 1 to 65535, from text. Raises InvalidValue."""
    number = whole(text)
    if number is None or not 1 <= number <= MAX_PORT:
        raise InvalidValue(f'"{text}" is not a port', PORT_REMEDY)
    return number


def whole(text: str) -> int | None:
    """The whole number in the text, of at most ten digits; None for any other text."""
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else None


def check_port(number: int) -> int:
    """The port if it is one. Raises InvalidValue."""
    if not 1 <= number <= MAX_PORT:
        raise InvalidValue(f"{number} is not a port", PORT_REMEDY)
    return number


def check_client_id(number: int) -> int:
    """A client id that a trading program may have; 0 is one. Raises InvalidValue."""
    if not 0 <= number <= MAX_CLIENT_ID:
        raise InvalidValue(f"{number} is not a client id", f"Give a whole number from 0 to {MAX_CLIENT_ID}")
    return number


def check_account(text: str) -> str:
    """An account number, in capitals, such as DU1234567. Raises InvalidValue."""
    if not re.fullmatch(ACCOUNT.strip("^$"), text):
        raise InvalidValue(
            f'"{text}" is not an account number', "Write it as TWS shows it, in capitals, such as DU1234567"
        )
    return text


def check_host(host: str) -> str:
    """The host if it is a host name or an IP address. Raises InvalidValue."""
    if not host:
        raise InvalidValue("the host is empty", "Give a host name or an IP address, for example 127.0.0.1")
    if "://" in host:
        raise InvalidValue(f'"{host}" is a URL, not a host', "Give the host name or IP address alone")
    if any(character.isspace() for character in host):
        raise InvalidValue(f'there is a space in the host "{host}"', "Remove it")
    if host.startswith("["):
        raise InvalidValue(f'"{host}" is in brackets', f"Write {host.strip('[]')} without them")
    if is_address(host):
        return _check_zone(host)
    if host.count(":") == 1:
        raise InvalidValue(f'there is a port in the host "{host}"', "Give it under port alone")
    if ":" in host:
        raise InvalidValue(f'"{host}" is not an IPv6 address', "Write one as 2001:db8::1, or a host name")
    if re.fullmatch(r"[0-9.]+", host):
        raise InvalidValue(
            f'"{host}" is not an IPv4 address', "Give four numbers from 0 to 255, for example 192.168.1.20"
        )
    if not HOST_NAME.fullmatch(host):
        raise InvalidValue(f'"{host}" is not a host name', "Use letters, digits, hyphens and dots alone")
    return host


def _check_zone(address: str) -> str:
    """The address, if its zone, where it has one, may be an interface. Raises InvalidValue."""
    _, percent, zone = address.partition("%")
    if percent and not ZONE.fullmatch(zone):
        raise InvalidValue(f'"{zone}" in "{address}" is not an interface', "Write it as fe80::1%eth0")
    return address


def is_address(host: str) -> bool:
    """The host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def yaml_text(value: Any) -> str:
    """The value as it is written in YAML, for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    return "nothing" if value is None else f'"{value}"' if isinstance(value, str) else str(value)


def parse_duration(value: Any) -> float:
    """Seconds from a number of them, or from text such as `15s`, `2m`, `500ms`, `1h`. Raises InvalidValue."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)?", value) if isinstance(value, str) else None
    if match is None:
        raise InvalidValue(f"{yaml_text(value)} is not a duration", "Give seconds as a number, or 500ms, 15s, 2m, 1h")
    return float(match[1]) * UNITS[match[2] or "s"]


def parse_versions(text: Any) -> Hello:
    """The range of API versions to announce, from `100..226` or `v100..226`. Raises InvalidValue."""
    match = re.fullmatch(VERSIONS.strip("^$"), text) if isinstance(text, str) else None
    if match is None or not OLDEST_VERSION <= int(match[1]) <= int(match[2]):
        raise InvalidValue(
            f"{yaml_text(text)} is not a range of API versions", "Write the lowest and the highest: 100..226"
        )
    return Hello(int(match[1]), int(match[2]))
