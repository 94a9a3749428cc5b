"""The configuration as plain values, from a file or from the environment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from exporter.config.addresses import Network
from exporter.config.discovery import Source
from exporter.config.maintenance_windows import Calendar
from exporter.config.stamps import Stamp
from exporter.maintenance import Region, Window
from exporter.model import DEADLINE, INTERVAL, SLOW_AFTER, AddressFamily, ClientSpec, Hello, Target

NEWEST = Hello()
# every client whose environment is installed, every one that can be installed, or the environments of these names
DefaultClients = Literal["installed", "all"] | tuple[str, ...]
_DRIVERS = Path(__file__).parents[1] / "clients" / "drivers"
LIBRARIES = tuple(sorted(file.name.removesuffix("_driver.py") for file in _DRIVERS.glob("*_driver.py")))


@dataclass(frozen=True, slots=True)
class Defaults:
    """The settings of a target that does not set its own. Durations are in seconds."""

    interval: float = INTERVAL
    deadline: float = DEADLINE
    slow_after: float | None = None  # None: usual_slow_after
    hello: Hello = NEWEST
    address_family: AddressFamily = AddressFamily.ANY
    windows: tuple[Window, ...] | None = None  # None: IBKR's own


BUILT_IN = Defaults()
NO_WINDOWS = Calendar(())


def usual_slow_after(deadline: float) -> float:
    """The limit of `slow` where none is written: a second, and at most half the deadline, both in seconds."""
    return min(SLOW_AFTER, deadline / 2)


def fitting_deadline(deadline: float, interval: float) -> float:
    """The default deadline (seconds), or four fifths of the interval where that is not longer."""
    return deadline if deadline < interval else round(0.8 * interval, 3)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to serve HTTP. An empty host means every address of this machine."""

    host: str = "127.0.0.1"
    port: int = 9497


@dataclass(frozen=True, slots=True)
class TargetRules:
    """What a target gets from the rest of the file; a discovered one needs it later too.

    `region` and `restart` are those of `defaults`. `clients` are tried where a target lists none. `networks` are those
    of `probe.allow`: where there are some, a discovered address must be in one of them.
    """

    defaults: Defaults = BUILT_IN
    calendar: Calendar = NO_WINDOWS
    region: Region = Region.NORTH_AMERICA
    restart: Window | None = None
    clients: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()


NO_RULES = TargetRules()


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that is configured.

    `probe_allow` are the networks in which `/probe` takes a HOST:PORT that is no configured target; such a target gets
    `defaults`. `web_config_file` is a path as it is written, relative to the directory of `source`, which is the
    configuration file, or the word `environment`. `external_url` and `route_prefix` end without a slash and may be
    empty. With `systemd_socket` the sockets come from systemd, and `listen` is not used.

    `sources` say where more targets are discovered, and `rules` what these get.

    `files` are all that was read, with their stamps: a change of one calls for a reload.

    Where no clients are configured, `default_clients` says which are tried, and `open_targets` by which targets: the
    names of those that list none themselves. Config knows no environments; `with_default_clients` puts the clients in,
    and `not_installed` are the libraries that would be tried too if they were installed.
    """

    targets: tuple[Target, ...]
    clients: Mapping[str, ClientSpec] = field(default_factory=dict)
    listen: tuple[Listen, ...] = (Listen(),)
    systemd_socket: bool = False
    external_url: str = ""
    route_prefix: str = ""
    web_config_file: str | None = None
    probe_allow: tuple[Network, ...] = ()
    log_level: str = "info"
    log_format: str = "console"
    defaults: Defaults = BUILT_IN
    source: str = ""
    default_clients: DefaultClients = ()
    open_targets: frozenset[str] = frozenset()
    not_installed: tuple[str, ...] = ()
    files: Mapping[Path, Stamp] = field(default_factory=dict, compare=False)
    sources: tuple[Source, ...] = ()
    rules: TargetRules = NO_RULES


def with_default_clients(config: Config, specs: Iterable[ClientSpec]) -> Config:
    """The configuration with these clients for every target that lists none itself."""
    clients = {spec.name: spec for spec in specs}
    return replace(
        config,
        clients={**config.clients, **clients},
        rules=replace(config.rules, clients=tuple(clients)),
        targets=tuple(
            replace(target, clients=tuple(clients)) if target.name in config.open_targets else target
            for target in config.targets
        ),
    )
