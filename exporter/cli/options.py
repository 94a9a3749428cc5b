"""The options and arguments of the commands, where they are more than a line or used by several."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration (YAML).", metavar="FILE", envvar="IBKR_EXPORTER_CONFIG"),
]
TargetArgument = Annotated[
    str | None,
    typer.Argument(
        help="A configured target, or HOST:PORT; not needed where one alone is configured.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
AsText = Annotated[
    bool, typer.Option("--report", help="Print a block of text for a bug report, account numbers masked.")
]
ClientNames = Annotated[
    str | None,
    typer.Option(
        help="The clients to try: names, or none. By default those of the target, without a file all installed.",
        metavar="a,b|none",
    ),
]
WithDownload = Annotated[
    bool,
    typer.Option(
        "--download",
        help="Probe the account download too, ours and each library's: read-only requests, contents unread.",
    ),
]
WithSettings = Annotated[
    bool, typer.Option("--settings", help="Ask the gateway for its own settings too; nothing is changed.")
]
Timeout = Annotated[float | None, typer.Option(help="Seconds for all of it, clients included.", min=0.1, max=300.0)]


ControlPort = Annotated[
    int | None,
    typer.Option(help="A loopback HTTP port to change the mode by; 0 takes a free one.", min=0, max=65535),
]
FreezeAfter = Annotated[float, typer.Option(help="Seconds to the freeze in the mode `freeze_after`.", min=0.0)]
ClockOffset = Annotated[float, typer.Option(help="Seconds that its clock is ahead in the mode `clock_off`.")]
Connections = Annotated[
    int, typer.Option(help="Connections that are served at a time in the mode `one_connection`.", min=1)
]
