"""From a configuration file to a Config. Imported only where there is a file: it takes pydantic and PyYAML."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from exporter.config.endpoint import parse_listen
from exporter.config.environment import LISTEN, read_clients, read_listen
from exporter.config.errors import ConfigError, Problem
from exporter.config.resolve import resolve_calendar, resolve_clients, resolve_defaults, resolve_targets
from exporter.config.schema import Settings
from exporter.config.types import Config, Listen
from exporter.config.validate import client_names, validate
from exporter.config.web_file import read_web_file
from exporter.config.yaml_source import Loc, read
from exporter.model import ClientSpec


def read_file(path: str | Path, environ: Mapping[str, str], libraries: Collection[str]) -> Config:
    """Read the file as `exporter.config.load` documents it. Raises ConfigError with every problem."""
    document = read(path)
    problems = list(document.faults)
    sound = validate(document, problems)
    settings = sound.settings

    def complain(loc: Loc, message: str, remedy: str) -> None:
        problems.append(document.problem(loc, message, remedy))

    listen = _listen(settings, environ, problems)
    if settings.web.config_file is not None:
        try:
            read_web_file(Path(path).parent / settings.web.config_file)
        except ConfigError as error:
            problems.extend(error.problems)
    calendar = resolve_calendar(sound, complain)
    defaults = resolve_defaults(settings.defaults, calendar, complain)
    clients = resolve_clients(settings, libraries, complain)
    names = client_names(document)
    targets = resolve_targets(sound, defaults, calendar, libraries if names is None else names, complain)
    if not problems and not targets and not settings.probe.allow:
        complain(("targets",), "nothing to watch", "Add a target (name, host, port), or a network under probe.allow")
    if problems:
        raise ConfigError(problems)
    config = Config(
        targets=targets,
        clients=clients,
        listen_host=listen.host,
        listen_port=listen.port,
        probe_allow=tuple(ip_network(network) for network in settings.probe.allow),
        log_level=settings.log.level,
        log_format=settings.log.format,
        defaults=defaults,
        web_config_file=settings.web.config_file,
        source=str(path),
    )
    return config if settings.clients is not None else _by_default(config, settings, environ)


def _by_default(config: Config, settings: Settings, environ: Mapping[str, str]) -> Config:
    """No clients are configured: every target tries the default ones, or the libraries that it lists itself."""
    listing = {section.name for section in settings.targets if section.clients is not None}
    return replace(
        config,
        clients={name: ClientSpec(name, name) for target in config.targets for name in target.clients},
        default_clients=read_clients(environ),
        open_targets=frozenset(
            target.name for target in config.targets if target.client_ids and target.name not in listing
        ),
    )


def _listen(settings: Settings, environ: Mapping[str, str], problems: list[Problem]) -> Listen:
    if settings.web.listen is not None:
        return parse_listen(settings.web.listen)
    return read_listen({LISTEN: environ.get(LISTEN, "")}, problems)
