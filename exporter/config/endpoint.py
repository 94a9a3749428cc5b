"""HOST:PORT, and what follows from it. No name is resolved here."""

from collections.abc import Collection, Iterator
from itertools import count, islice

from exporter.config.checks import MAX_PORT, InvalidValue, check_host, parse_port, whole
from exporter.config.maintenance_windows import ibkr_windows
from exporter.config.types import BUILT_IN, Defaults, Listen, usual_slow_after
from exporter.model import Mode, Target

# The ports that TWS (74xx) and IB Gateway (40xx) propose; 4003 and 4004 are those of the usual container images.
MODES = {
    7497: Mode.PAPER,
    4002: Mode.PAPER,
    4004: Mode.PAPER,
    7496: Mode.LIVE,
    4001: Mode.LIVE,
    4003: Mode.LIVE,
}
FIRST_CLIENT_ID = 9001
RESERVED = 3  # one for the watch, and two in turn for probes and clients: an id is free only a moment after its session
# nautilus_trader, refused three times with 326, goes on with the following ids, up to four
DRIFT = 4


def parse_endpoint(text: str) -> tuple[str, int]:
    """HOST:PORT as (host, port), an IPv6 literal in brackets: `[::1]:7497`. Raises InvalidValue, a ValueError."""
    host, port = split_endpoint(text)
    if not port:
        raise InvalidValue(f'the port in "{text}" is missing', "Write HOST:PORT, for example 127.0.0.1:7497")
    return check_host(host), parse_port(port)


def parse_listen(text: str) -> Listen:
    """An address to listen on: `127.0.0.1:9497`, `[::]:9497`, or `:9497` for every address. Raises InvalidValue."""
    host, port = split_endpoint(text)
    number = whole(port)
    if number is None or number > MAX_PORT:
        raise InvalidValue(
            f'"{text}" is not an address to listen on', "Write HOST:PORT, such as 127.0.0.1:9497, or :9497"
        )
    return Listen(check_host(host) if host else "", number)


def split_endpoint(text: str) -> tuple[str, str]:
    """The two parts of HOST:PORT, not yet checked; the port is empty where it is missing."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidValue(f'the brackets in "{text}" are not closed', "Write an IPv6 address as [::1]:7497")
        return host, rest[1:]
    if text.count(":") > 1 and "://" not in text:
        raise InvalidValue(f'the IPv6 address in "{text}" has no brackets', "Write an IPv6 address as [::1]:7497")
    if "://" in text:
        return check_host(text), ""
    host, _, port = text.partition(":")
    return host, port


def free_client_ids(avoid: Collection[int]) -> tuple[int, ...]:
    """The first ids from 9001 on that no trading program uses, nor moves to when its own is refused."""

    def free() -> Iterator[int]:
        for client_id in count(FIRST_CLIENT_ID):
            if not any(used <= client_id <= used + DRIFT for used in avoid):
                yield client_id

    return tuple(islice(free(), RESERVED))


def target_for_endpoint(host: str, port: int, defaults: Defaults = BUILT_IN, avoid: Collection[int] = ()) -> Target:
    """The target for a HOST:PORT of which nothing else is known but client ids to `avoid`.

    It is named after its endpoint. The mode is unknown where the port does not tell it. No client library is tested,
    and nothing is watched.
    """
    return Target(
        name=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        host=host,
        port=port,
        mode=MODES.get(port, Mode.UNKNOWN),
        interval=defaults.interval,
        deadline=defaults.deadline,
        slow_after=usual_slow_after(defaults.deadline) if defaults.slow_after is None else defaults.slow_after,
        hello=defaults.hello,
        address_family=defaults.address_family,
        client_ids=free_client_ids(avoid),
        avoid_client_ids=tuple(sorted(set(avoid))),
        windows=ibkr_windows() if defaults.windows is None else defaults.windows,
    )
