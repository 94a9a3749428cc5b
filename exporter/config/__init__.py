"""The configuration: from YAML, from the environment, or from HOST:PORT alone, to the core's values.

    load(path)                every fault at once as a ConfigError, or a Config
    from_environment(...)     one target from IB_HOST, IB_PORT, IB_CLIENT_ID, IB_ACCOUNT_ID
    parse_endpoint(text)      HOST:PORT
    target_for_endpoint(...)  the target for a HOST:PORT of which nothing else is known

Nothing is probed, resolved or started here; only the one file is read.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from exporter.config import endpoint
from exporter.config.document import Loc, read
from exporter.config.endpoint import BUILT_IN, Defaults, Listen, Unfit, target_for_endpoint
from exporter.config.environment import LISTEN, read_listen, read_target
from exporter.config.problem import ConfigError, Problem
from exporter.config.resolve import LIBRARIES, resolve_clients, resolve_defaults, resolve_targets
from exporter.config.schema import Settings
from exporter.config.validate import client_names, validate
from exporter.model import ClientSpec, Target

__all__ = [
    "Config",
    "ConfigError",
    "Defaults",
    "Problem",
    "from_environment",
    "load",
    "parse_endpoint",
    "target_for_endpoint",
]


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that is configured.

    An empty `listen_host` means every address of this machine. `probe_allow` are the networks in which `/probe` takes a
    HOST:PORT that is no configured target; such a target gets `defaults`. `source` is the file, or `environment`.
    """

    targets: tuple[Target, ...]
    clients: Mapping[str, ClientSpec] = field(default_factory=dict)
    listen_host: str = "127.0.0.1"
    listen_port: int = 9497
    probe_allow: tuple[IPv4Network | IPv6Network, ...] = ()
    log_level: str = "info"
    log_format: str = "console"
    defaults: Defaults = BUILT_IN
    source: str = ""


def load(path: str | Path, environ: Mapping[str, str] | None = None, libraries: Collection[str] = LIBRARIES) -> Config:
    """Read the configuration file. Raises ConfigError with every problem.

    `environ` gives IBKR_EXPORTER_LISTEN, which is used where the file has no `web.listen`. `libraries` are the names of
    the client libraries that have a driver.
    """
    document = read(path)
    problems: list[Problem] = []
    settings = validate(document, problems)

    def complain(loc: Loc, message: str, remedy: str) -> None:
        problems.append(document.problem(loc, message, remedy))

    listen = _listen(settings, environ or {}, problems)
    if settings.web.config_file is not None:
        remedy = "Write null, and put a reverse proxy with TLS and passwords in front"
        complain(("web", "config_file"), "this is not supported yet", remedy)
    defaults = resolve_defaults(settings.defaults, complain)
    clients = resolve_clients(settings, libraries, complain)
    targets = resolve_targets(settings, defaults, client_names(document), complain)
    if not problems and not targets and not settings.probe.allow:
        complain(("targets",), "nothing to watch", "Add a target (name, host, port), or a network under probe.allow")
    if problems:
        raise ConfigError(problems)
    return Config(
        targets=targets,
        clients=clients,
        listen_host=listen.host,
        listen_port=listen.port,
        probe_allow=tuple(ip_network(network) for network in settings.probe.allow),
        log_level=settings.log.level,
        log_format=settings.log.format,
        defaults=defaults,
        source=str(path),
    )


def from_environment(environ: Mapping[str, str]) -> Config:
    """One target from IB_HOST, IB_PORT, IB_CLIENT_ID and IB_ACCOUNT_ID. Raises ConfigError with every problem."""
    problems: list[Problem] = []
    target = read_target(environ, problems)
    listen = read_listen(environ, problems)
    if problems or target is None:
        raise ConfigError(problems)
    return Config(targets=(target,), listen_host=listen.host, listen_port=listen.port, source="environment")


def parse_endpoint(text: str) -> tuple[str, int]:
    """HOST:PORT as (host, port), an IPv6 address in brackets: `[::1]:7497`. Raises ConfigError."""
    try:
        return endpoint.parse_endpoint(text)
    except Unfit as fault:
        raise ConfigError([Problem("", None, None, "", fault.message, fault.remedy)]) from None


def _listen(settings: Settings, environ: Mapping[str, str], problems: list[Problem]) -> Listen:
    if settings.web.listen is not None:
        return endpoint.parse_listen(settings.web.listen)
    return read_listen({LISTEN: environ.get(LISTEN, "")}, problems)
