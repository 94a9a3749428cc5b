"""The gateway's own settings, by reqConfig: one request, and the few numbers and booleans that are read of its answer.

    client  308 = 108 + 200, ConfigRequest {1 request id}          from server version 219 on, protobuf alone
    server  310 = 110 + 200, ConfigResponse {2 lock and exit {1 time, 3 type}, 4 api {2 settings {...}}}

Field numbers are those of the descriptors in ibapi 10.51.1 (docs/facts.md: settings). The request that changes settings
does not exist in this program. Never seen on a real TWS.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from exporter.protocol import protobuf
from exporter.protocol.wire import LENGTH, PROTOBUF_OFFSET, frame

REQUEST, RESPONSE = 108, 110
SETTINGS_FROM = 219  # server version
NOT_AVAILABLE = 10357  # "Configuration access via API is not available"
LOCK_AND_EXIT, API, API_SETTINGS = 2, 4, 2
TRUSTED_ADDRESSES = 36
TIME_ZONE_FORMAT = 29  # "Send instrument-specific attributes for dual-mode API client in"
EXIT_TIME, EXIT_KIND = 1, 3
# The fields of the API's settings that are read, by number.
NUMBERS: Mapping[int, str] = {8: "socket_port", 18: "master_client_id", 19: "bulk_data_timeout"}
FLAGS: Mapping[int, str] = {
    1: "read_only_api",
    3: "download_open_orders_on_connection",
    10: "create_api_message_log_file",
    15: "account_requests_switch_subscription",
    26: "reject_messages_above_max_rate",
    27: "maintain_connection_on_incorrect_fields",
    31: "maintain_and_resubmit_orders_on_reconnect",
    35: "allow_localhost_only",
}


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What the gateway says of its settings: numbers, and 1 or 0, by name. `exit_time` is text of its own clock.

    A setting that it does not mention is missing. `trusted` are its trusted addresses as it wrote them:
    `without_trusted_addresses` drops them, and only their number and `trusts_us` are kept.
    """

    values: Mapping[str, int]
    exit_time: str = ""
    exit_kind: str = ""
    time_zone_format: str = ""
    trusts_us: bool | None = None
    trusted: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class SettingsAnswer:
    """The settings, or why there are none; `asked`: the request was sent. `at` is unix seconds."""

    at: float
    connections: int
    config: GatewayConfig | None = None
    asked: bool = False
    problem: str = ""


def write_request(request_id: int) -> bytes:
    """Ask for the settings."""
    return frame((REQUEST + PROTOBUF_OFFSET).to_bytes(LENGTH, "big") + protobuf.encode({1: request_id}))


def read_response(body: bytes) -> GatewayConfig:
    """The settings in a ConfigResponse. Raises ValueError if it cannot be read."""
    answer = protobuf.decode(body)
    leaving = protobuf.decode(protobuf.data(answer, LOCK_AND_EXIT))
    written = protobuf.data(protobuf.decode(protobuf.data(answer, API)), API_SETTINGS)
    settings = protobuf.decode(written)
    values = {name: protobuf.integer(settings, number) for number, name in NUMBERS.items() if number in settings}
    values |= {
        name: int(protobuf.integer(settings, number) != 0) for number, name in FLAGS.items() if number in settings
    }
    if settings:
        values["trusted_addresses"] = protobuf.occurrences(written, TRUSTED_ADDRESSES)
    trusted = tuple(text.decode("latin-1") for text in protobuf.every(written, TRUSTED_ADDRESSES))
    return GatewayConfig(
        values, _text(leaving, EXIT_TIME), _text(leaving, EXIT_KIND), _text(settings, TIME_ZONE_FORMAT), trusted=trusted
    )


def without_trusted_addresses(config: GatewayConfig, own: str | None) -> GatewayConfig:
    """Return the settings without the trusted addresses; `trusts_us` says whether `own`, our address, is one of them.

    It stays None where we connect from the gateway's own machine, which needs no trust, and where none is mentioned.
    """
    ours = None if own is None else _address(own)
    checkable = ours is not None and not ours.is_loopback and "trusted_addresses" in config.values
    trusts_us = ours in map(_address, config.trusted) if checkable else None
    return replace(config, trusted=(), trusts_us=trusts_us)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address without its zone, an IPv4 address within IPv6 as what it is; None if it is none."""
    try:
        address = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _text(fields: protobuf.Fields, number: int) -> str:
    text = protobuf.data(fields, number)[:32].decode("latin-1")
    return text if text.isprintable() else ""
