"""Which client libraries are probed where none are configured, and where that is said."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from exporter import log
from exporter.cli.select_clients import (
    Memory,
    announce,
    available_memory,
    complete,
    default_specs,
    memory_of,
    select_clients,
)
from exporter.clients.environments import VARIABLE, default_root, find_environment, mark_ready
from exporter.clients.libraries import find_recipes
from exporter.config import Config, ConfigError, from_environment, load
from exporter.metrics.clients import usable
from exporter.model import ClientSpec, InstalledVersion
from exporter.simulator.gateway import Gateway
from exporter.state.exporter import ExporterState
from exporter.verdict.client_blame import ClientStatus
from exporter.web import server
from exporter.web.pages.libraries import library_note
from tests.shell.clients_real import make_client
from tests.shell.support import PATIENCE

LIBRARIES = ("ib_async", "ib_insync", "ibapi", "nautilus_trader")
FILE = "targets: [{name: paper, host: 127.0.0.1, port: 7497}]\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for environments with nothing in it."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "clients"))
    return default_root()


def install(root: Path, *names: str) -> None:
    """Leave what a finished install leaves: an interpreter and the mark."""
    for name in names:
        environment = find_environment(find_recipes()[name], root)
        environment.python.parent.mkdir(parents=True)
        environment.python.touch()
        mark_ready(environment)


def environment(**more: str) -> Config:
    return complete(from_environment({"IB_PORT": "7497", **more}))


def tried(config: Config) -> tuple[str, ...]:
    [target] = config.targets
    assert set(target.clients) == set(config.clients)
    return target.clients


def test_what_is_installed_is_tried_and_the_rest_is_named(root: Path) -> None:
    config = environment()
    assert (tried(config), config.not_installed) == ((), LIBRARIES)
    install(root, "ib_async", "ibapi-9.81.1")
    config = environment()
    assert (tried(config), config.not_installed) == (("ib_async", "ibapi-9.81.1"), ("ib_insync", "nautilus_trader"))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", ()),
        ("ib_insync", ("ib_insync",)),
        ("ibapi, ib_async", ("ibapi", "ib_async")),
        ("all", ("ib_async", "ib_insync", "ibapi", "ibapi-9.81.1", "nautilus_trader", "nautilus_trader-1.220.0")),
    ],
)
def test_the_variable_chooses_and_what_it_names_is_tried_though_it_is_not_installed(
    root: Path, choice: str, expected: tuple[str, ...]
) -> None:
    install(root, "ib_async")
    config = environment(IBKR_EXPORTER_CLIENTS=choice)
    assert (sorted(tried(config)), config.not_installed) == (sorted(expected), ())


def test_a_name_that_is_no_environment_is_refused_with_the_names_that_are(root: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        environment(IBKR_EXPORTER_CLIENTS="ib_async,ib_snyc")
    [problem] = refused.value.problems
    assert problem.message == "there is no client ib_snyc"
    assert "ib_insync" in problem.remedy


def test_a_file_without_the_key_tries_what_is_installed_and_an_empty_one_none(root: Path, tmp_path: Path) -> None:
    install(root, "ib_insync")
    file = tmp_path / "exporter.yaml"
    file.write_text(FILE, "utf-8")
    assert tried(complete(load(file, {}))) == ("ib_insync",)
    file.write_text(FILE + "clients: {}\n", "utf-8")
    config = complete(load(file, {"IBKR_EXPORTER_CLIENTS": "all"}))
    assert (tried(config), config.not_installed) == ((), ())


def test_diagnose_tries_none_for_a_target_that_lists_none(root: Path, tmp_path: Path) -> None:
    install(root, "ib_insync")
    file = tmp_path / "exporter.yaml"
    file.write_text(FILE.replace("}", ", clients: []}"), "utf-8")
    config = complete(load(file, {}))
    assert select_clients(None, config.targets[0], config.clients) == ([], None)


def test_libraries_that_are_not_installed_are_unusable_and_named_on_the_page() -> None:
    async_ = ClientStatus("ib_async", InstalledVersion("ib_async", "2.1.0", "3.12.1"))
    exporter = ExporterState("1", "3", clients=(async_, ClientStatus("bot", problem="no")), not_installed=("ibapi",))
    assert dict(usable(exporter)) == {("ib_async",): 1, ("bot",): 0, ("ibapi",): 0}
    assert library_note((), exporter) == (
        "No client library is tried. Not installed: ibapi (ibkr-exporter clients install installs them)."
    )
    assert library_note((), ExporterState("1", "3")) == ""


def test_the_start_says_what_is_tried_what_is_not_installed_and_the_memory(root: Path) -> None:
    install(root, "nautilus_trader", "ib_async")
    log.configure("info")
    with capture_logs() as entries:
        announce(environment())
    first = entries[0]
    assert (first["event"], first["tried"], first["memory_mb"]) == (
        "client libraries",
        ["ib_async", "nautilus_trader"],
        332,
    )
    assert first["not_installed"] == ["ib_insync", "ibapi"]
    assert "clients install" in first["remedy"]


def test_memory_is_that_of_each_clients_library_and_short_where_less_is_free(tmp_path: Path) -> None:
    specs = [ClientSpec("bot", "nautilus_trader", "/bot/python"), ClientSpec("ib_async", "ib_async")]
    assert memory_of(specs).needed == 332
    meminfo, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable: 500000 kB\n", "ascii")
    assert available_memory(meminfo, limit) == 512
    limit.write_text("300000000\n", "ascii")
    (tmp_path / "memory.current").write_text("100000000\n", "ascii")
    assert available_memory(meminfo, limit) == 200
    limit.write_text("max\n", "ascii")
    assert available_memory(meminfo, limit) == 512
    assert Memory(332, 200).short
    assert not Memory(332, 512).short
    assert not Memory(332, None).short


async def test_serve_from_the_environment_alone_tries_an_installed_library() -> None:
    make_client("ib_async")
    async with Gateway("ok") as gateway:
        environ = {
            "IB_PORT": str(gateway.port),
            "IBKR_EXPORTER_CLIENTS": "ib_async",
            "IBKR_EXPORTER_LISTEN": "127.0.0.1:0",
        }
        config = complete(from_environment(environ))
        success = f'ibkr_client_success{{target="127.0.0.1:{gateway.port}",client="ib_async"}} 1'
        async with (
            server.running(config, lambda: config) as (url, _),
            aiohttp.ClientSession() as session,
            asyncio.timeout(PATIENCE),
        ):
            while success not in (text := await (await session.get(f"{url}metrics")).text()):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert 'ibkr_client_usable{client="ib_async"} 1' in text
    assert default_specs(()) == []
