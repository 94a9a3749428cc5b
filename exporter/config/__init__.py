"""The configuration: from YAML, from the environment, or from HOST:PORT alone, to a `Config` or a `Target`.

    load(path)                every fault at once as a ConfigError, or a Config
    from_environment(...)     one target from IB_HOST, IB_PORT, IB_CLIENT_ID, IB_ACCOUNT_ID
    with_default_clients(...) the same, with clients for the targets that list none
    parse_endpoint(text)      HOST:PORT
    parse_listen(text)        HOST:PORT or :PORT to listen on
    parse_external_url(text), parse_route_prefix(text), route_prefix(url, written)    where the pages are
    target_for_endpoint(...)  the target for a HOST:PORT of which nothing else is known

Nothing is probed, resolved or started here; only the one file is read.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from exporter.config import endpoint, web_url
from exporter.config.checks import InvalidValue
from exporter.config.endpoint import target_for_endpoint
from exporter.config.environment import read_clients, read_listen, read_target
from exporter.config.errors import ConfigError, Problem
from exporter.config.types import LIBRARIES, Config, DefaultClients, Defaults, Listen, with_default_clients
from exporter.config.web_url import route_prefix

__all__ = [
    "Config",
    "ConfigError",
    "DefaultClients",
    "Defaults",
    "Listen",
    "Problem",
    "from_environment",
    "load",
    "parse_endpoint",
    "parse_external_url",
    "parse_listen",
    "parse_route_prefix",
    "route_prefix",
    "target_for_endpoint",
    "used_client_ids",
    "with_default_clients",
]

T = TypeVar("T")


def load(path: str | Path, environ: Mapping[str, str] | None = None, libraries: Collection[str] = LIBRARIES) -> Config:
    """Read the configuration file. Raises ConfigError with every problem.

    `environ` gives IBKR_EXPORTER_LISTEN, which is used where the file has no `web.listen`, and IBKR_EXPORTER_CLIENTS,
    where it has no `clients`. `libraries` are the names of the client libraries that have a driver.
    """
    from exporter.config.file import read_file  # noqa: PLC0415 - 90 ms and 18 MB that only a file needs

    return read_file(path, environ or {}, libraries)


def from_environment(environ: Mapping[str, str]) -> Config:
    """One target from IB_HOST, IB_PORT, IB_CLIENT_ID and IB_ACCOUNT_ID. Raises ConfigError with every problem."""
    problems: list[Problem] = []
    target = read_target(environ, problems)
    listen = read_listen(environ, problems)
    if problems or target is None:
        raise ConfigError(problems)
    return Config(
        targets=(target,),
        listen=listen,
        source="environment",
        default_clients=read_clients(environ),
        open_targets=frozenset({target.name}),
    )


def parse_endpoint(text: str) -> tuple[str, int]:
    """HOST:PORT as (host, port), an IPv6 address in brackets: `[::1]:7497`. Raises ConfigError."""
    return _parsed(endpoint.parse_endpoint, text)


def parse_listen(text: str) -> Listen:
    """Where to listen: `127.0.0.1:9497`, `[::]:9497`, or `:9497` for every address. Raises ConfigError."""
    return _parsed(endpoint.parse_listen, text)


def parse_external_url(text: str) -> str:
    """The URL at which browsers reach the pages, without a slash at its end. Raises ConfigError."""
    return _parsed(web_url.parse_external_url, text)


def parse_route_prefix(text: str) -> str:
    """The path below which everything is served: `/path`, or an empty text for the root. Raises ConfigError."""
    return _parsed(web_url.parse_route_prefix, text)


def used_client_ids(config: Config) -> frozenset[int]:
    """Every client id that a configuration names: the programs' own, and those reserved for our probes."""
    return frozenset(number for target in config.targets for number in (*target.client_ids, *target.avoid_client_ids))


def _parsed(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except InvalidValue as fault:
        raise ConfigError([Problem("", None, None, "", fault.message, fault.remedy)]) from None
