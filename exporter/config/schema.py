"""The shape of the configuration file: every key with its type, its default and its meaning.

Plain models: no value is changed here and no rule between keys is checked (resolve.py does both). reference.py makes
the JSON Schema and the tables from these models.
"""

from typing import Annotated, Literal

from pydantic import Field

from exporter.config.discovery_schema import FileSdSection, HttpSdSection
from exporter.config.fields import (
    Account,
    ClientId,
    Deadline,
    ExternalUrl,
    Host,
    Interval,
    LabelName,
    Length,
    ListenAddresses,
    Name,
    Network,
    Port,
    RoutePrefix,
    TimeOfDay,
    UsedId,
    Versions,
    Zone,
)
from exporter.config.section import Section
from exporter.model import CLIENT_DEADLINE, CLIENT_INTERVAL, DEADLINE, DOWNLOAD_INTERVAL, INTERVAL

Family = Literal["any", "ipv4", "ipv6"]
RegionName = Literal["north_america", "europe", "asia_pacific"]
DayName = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAYS: tuple[DayName, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

EVERY = "How often the wire layers (port, handshake, session) are probed; a first failure is probed again at once"
WITHIN = "How long one probe of the wire layers may take altogether; less than the interval"
SHORTENED = "A short interval shortens it to four fifths of the interval"
SLOW = "A handshake or a request that takes longer makes the verdict `slow`; less than the deadline"
OFFER = "The lowest and the highest API version that our hello announces"
REGION = "Whose reset windows apply: where IBKR's servers for the account are"
RESTART = "When the gateway restarts itself; without it no restart is expected"
FAMILY = "Which addresses of a host name are tried"


class RestartSection(Section):
    """When a gateway restarts itself, every day (its AutoRestartTime)."""

    time: Annotated[TimeOfDay, Field(description="When it begins, by the clock of `timezone`")]
    timezone: Annotated[Zone, Field(description="The IANA name of the gateway's time zone")]
    length: Annotated[Length, Field(description="How long it may take until the API answers again")] = 300.0


class WindowSection(Section):
    """A time in which failures are expected. Windows of one name count as one."""

    name: Annotated[Name, Field(description="The value of the label `window`; several windows may share one")]
    days: Annotated[
        list[DayName], Field(description="The days on which it begins, by the clock of `timezone`; by default all")
    ] = list(DAYS)
    start: Annotated[TimeOfDay, Field(description="When it begins")]
    end: Annotated[TimeOfDay, Field(description="When it ends; on the next day where this is before `start`")]
    timezone: Annotated[Zone, Field(description="The IANA name of the time zone in which it is set")]
    region: Annotated[
        RegionName | None, Field(description="For the targets of this region only; by default for all")
    ] = None


class TargetSection(Section):
    """One TWS or IB Gateway endpoint."""

    name: Annotated[Name, Field(description="The value of the label `target`; unique")]
    host: Annotated[Host, Field(description="Host name or IP address, without a port")]
    port: Annotated[Port, Field(description="The API's socket port", examples=[7497, 4002])]
    mode: Annotated[
        Literal["paper", "live"] | None,
        Field(
            description="The kind of account; by default from the port (7497, 4002, 4004: paper; 7496, 4001, 4003: "
            "live), `unknown` with any other"
        ),
    ] = None
    interval: Annotated[Interval | None, Field(description=f"{EVERY}. By default from `defaults`")] = None
    deadline: Annotated[Deadline | None, Field(description=f"{WITHIN}. By default from `defaults`. {SHORTENED}")] = None
    slow_after: Annotated[Deadline | None, Field(description=f"{SLOW}. By default from `defaults`")] = None
    api_versions: Annotated[Versions | None, Field(description=f"{OFFER}. By default from `defaults`")] = None
    address_family: Annotated[Family | None, Field(description=f"{FAMILY}. By default from `defaults`")] = None
    client_ids: Annotated[
        list[ClientId] | None,
        Field(
            description="Client ids reserved for our probes: never 0, none that a trading program uses. By default the "
            "first three from 9001 on that are free of `avoid_client_ids`. With [] only port and handshake are probed"
        ),
    ] = None
    avoid_client_ids: Annotated[
        list[UsedId], Field(description="Client ids of the trading programs; refused in client_ids")
    ] = []
    account: Annotated[Account | None, Field(description="An account that the gateway must manage")] = None
    account_file: Annotated[
        str | None,
        Field(description="A file that holds the account; the path is relative to this file", min_length=1),
    ] = None
    clients: Annotated[
        list[str] | None,
        Field(description="Which of the `clients` are tried against this target. By default all; [] is none"),
    ] = None
    watch: Annotated[
        bool | None,
        Field(
            description="Keep one connection open that sees an upstream loss between probes; it holds the last of "
            "client_ids. By default on where two or more client_ids are reserved"
        ),
    ] = None
    download: Annotated[
        bool,
        Field(
            description="Probe the account download too: positions, orders, account values, executions, summary. Only "
            "read-only requests, and nothing of their contents is read; see `download_stalled`"
        ),
    ] = False
    download_interval: Annotated[Interval, Field(description="How often the account download is probed")] = (
        DOWNLOAD_INTERVAL
    )
    settings: Annotated[
        bool,
        Field(
            description="Ask the gateway for its own settings once a day (from server version 219 on; never seen on a "
            "real TWS). One that does not answer is not asked again"
        ),
    ] = False
    launcher_log: Annotated[
        str | None,
        Field(
            description="Path of the gateway's launcher log, where it is mounted; gives the login phase", min_length=1
        ),
    ] = None
    region: Annotated[RegionName | None, Field(description=f"{REGION}. By default from `defaults`")] = None
    restart: Annotated[RestartSection | None, Field(description=f"{RESTART}. By default from `defaults`")] = None
    labels: Annotated[dict[LabelName, str], Field(description="More labels for `ibkr_target_info`")] = {}


class ClientSection(Section):
    """One broker library as installed in one interpreter."""

    library: Annotated[str, Field(description="Which library it is", examples=["ib_async"], min_length=1)]
    python: Annotated[
        str | None,
        Field(
            description="The interpreter to test, such as that of the bot's own environment. By default the "
            "environment that `clients install` made",
            min_length=1,
        ),
    ] = None
    interval: Annotated[Interval, Field(description="How often the library is tried against each target")] = (
        CLIENT_INTERVAL
    )
    deadline: Annotated[
        Deadline, Field(description=f"How long one try may take altogether; less than the interval. {SHORTENED}")
    ] = CLIENT_DEADLINE
    download: Annotated[
        bool,
        Field(
            description="Let the library download the account too, as a program's connect does: positions, orders, "
            "account values, executions. Only read-only requests pass, and nothing of their contents is kept"
        ),
    ] = False


class DefaultsSection(Section):
    """What a target gets that does not say otherwise."""

    interval: Annotated[Interval, Field(description=EVERY)] = INTERVAL
    deadline: Annotated[Deadline, Field(description=f"{WITHIN}. {SHORTENED}")] = DEADLINE
    slow_after: Annotated[
        Deadline | None, Field(description=f"{SLOW}. By default a second, and at most half the deadline")
    ] = None
    api_versions: Annotated[Versions, Field(description=OFFER)] = "100..226"
    address_family: Annotated[Family, Field(description=FAMILY)] = "any"
    region: Annotated[RegionName, Field(description=REGION)] = "north_america"
    restart: Annotated[RestartSection | None, Field(description=RESTART)] = None


class WebSection(Section):
    """Where and how HTTP is served."""

    listen: Annotated[
        ListenAddresses | None,
        Field(
            description="Address and port, or a list of them; `:9497` is every address of this machine. By default the "
            "environment's IBKR_EXPORTER_LISTEN, else 127.0.0.1:9497"
        ),
    ] = None
    systemd_socket: Annotated[
        bool, Field(description="Serve on the sockets that systemd passes (a .socket unit), not on `listen`")
    ] = False
    external_url: Annotated[
        ExternalUrl | None,
        Field(
            description="The URL at which browsers reach the status page, for the links of alerts; such as that of a "
            "reverse proxy"
        ),
    ] = None
    route_prefix: Annotated[
        RoutePrefix | None,
        Field(
            description="The path below which everything is served, `/-/healthy` and `/metrics` too. By default the "
            "path of `external_url`; `/` where the proxy removes that path"
        ),
    ] = None
    config_file: Annotated[
        str | None,
        Field(
            description="TLS, passwords, headers and a rate limit, in a web configuration file of Prometheus's "
            "exporter-toolkit; the path is relative to this file",
            min_length=1,
        ),
    ] = None


class ProbeSection(Section):
    """What `/probe` may be asked for."""

    allow: Annotated[
        list[Network],
        Field(description="Networks in which `/probe` accepts a HOST:PORT that is not a configured target"),
    ] = []


class LogSection(Section):
    """The exporter's own log, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="The least severe that is written")
    ] = "info"
    format: Annotated[Literal["console", "json"], Field(description="For people, or one JSON object a line")] = (
        "console"
    )


class Settings(Section):
    """The configuration of ibkr-exporter. Durations are seconds as numbers, or 500ms, 15s, 2m, 1h."""

    targets: Annotated[list[TargetSection], Field(description="What is watched")] = []
    file_sd_configs: Annotated[
        list[FileSdSection],
        Field(description="More targets, from files in Prometheus's format, which are followed when they change"),
    ] = []
    http_sd_configs: Annotated[
        list[HttpSdSection], Field(description="More targets, from URLs that answer in Prometheus's format")
    ] = []
    clients: Annotated[
        dict[Name, ClientSection] | None,
        Field(
            description="The broker libraries that are tried, by a name of your choice. By default every one that "
            "`clients install` has installed, or what the environment's IBKR_EXPORTER_CLIENTS says; {} is none"
        ),
    ] = None
    defaults: Annotated[DefaultsSection, Field(description="For every target that does not say otherwise")] = (
        DefaultsSection()
    )
    maintenance: Annotated[
        list[WindowSection] | None,
        Field(
            description="When failures are expected. By default IBKR's reset windows and its weekly login; [] is none"
        ),
    ] = None
    web: Annotated[WebSection, Field(description="Where and how HTTP is served")] = WebSection()
    probe: Annotated[ProbeSection, Field(description="What `/probe` may be asked for")] = ProbeSection()
    log: Annotated[LogSection, Field(description="The exporter's own log, on standard error")] = LogSection()
