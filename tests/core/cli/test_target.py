"""Which target a command is about."""

from pathlib import Path

import pytest
import typer

from exporter.cli.target import select_target


def test_a_name_that_is_not_configured_says_which_are_and_how_to_ask_for_a_discovered_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "exporter.yaml"
    path.write_text("clients: {}\ntargets: [{name: own, host: h, port: 7497}]\nfile_sd_configs: [{files: [a.json]}]\n")

    with pytest.raises(typer.Exit) as ended:
        select_target("alpha", path)

    assert ended.value.exit_code == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "The configured targets are: own",
        "Discovered targets are not known here: give HOST:PORT",
    ]
