"""The command line and the composition root: only here are the parts put together.

Each command imports what it alone needs, so that `serve` starts fast.
"""

import asyncio
import json
import os
import platform
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from exporter import __version__, log
from exporter.cli.client_commands import clients_app
from exporter.cli.exit import BROKEN, UNHEALTHY, USAGE, fail, output, read_or_fail, run_coroutine
from exporter.cli.options import (
    AsJson,
    AsText,
    ClientNames,
    ClockOffset,
    ConfigFile,
    Connections,
    ControlPort,
    FreezeAfter,
    TargetArgument,
    Timeout,
    WithDownload,
    WithSettings,
)
from exporter.cli.target import load_config, select_target
from exporter.cli.web_options import (
    ExternalUrl,
    ListenAddresses,
    RoutePrefix,
    SystemdSocket,
    WebConfigFile,
    with_web_options,
)
from exporter.config import Config, ConfigError, parse_listen
from exporter.model import Report, Target, Verdict
from exporter.protocol.launcher_log import Login

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Says whether TWS / IB Gateway or the client library is at fault.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(clients_app, name="clients")


def main() -> None:
    """Run the command line."""
    app()


def _print_version(given: bool) -> None:  # noqa: FBT001 - typer calls it so
    if given:
        typer.echo(f"ibkr-exporter {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Take `--version` without a command."""


@app.command()
def serve(
    config: ConfigFile = None,
    listen: ListenAddresses = None,
    *,
    systemd_socket: SystemdSocket = False,
    external_url: ExternalUrl = None,
    prefix: RoutePrefix = None,
    web_config: WebConfigFile = None,
) -> None:
    """Probe on schedule and serve /metrics and the status page. Without a file: the gateway at IB_HOST and IB_PORT."""
    from exporter.cli.select_clients import announce  # noqa: PLC0415
    from exporter.web import server  # noqa: PLC0415
    from exporter.web.listen import ListenError  # noqa: PLC0415

    def load_again() -> Config:
        return load_config(config)

    loaded = read_or_fail(load_again)
    loaded = read_or_fail(
        lambda: with_web_options(
            loaded, listen, external_url, prefix, systemd_socket=systemd_socket, config_file=web_config
        )
    )
    log.configure(loaded.log_level, loaded.log_format)
    announce(loaded)
    try:
        run_coroutine(server.serve(loaded, load_again, lambda _: None))
    except ListenError as error:
        fail(str(error), UNHEALTHY)
    except ConfigError as error:  # the web configuration file, or a certificate that it names
        fail(str(error), USAGE)


@app.command()
def demo(
    listen: Annotated[str, typer.Option(help="Where to serve.", metavar="HOST:PORT")] = "127.0.0.1:9497",
    *,
    libraries: Annotated[
        bool, typer.Option(help="Try client libraries; the first time, install ib_async and ib_insync for that.")
    ] = True,
) -> None:
    """Watch a small fleet of simulated gateways fail in many ways. Needs no TWS and no configuration."""
    from exporter.cli import demo as demonstration  # noqa: PLC0415
    from exporter.web.listen import ListenError  # noqa: PLC0415

    address = read_or_fail(lambda: parse_listen(listen))
    log.configure("info", "console")
    try:
        run_coroutine(demonstration.show(address, typer.echo, libraries=libraries))
    except ListenError as error:
        fail(str(error), UNHEALTHY)


@app.command()
def diagnose(
    target: TargetArgument = None,
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_text: AsText = False,
    clients: ClientNames = None,
    download: WithDownload = False,
    settings: WithSettings = False,
    timeout: Timeout = None,
) -> None:
    """Probe every layer once, from the outside in, try the client libraries, and say what is wrong and what to do.

    Exit code 0: healthy or slow; 1: the gateway is not healthy; 2: usage or configuration; 3: the probe itself failed.
    """
    from exporter.cli.diagnose import examine  # noqa: PLC0415
    from exporter.cli.progress import progress_of  # noqa: PLC0415
    from exporter.cli.select_clients import select_clients  # noqa: PLC0415
    from exporter.probes.launcher_log import read_login  # noqa: PLC0415
    from exporter.verdict.rules import WORKING, judge  # noqa: PLC0415

    selected, configured_clients = select_target(target, config)
    selected = replace(selected, download=selected.download or download, settings=selected.settings or settings)
    log.configure("error", "console")
    try:
        specs, remark = select_clients(clients, selected, configured_clients)
    except ValueError as error:
        fail(str(error), USAGE)
    specs = [replace(spec, download=spec.download or download) for spec in specs]

    async def probe_once() -> tuple[Report, Login | None]:
        with nullcontext(_no_progress) if as_json else progress_of(selected) as show:
            return await asyncio.gather(examine(selected, specs, timeout, show), read_login(selected.launcher_log))

    report, login = run_coroutine(probe_once())
    verdict = judge(report, selected)
    failed = BROKEN if verdict is Verdict.PROBE_BROKEN else UNHEALTHY
    code = 0 if verdict in WORKING else failed
    write = _print_json if as_json else _print_bug_report if as_text else partial(_print_report, remark=remark)
    with output(code):
        write(selected, report, verdict, login)
    raise typer.Exit(code)


def _print_json(target: Target, report: Report, verdict: Verdict, login: Login | None) -> None:
    from exporter.web.pages.status_json import report_json  # noqa: PLC0415

    typer.echo(json.dumps(report_json(target, report, verdict, login)))


def _print_bug_report(target: Target, report: Report, verdict: Verdict, login: Login | None) -> None:
    from exporter.verdict.bug_report import bug_report  # noqa: PLC0415

    exporter = f"ibkr-exporter {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    typer.echo(bug_report(report, target, verdict, exporter, login=login), nl=False)


def _print_report(target: Target, report: Report, verdict: Verdict, login: Login | None, *, remark: str | None) -> None:
    from rich.console import Console  # noqa: PLC0415

    from exporter.cli.report import print_report  # noqa: PLC0415

    print_report(Console(), target, report, verdict, login)
    if remark:
        typer.echo(f"\n{remark}")


@app.command("check-config")
def check_config(
    file: Annotated[Path, typer.Argument(help="The configuration (YAML).", envvar="IBKR_EXPORTER_CONFIG")],
) -> None:
    """Check a configuration file and the lists of targets that it names: every error with its place and remedy."""
    from exporter.cli.check_config import check  # noqa: PLC0415

    held, notes = read_or_fail(lambda: check(file, os.environ))
    with output(0):
        for line in (*notes, held):
            typer.echo(line)


@app.command()
def simulate(
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.", min=0, max=65535)] = 7497,
    mode: Annotated[str, typer.Option(help="What the gateway does; --list shows every mode.")] = "ok",
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    list_modes: Annotated[bool, typer.Option("--list", help="List the modes.")] = False,
    control: ControlPort = None,
    script: Annotated[str | None, typer.Option(help="Modes over time: 0s:ok,30s:silent,60s:repeat.")] = None,
    server_version: Annotated[int, typer.Option(help="The API version of the gateway.", min=1, max=999)] = 226,
    slow: Annotated[float, typer.Option(help="Seconds to an answer in the mode `slow`.", min=0.0)] = 2.0,
    freeze_after: FreezeAfter = 60.0,
    flap_period: Annotated[float, typer.Option(help="Seconds of each turn in the mode `flapping`.", min=0.1)] = 15.0,
    clock_offset: ClockOffset = 90.0,
    connections: Connections = 1,
    account: Annotated[list[str], typer.Option(help="A managed account; may be repeated.")] = ["DU1234567"],  # noqa: B006
    client_id_in_use: Annotated[list[int], typer.Option(help="A client id that is taken; may be repeated.")] = [],  # noqa: B006
) -> None:
    """Simulate one TWS with a chosen fault."""
    from exporter.simulator import command  # noqa: PLC0415
    from exporter.simulator.settings import GatewaySettings  # noqa: PLC0415

    if list_modes:
        with output(0):
            _print_modes(command.mode_rows())
        return
    settings = GatewaySettings(
        server_version=server_version,
        accounts=tuple(account),
        taken_client_ids=frozenset(client_id_in_use),
        slow=slow,
        freeze_after=freeze_after,
        flap_period=flap_period,
        clock_offset=clock_offset,
        connections=connections,
    )
    keyboard = sys.stdin if sys.stdin is not None and sys.stdin.isatty() else None
    code = command.run(
        port=port, mode=mode, host=host, setup=settings, control_port=control, script=script, keyboard=keyboard
    )
    raise typer.Exit(code)


@app.command()
def metrics(
    style: Annotated[str, typer.Option("--format", help="md or json.", metavar="md|json")] = "md",
) -> None:
    """Print the metric catalogue."""
    from exporter.metrics.reference import as_json, as_markdown  # noqa: PLC0415

    if style not in ("md", "json"):
        fail(f"--format {style}: must be md or json", USAGE)
    with output(0):
        typer.echo(as_markdown() if style == "md" else as_json(), nl=False)


def _no_progress(_: object) -> None:
    pass


def _print_modes(rows: list[tuple[str, str, str, str]]) -> None:
    width = max(len(name) for name, *_ in rows) + 2
    typer.echo(f"{'mode':<{width}}{'verdict it should get':<26}what a client sees")
    for name, sees, handshake, session in rows:
        verdict = session if handshake == session else f"{session} *"
        typer.echo(f"{name:<{width}}{verdict:<26}{sees}")
    typer.echo("* only a probe of the session sees it; the handshake alone is healthy")
