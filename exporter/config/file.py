"""From a configuration file to a Config. Imported only where there is a file: it takes pydantic and PyYAML."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from exporter.config.checks import InvalidValue
from exporter.config.discovery import Source
from exporter.config.endpoint import parse_listen
from exporter.config.environment import LISTEN, read_clients, read_listen
from exporter.config.errors import ConfigError, Problem
from exporter.config.resolve import (
    Complain,
    resolve_calendar,
    resolve_clients,
    resolve_defaults,
    resolve_restart,
    resolve_targets,
)
from exporter.config.resolve_discovery import resolve_files, resolve_urls
from exporter.config.schema import Settings
from exporter.config.stamps import Stamp, stamp
from exporter.config.types import Config, Listen, TargetRules
from exporter.config.validate import Sound, client_names, validate
from exporter.config.value_files import read_account
from exporter.config.web_file import read_web_file
from exporter.config.web_url import route_prefix
from exporter.config.yaml_source import Loc, dotted, read_document
from exporter.maintenance import Region
from exporter.model import ClientSpec


def read_file(path: str | Path, environ: Mapping[str, str], libraries: Collection[str]) -> Config:
    """Read the file as `exporter.config.load` documents it. Raises ConfigError with every problem."""
    files: dict[Path, Stamp] = {Path(path): stamp(Path(path))}
    try:
        return _read(Path(path), environ, libraries, files)
    except ConfigError as error:
        raise ConfigError(error.problems, files) from None


def _read(path: Path, environ: Mapping[str, str], libraries: Collection[str], files: dict[Path, Stamp]) -> Config:
    """Read the file, and the files that it names, which are put into `files`."""
    document = read_document(path, environ=environ)
    problems = list(document.faults)
    sound = validate(document, problems)

    def complain(loc: Loc, message: str, remedy: str) -> None:
        if not document.unset(dotted(loc)):
            problems.append(document.problem(loc, message, remedy))

    sound = _read_accounts(sound, path.parent, files, complain)
    settings = sound.settings
    listen = _listen(settings, environ, problems)
    problems += _web_file_problems(settings, path.parent)
    calendar = resolve_calendar(sound, complain)
    defaults = resolve_defaults(settings.defaults, calendar, complain)
    clients = resolve_clients(settings, libraries, complain)
    names = client_names(document)
    plain = _plain(settings, path)
    rules = TargetRules(
        defaults=defaults,
        calendar=calendar,
        region=Region(settings.defaults.region),
        restart=resolve_restart(settings.defaults.restart),
        clients=tuple(clients),
        networks=plain.probe_allow,
    )
    targets = resolve_targets(sound, rules, libraries if names is None else names, complain)
    sources = _sources(sound, path.parent, complain)
    if not problems and not targets and not sources and not settings.probe.allow:
        remedy = "Add a target (name, host, port), file_sd_configs, or a network under probe.allow"
        complain(("targets",), "nothing to watch", remedy)
    if problems:
        raise ConfigError(problems)
    config = replace(
        plain,
        targets=targets,
        clients=clients,
        listen=listen,
        defaults=defaults,
        files=files,
        sources=sources,
        rules=rules,
    )
    return config if settings.clients is not None else _by_default(config, settings, environ)


def _plain(settings: Settings, path: Path) -> Config:
    """The keys that stand alone: HTTP, the allow list, the log."""
    return Config(
        targets=(),
        systemd_socket=settings.web.systemd_socket,
        external_url=settings.web.external_url or "",
        route_prefix=route_prefix(settings.web.external_url or "", settings.web.route_prefix),
        probe_allow=tuple(ip_network(network) for network in settings.probe.allow),
        log_level=settings.log.level,
        log_format=settings.log.format,
        web_config_file=settings.web.config_file,
        source=str(path),
    )


def _web_file_problems(settings: Settings, folder: Path) -> tuple[Problem, ...]:
    """What is wrong with the web configuration file, if one is named."""
    if settings.web.config_file is not None:
        try:
            read_web_file(folder / settings.web.config_file)
        except ConfigError as error:
            return error.problems
    return ()


def _sources(sound: Sound, folder: Path, complain: Complain) -> tuple[Source, ...]:
    files = dict(zip(sound.files, sound.settings.file_sd_configs, strict=True))
    urls = dict(zip(sound.urls, sound.settings.http_sd_configs, strict=True))
    return (*resolve_files(files, folder), *resolve_urls(urls, folder, complain))


def _read_accounts(sound: Sound, folder: Path, files: dict[Path, Stamp], complain: Complain) -> Sound:
    """The sections, with the accounts that are in files of their own."""
    targets = []
    for index, target in zip(sound.targets, sound.settings.targets, strict=True):
        account = target.account
        if target.account_file is not None:
            file = folder / target.account_file
            files[file] = stamp(file)
            try:
                account = read_account(file)
            except InvalidValue as fault:
                complain(("targets", index, "account_file"), fault.message, fault.remedy)
            if target.account is not None:
                message = "account and account_file are both written"
                complain(("targets", index, "account_file"), message, "Keep one of them")
        targets.append(target if account is None else target.model_copy(update={"account": account}))
    return sound._replace(settings=sound.settings.model_copy(update={"targets": targets}))


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


def _listen(settings: Settings, environ: Mapping[str, str], problems: list[Problem]) -> tuple[Listen, ...]:
    if settings.web.listen is not None:
        return tuple(map(parse_listen, settings.web.listen))
    return read_listen({LISTEN: environ.get(LISTEN, "")}, problems)
