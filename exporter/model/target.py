"""A target and a client library, as configured."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.maintenance import Window
from exporter.model.enums import AddressFamily, Mode


@dataclass(frozen=True, slots=True)
class Hello:
    """The range of API server versions that we announce.

    A server answers min(its own, our maximum) (docs/facts.md: negotiation).
    """

    minimum: int = 100
    maximum: int = 226


INTERVAL, DEADLINE, SLOW_AFTER = 15.0, 5.0, 1.0  # seconds: what a target has by default

DOWNLOAD_INTERVAL = 900.0  # seconds

CLIENT_INTERVAL, CLIENT_DEADLINE = 60.0, 15.0  # seconds: what a client has by default


@dataclass(frozen=True, slots=True)
class Target:
    """One TWS or IB Gateway endpoint, as configured. Durations are in seconds."""

    name: str
    host: str
    port: int
    mode: Mode
    interval: float = INTERVAL
    deadline: float = DEADLINE
    slow_after: float = SLOW_AFTER  # a handshake, or the request of a session, that takes longer is `slow`
    hello: Hello = Hello()
    address_family: AddressFamily = AddressFamily.ANY
    client_ids: tuple[int, ...] = ()
    avoid_client_ids: tuple[int, ...] = ()
    account: str | None = None
    clients: tuple[str, ...] = ()
    watch: bool = False
    download: bool = False  # probe the account download too, each `download_interval`
    download_interval: float = DOWNLOAD_INTERVAL
    settings: bool = False  # ask the gateway for its own settings once a day
    launcher_log: str | None = None
    windows: tuple[Window, ...] = ()  # in which some failures are expected
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    discovered: bool = False  # not written in the configuration file: some addresses are then refused

    @property
    def endpoint(self) -> str:
        """HOST:PORT, an IPv6 literal in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def watch_id(self) -> int | None:
        """The client id of the watch: the last of at least two, so that probes keep one; None: there is no watch."""
        return self.client_ids[-1] if self.watch and len(self.client_ids) > 1 else None

    @property
    def probe_ids(self) -> tuple[int, ...]:
        """The client ids that scheduled probes may use, in the order to try them."""
        return self.client_ids if self.watch_id is None else self.client_ids[:-1]


@dataclass(frozen=True, slots=True)
class ClientSpec:
    """A broker library as installed in one interpreter. Durations are in seconds.

    `python` is the interpreter's path; None is the environment that `clients install` made for the library. `download`:
    the library also downloads the account, by read-only requests.
    """

    name: str
    library: str
    python: str | None = None
    interval: float = CLIENT_INTERVAL
    deadline: float = CLIENT_DEADLINE
    download: bool = False
