"""Select the target of a command: by name, by HOST:PORT, or the only one configured."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from exporter.cli.exit import USAGE, fail, read_or_fail
from exporter.cli.select_clients import complete, default_specs
from exporter.config import (
    Config,
    ConfigError,
    from_environment,
    load,
    parse_endpoint,
    target_for_endpoint,
    used_client_ids,
)
from exporter.config.environment import read_clients
from exporter.model import ClientSpec, Target


def select_target(name: str | None, config: Path | None) -> tuple[Target, Mapping[str, ClientSpec]]:
    """Return the target to diagnose and the configured clients."""
    if name and config is None and not (os.environ.get("IB_HOST") or os.environ.get("IB_PORT")):
        target = target_for_endpoint(*_endpoint(name), avoid=_program_ids())
        return _with_clients(target, read_or_fail(lambda: default_specs(read_clients(os.environ))))
    loaded = configured(config)
    named = [target for target in loaded.targets if name in (None, target.name, target.endpoint)]
    if len(named) == 1:
        return named[0], loaded.clients
    names = ", ".join(target.name for target in loaded.targets)
    if name is None:
        fail(f"which target? {f'One of {names}, or ' if names else 'Give '}HOST:PORT", USAGE)
    avoid = used_client_ids(loaded) | _program_ids()
    hint = f"\nThe configured targets are: {names}" if names else ""
    if loaded.sources:
        hint += "\nDiscovered targets are not known here: give HOST:PORT"
    target = target_for_endpoint(*_endpoint(name, hint), avoid=avoid)
    if loaded.default_clients:
        return _with_clients(target, read_or_fail(lambda: default_specs(loaded.default_clients)))
    return target, loaded.clients


def _with_clients(target: Target, specs: Sequence[ClientSpec]) -> tuple[Target, Mapping[str, ClientSpec]]:
    clients = {spec.name: spec for spec in specs}
    return replace(target, clients=tuple(clients)), clients


def _program_ids() -> frozenset[int]:
    """Return the trading program's client id, which no probe may use, if the environment names it."""
    text = os.environ.get("IB_CLIENT_ID", "").strip()
    if text and not (text.isascii() and text.isdigit()):
        fail(f'IB_CLIENT_ID: "{text}" is not a client id. Give the whole number that the trading program uses', USAGE)
    return frozenset({int(text)}) if text else frozenset()


def configured(config: Path | None) -> Config:
    """Return the configuration of the file, or of the environment without one; end the command if it is refused."""
    return read_or_fail(lambda: load_config(config))


def load_config(config: Path | None) -> Config:
    """Return the configuration with the clients that are probed by default. Raises ConfigError."""
    return complete(from_environment(os.environ) if config is None else load(config, os.environ))


def _endpoint(text: str, hint: str = "") -> tuple[str, int]:
    try:
        return parse_endpoint(text)
    except ConfigError as error:
        fail(f"{error}{hint}", USAGE)
