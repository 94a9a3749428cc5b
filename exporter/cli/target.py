"""Which target a person means: one by its name, one by HOST:PORT, or the only one there is."""

import os
from collections.abc import Mapping
from pathlib import Path

from exporter.cli.exit import USAGE, fail, read
from exporter.config import (
    Config,
    ConfigError,
    from_environment,
    load,
    parse_endpoint,
    target_for_endpoint,
    used_client_ids,
)
from exporter.model import ClientSpec, Target


def select_target(asked: str | None, config: Path | None) -> tuple[Target, Mapping[str, ClientSpec]]:
    """The one target to diagnose, by name, by HOST:PORT, or the only one configured; and the clients configured."""
    if asked and config is None and not (os.environ.get("IB_HOST") or os.environ.get("IB_PORT")):
        return target_for_endpoint(*_endpoint(asked), avoid=_programs_ids()), {}
    loaded = configured(config)
    named = [target for target in loaded.targets if asked in (None, target.name, target.endpoint)]
    if len(named) == 1:
        return named[0], loaded.clients
    known = ", ".join(target.name for target in loaded.targets)
    if asked is None:
        fail(f"which target? One of {known}, or HOST:PORT", USAGE)
    avoid = used_client_ids(loaded) | _programs_ids()
    return target_for_endpoint(*_endpoint(asked, known), avoid=avoid), loaded.clients


def _programs_ids() -> frozenset[int]:
    """The trading program's client id, where the environment names it: no probe may use it."""
    text = os.environ.get("IB_CLIENT_ID", "").strip()
    if text and not (text.isascii() and text.isdigit()):
        fail(f'IB_CLIENT_ID: "{text}" is not a client id. Give the whole number that the trading program uses', USAGE)
    return frozenset({int(text)}) if text else frozenset()


def configured(config: Path | None) -> Config:
    """The configuration: of the file, or without one of the environment."""
    return read(lambda: from_environment(os.environ) if config is None else load(config, os.environ))


def _endpoint(text: str, known: str = "") -> tuple[str, int]:
    try:
        return parse_endpoint(text)
    except ConfigError as error:
        fail(f"{error}" + (f"\nThe configured targets are: {known}" if known else ""), USAGE)
