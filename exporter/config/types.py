"""What a configuration comes to: plain values, whichever way it was given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from exporter.maintenance import Window
from exporter.model import AddressFamily, ClientSpec, Hello, Target

NEWEST = Hello()
LIBRARIES = ("ib_async", "ib_insync", "ibapi", "nautilus_trader")  # those that have a driver


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a target gets that does not say otherwise. Durations are in seconds."""

    interval: float = 15.0
    deadline: float = 5.0
    slow_after: float | None = None  # None: usual_slow_after
    hello: Hello = NEWEST
    address_family: AddressFamily = AddressFamily.ANY
    windows: tuple[Window, ...] | None = None  # None: IBKR's own


BUILT_IN = Defaults()


def usual_slow_after(deadline: float) -> float:
    """The limit of `slow` where none is written: a second, and at most half the deadline, both in seconds."""
    return min(1.0, deadline / 2)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to serve HTTP. An empty host means every address of this machine."""

    host: str = "127.0.0.1"
    port: int = 9497


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
