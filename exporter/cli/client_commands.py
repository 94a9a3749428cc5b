"""The commands `clients list`, `install` and `check`, with their arguments; clients.py does the work."""

from typing import Annotated

import typer

from exporter.cli.exit import UNHEALTHY, USAGE, fail, output, run_coroutine
from exporter.cli.options import ConfigFile
from exporter.cli.target import configured

clients_app = typer.Typer(no_args_is_help=True, help="The client libraries: install, list and check them.")


@clients_app.command("list")
def clients_list(config: ConfigFile = None) -> None:
    """Every environment that can be installed, and the configured clients: where they are and in what state."""
    from exporter.cli.clients import show_list  # noqa: PLC0415

    specs = {} if config is None else configured(config).clients
    with output(0):
        show_list(specs)


@clients_app.command("install")
def clients_install(
    names: Annotated[list[str] | None, typer.Argument(help="The environments; by default all.")] = None,
) -> None:
    """Make an environment for each library, with pinned versions. May be stopped and started again."""
    from exporter.cli.clients import install_all  # noqa: PLC0415

    try:
        made = install_all(names or [])
    except ValueError as error:
        fail(str(error), USAGE)
    raise typer.Exit(0 if made else UNHEALTHY)


@clients_app.command("check")
def clients_check(
    names: Annotated[list[str] | None, typer.Argument(help="The clients; by default all that are there.")] = None,
    *,
    config: ConfigFile = None,
) -> None:
    """Import every library in its own interpreter, and name conflicts with their remedies."""
    from exporter.cli.clients import check_all  # noqa: PLC0415

    specs = {} if config is None else configured(config).clients
    try:
        usable = run_coroutine(check_all(names or [], specs))
    except ValueError as error:
        fail(str(error), USAGE)
    raise typer.Exit(0 if usable else UNHEALTHY)
