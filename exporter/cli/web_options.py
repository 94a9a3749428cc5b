"""The options of `serve` that stand for keys of `web`; each comes before the file and the environment."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from exporter.config import Config, parse_external_url, parse_listen, parse_route_prefix, route_prefix

ListenAddresses = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        "--web.listen-address",
        help="Where to serve; may be repeated. By default as configured, else 127.0.0.1:9497.",
        metavar="HOST:PORT",
        show_default=False,
    ),
]
SystemdSocket = Annotated[
    bool, typer.Option("--web.systemd-socket", help="Serve on the sockets that systemd passes (web.systemd_socket).")
]
ExternalUrl = Annotated[
    str | None,
    typer.Option("--web.external-url", help="Where browsers reach the status page (web.external_url).", metavar="URL"),
]
RoutePrefix = Annotated[
    str | None,
    typer.Option(
        "--web.route-prefix",
        help="The path below which everything is served; by default that of the external URL (web.route_prefix).",
        metavar="PATH",
    ),
]
WebConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--web.config.file",
        help="TLS, passwords, headers and a rate limit, as of the exporter-toolkit (web.config_file).",
        metavar="FILE",
    ),
]


def with_web_options(
    config: Config,
    listen: Sequence[str] | None,
    external_url: str | None,
    prefix: str | None,
    *,
    systemd_socket: bool,
    config_file: Path | None = None,
) -> Config:
    """The configuration with what the options say. Raises ConfigError.

    The path of the web configuration file is relative to the working directory, as on every command line.
    """
    if config_file is not None:
        config = replace(config, web_config_file=str(config_file.absolute()))
    if listen:
        config = replace(config, listen=tuple(dict.fromkeys(map(parse_listen, listen))))
    if systemd_socket:
        config = replace(config, systemd_socket=True)
    if external_url is not None:
        url = parse_external_url(external_url)
        config = replace(config, external_url=url, route_prefix=route_prefix(url, prefix))
    if prefix:
        config = replace(config, route_prefix=parse_route_prefix(prefix))
    return config
