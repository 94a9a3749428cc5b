"""One target from the environment variables that traders' `.env` files already have.

    IB_HOST         host name or address             default 127.0.0.1
    IB_PORT         the API's socket port            required: to guess it would be to watch the wrong gateway
    IB_CLIENT_ID    the trading program's client id  our probes keep away from it
    IB_ACCOUNT_ID   must be among the managed accounts

    IBKR_EXPORTER_LISTEN    address and port to serve on; several with commas
    IBKR_EXPORTER_CLIENTS   the clients to try: names with commas, `all` or `none`; by default those that are installed

An empty variable counts as unset, as in `IB_ACCOUNT_ID=`. Others, such as IB_MARKET_DATA_TYPE, mean nothing here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from exporter.config.checks import InvalidValue, check_account, check_client_id, check_host, parse_port, whole
from exporter.config.endpoint import free_client_ids, parse_listen, target_for_endpoint
from exporter.config.errors import Problem
from exporter.config.types import DefaultClients, Listen
from exporter.model import Target

T = TypeVar("T")

LISTEN = "IBKR_EXPORTER_LISTEN"
CLIENTS = "IBKR_EXPORTER_CLIENTS"
WAYS = (
    "Name a file with --config FILE, or set IB_PORT (and IB_HOST) in the environment. "
    "For one look: ibkr-exporter diagnose HOST:PORT. Without a gateway: ibkr-exporter demo"
)


def read_target(environ: Mapping[str, str], problems: list[Problem]) -> Target | None:
    """The target; None, and the reasons appended to `problems`, where there is none."""
    values = {name: environ.get(name, "").strip() for name in ("IB_HOST", "IB_PORT", "IB_CLIENT_ID", "IB_ACCOUNT_ID")}
    if not values["IB_HOST"] and not values["IB_PORT"]:
        problems.append(Problem("", None, None, "", "nothing to watch is configured", WAYS))
        return None
    before = len(problems)
    host = _read(problems, "IB_HOST", check_host, values["IB_HOST"] or "127.0.0.1")
    port = _read(problems, "IB_PORT", _port, values["IB_PORT"])
    used = _read(problems, "IB_CLIENT_ID", _client_id, values["IB_CLIENT_ID"]) if values["IB_CLIENT_ID"] else None
    account = (
        _read(problems, "IB_ACCOUNT_ID", check_account, values["IB_ACCOUNT_ID"]) if values["IB_ACCOUNT_ID"] else None
    )
    if len(problems) > before or host is None or port is None:
        return None
    avoid = () if used is None else (used,)
    ids = free_client_ids(avoid)
    target = target_for_endpoint(host, port)
    return replace(target, client_ids=ids, avoid_client_ids=avoid, account=account, watch=len(ids) > 1)


def read_listen(environ: Mapping[str, str], problems: list[Problem]) -> tuple[Listen, ...]:
    """Where to serve, from IBKR_EXPORTER_LISTEN; the default where it is unset."""
    texts = [text.strip() for text in environ.get(LISTEN, "").split(",") if text.strip()]
    read = (_read(problems, LISTEN, parse_listen, text) for text in texts)
    return tuple(dict.fromkeys(listen for listen in read if listen is not None)) or (Listen(),)


def read_clients(environ: Mapping[str, str]) -> DefaultClients:
    """Which clients to try where none are configured, from IBKR_EXPORTER_CLIENTS. Names are not checked here."""
    names = tuple(dict.fromkeys(name.strip() for name in environ.get(CLIENTS, "").split(",") if name.strip()))
    match names:
        case ():
            return "installed"
        case ("all",):
            return "all"
        case ("none",):
            return ()
    return names


def _read(problems: list[Problem], name: str, parse: Callable[[str], T], text: str) -> T | None:
    try:
        return parse(text)
    except InvalidValue as fault:
        problems.append(Problem("environment", None, None, name, fault.message, fault.remedy))
        return None


def _port(text: str) -> int:
    if not text:
        raise InvalidValue(
            "is not set, though IB_HOST is", "Set IB_PORT to the API's socket port; paper TWS listens on 7497"
        )
    return parse_port(text)


def _client_id(text: str) -> int:
    number = whole(text)
    if number is None:
        remedy = "Give the whole number that the trading program connects with, or leave it out"
        raise InvalidValue(f'"{text}" is not a client id', remedy)
    return check_client_id(number)
