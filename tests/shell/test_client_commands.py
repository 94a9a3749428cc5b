"""`clients list / install / check` and `diagnose --clients`, as processes; none of these needs a library or a network."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from exporter.cli.select_clients import select_clients
from exporter.clients.libraries import find_recipes
from exporter.config import target_for_endpoint
from exporter.model import ClientSpec
from exporter.simulator.gateway import Gateway
from tests.shell.test_cli import read, run

WIDE = {"COLUMNS": "200"}


def empty(folder: Path) -> dict[str, str]:
    """A machine on which no client library is installed."""
    return {"IBKR_EXPORTER_CLIENTS_DIR": str(folder / "clients"), **WIDE}


def configured(folder: Path, port: int) -> str:
    file = folder / "exporter.yaml"
    file.write_text(
        f"targets: [{{name: paper, host: 127.0.0.1, port: {port}, mode: paper}}]\n"
        f"clients:\n  bot: {{library: ib_insync, python: {sys.executable}}}\n  other: {{library: ibapi}}\n",
        "utf-8",
    )
    return str(file)


def test_the_list_shows_every_environment_with_its_state(tmp_path: Path) -> None:
    done = read("clients", "list", **empty(tmp_path))
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["nautilus_trader-1.220.0", "1.220.0", "missing"] in [row[:3] for row in rows]
    assert ["ibapi", "ibapi-latest", "10.51.1", "missing"] in [row[:4] for row in rows]
    assert done.stdout.count("missing") == len(find_recipes())


def test_the_list_breaks_no_name_and_no_version_in_two_on_a_usual_terminal(tmp_path: Path) -> None:
    done = read("clients", "list", **empty(tmp_path) | {"COLUMNS": "80"})
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80
    for whole in ("nautilus_trader-1.220.0", "ibapi-latest 10.51.1", "9.81.1.post1", "missing", "1000"):
        assert whole in done.stdout


def test_the_list_says_how_to_install_what_a_configured_client_lacks(tmp_path: Path) -> None:
    done = read("clients", "list", "--config", configured(tmp_path, 7497), **empty(tmp_path))
    assert sys.executable in done.stdout
    assert "not installed: ibkr-exporter clients install ibapi" in done.stdout


def test_an_environment_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    done = read("clients", "install", "tws", **empty(tmp_path))
    assert done.exit_code == 2
    assert "there is no environment tws; known are ib_async, ib_insync" in done.stderr


def test_a_check_of_nothing_fails_and_says_what_to_do(tmp_path: Path) -> None:
    done = read("clients", "check", **empty(tmp_path))
    assert done.exit_code == 1
    assert "ibkr-exporter clients install" in done.stdout


def test_a_check_names_what_cannot_be_used_and_why(tmp_path: Path) -> None:
    done = run("clients", "check", "--config", configured(tmp_path, 7497), **empty(tmp_path))
    assert done.returncode == 1
    assert done.stdout.count("unusable") == 2
    assert "No module named 'ib_insync'" in " ".join(done.stdout.split())
    unknown = run("clients", "check", "nobody", "--config", configured(tmp_path, 7497), **empty(tmp_path))
    assert unknown.returncode == 2


@pytest.mark.parametrize("columns", ["40", "80"])
def test_a_check_breaks_no_path_and_no_command_in_two(tmp_path: Path, columns: str) -> None:
    python = tmp_path / ("a-long-name-of-a-folder-" * 4) / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    file = Path(configured(tmp_path, 7497))
    file.write_text(file.read_text().replace(sys.executable, str(python)))
    done = read("clients", "check", "bot", "--config", str(file), **empty(tmp_path) | {"COLUMNS": columns})
    assert done.exit_code == 1
    assert f"{python} -m pip install ib_insync" in done.stdout
    assert "bot: import ib_insync failed: ModuleNotFoundError: No module named 'ib_insync'" in done.stdout


@pytest.mark.parametrize(("encoding", "mark"), [("ascii", "FAIL unusable"), ("utf-8", "✗ unusable")])
def test_the_marks_of_a_check_are_words_where_the_encoding_has_no_signs(
    tmp_path: Path, encoding: str, mark: str
) -> None:
    variables = empty(tmp_path) | {"PYTHONIOENCODING": encoding}
    done = run("clients", "check", "bot", "--config", configured(tmp_path, 7497), **variables)
    assert mark in done.stdout


async def test_diagnose_says_that_no_library_is_installed(tmp_path: Path) -> None:
    async with Gateway("ok") as gateway:
        done = await asyncio.to_thread(run, "diagnose", f"127.0.0.1:{gateway.port}", **empty(tmp_path))
        assert done.returncode == 0
        assert "No client library was tried: none is installed" in done.stdout
        quiet = await asyncio.to_thread(
            run, "diagnose", f"127.0.0.1:{gateway.port}", "--clients", "none", **empty(tmp_path)
        )
        assert "No client" not in quiet.stdout


async def test_diagnose_with_a_library_that_is_missing_accuses_none(tmp_path: Path) -> None:
    async with Gateway("ok") as gateway:
        config = configured(tmp_path, gateway.port)
        done = await asyncio.to_thread(run, "diagnose", "paper", "--config", config, "--json", **empty(tmp_path))
    said = json.loads(done.stdout)
    assert (done.returncode, said["verdict"]) == (0, "healthy")
    clients = [layer for layer in said["layers"] if layer["layer"] == "client"]
    assert [(layer["client"], layer["outcome"]) for layer in clients] == [
        ("bot", "unavailable"),
        ("other", "unavailable"),
    ]
    assert "No module named 'ib_insync'" in clients[0]["detail"]
    assert "ibkr-exporter clients install ibapi" in clients[1]["detail"]


def test_an_unknown_client_is_a_usage_error(tmp_path: Path) -> None:
    done = read("diagnose", "127.0.0.1:7497", "--clients", "ib_insync,foo", **empty(tmp_path))
    assert done.exit_code == 2
    assert "there is no client foo; known are ib_async" in done.stderr


def test_a_configured_target_is_tried_with_its_own_clients(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IBKR_EXPORTER_CLIENTS_DIR", str(tmp_path))
    clients = {name: ClientSpec(name, "ibapi") for name in ("one", "two")}
    target = target_for_endpoint("127.0.0.1", 7497)
    assert select_clients(None, target, clients) == ([], None)
    assert select_clients("two,one,two", target, clients) == ([clients["two"], clients["one"]], None)
    assert select_clients("none", target, clients) == ((), None)
