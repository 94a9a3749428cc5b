"""HOST:PORT, and what follows from it. No name is resolved here."""

import ipaddress
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count, islice

from exporter.model import AddressFamily, Hello, Mode, Target

# The ports that TWS (74xx) and IB Gateway (40xx) propose; 4003 and 4004 are those of the usual container images.
MODES = {
    7497: Mode.PAPER,
    4002: Mode.PAPER,
    4004: Mode.PAPER,
    7496: Mode.LIVE,
    4001: Mode.LIVE,
    4003: Mode.LIVE,
}
MAX_PORT = 65535
MAX_CLIENT_ID = 2**31 - 1
FIRST_CLIENT_ID = 9001
# nautilus_trader, refused three times with 326, goes on with the following ids, up to four (facts: clients)
DRIFT = 4

HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}\.?)*")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to serve HTTP. An empty host means every address of this machine."""

    host: str = "127.0.0.1"
    port: int = 9497


NEWEST = Hello()


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a target gets that does not say otherwise. Durations are in seconds."""

    interval: float = 15.0
    deadline: float = 5.0
    slow_after: float = 1.0
    hello: Hello = NEWEST
    address_family: AddressFamily = AddressFamily.ANY


BUILT_IN = Defaults()


class Unfit(ValueError):  # noqa: N818 - a value that does not fit is not our error; it becomes a Problem
    """A value that cannot be used: what is wrong with it, and what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        """Both are sentences without the final stop."""
        super().__init__(f"{message}. {remedy}")
        self.message = message
        self.remedy = remedy


def parse_endpoint(text: str) -> tuple[str, int]:
    """HOST:PORT as (host, port), an IPv6 literal in brackets: `[::1]:7497`. Raises Unfit, a ValueError."""
    host, port = split_endpoint(text)
    if not port:
        raise Unfit(f'the port in "{text}" is missing', "Write HOST:PORT, for example 127.0.0.1:7497")
    return check_host(host), parse_port(port)


def parse_listen(text: str) -> Listen:
    """An address to listen on: `127.0.0.1:9497`, `[::]:9497`, or `:9497` for every address. Raises Unfit."""
    host, port = split_endpoint(text)
    if not port.isdecimal() or int(port) > MAX_PORT:
        raise Unfit(f'"{text}" is not an address to listen on', "Write HOST:PORT, such as 127.0.0.1:9497, or :9497")
    return Listen(check_host(host) if host else "", int(port))


def split_endpoint(text: str) -> tuple[str, str]:
    """The two parts of HOST:PORT, not yet checked; the port is empty where it is missing."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise Unfit(f'the brackets in "{text}" are not closed', "Write an IPv6 address as [::1]:7497")
        return host, rest[1:]
    if text.count(":") > 1 and "://" not in text:
        raise Unfit(f'the IPv6 address in "{text}" has no brackets', "Write an IPv6 address as [::1]:7497")
    if "://" in text:
        return check_host(text), ""
    host, _, port = text.partition(":")
    return host, port


def parse_port(text: str) -> int:
    """A port number, 1 to 65535, from text. Raises Unfit."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:6]) <= MAX_PORT:
        raise Unfit(f'"{text}" is not a port', "Give a whole number from 1 to 65535; paper TWS listens on 7497")
    return int(text)


def check_host(host: str) -> str:
    """The host if it is a host name or an IP address, and nothing besides. Raises Unfit."""
    if not host:
        raise Unfit("the host is empty", "Give a host name or an IP address, for example 127.0.0.1")
    if "://" in host:
        raise Unfit(f'"{host}" is a URL, not a host', "Give the host name or IP address alone")
    if any(character.isspace() for character in host):
        raise Unfit(f'there is a space in the host "{host}"', "Remove it")
    if host.startswith("["):
        raise Unfit(f'"{host}" is in brackets', f"Write {host.strip('[]')} without them")
    if is_address(host):
        return host
    if ":" in host:
        raise Unfit(
            f'"{host}" is neither a host name nor an IPv6 address', "Give the port under port, not with the host"
        )
    if re.fullmatch(r"[0-9.]+", host):
        raise Unfit(f'"{host}" is not an IPv4 address', "Give four numbers from 0 to 255, for example 192.168.1.20")
    if not HOST_NAME.fullmatch(host):
        raise Unfit(f'"{host}" is not a host name', "Use letters, digits, hyphens and dots alone")
    return host


def is_address(host: str) -> bool:
    """The host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def free_client_ids(avoid: Collection[int], number: int = 2) -> tuple[int, ...]:
    """The first ids from 9001 on that no trading program uses, nor drifts to when its own is refused."""

    def free() -> Iterator[int]:
        for client_id in count(FIRST_CLIENT_ID):
            if not any(used <= client_id <= used + DRIFT for used in avoid):
                yield client_id

    return tuple(islice(free(), number))


def target_for_endpoint(host: str, port: int, defaults: Defaults = BUILT_IN) -> Target:
    """The target for a HOST:PORT of which nothing else is known.

    It is named after its endpoint. A port that does not tell the mode is taken for paper: the mode is a label and a
    word in the advice, never a permission. No client library is tested, and nothing is watched.
    """
    return Target(
        name=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        host=host,
        port=port,
        mode=MODES.get(port, Mode.PAPER),
        interval=defaults.interval,
        deadline=defaults.deadline,
        slow_after=defaults.slow_after,
        hello=defaults.hello,
        address_family=defaults.address_family,
        client_ids=free_client_ids(()),
    )
