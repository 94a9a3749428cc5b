"""The configuration read again: on request, and when a file of it changes. All of it, or nothing."""

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from exporter.config import Config, ConfigError, Listen, load
from exporter.config.stamps import stamps
from exporter.model import ClientSpec
from exporter.service.background import in_background
from exporter.service.open_files import budget
from exporter.service.reload import Reloader
from exporter.service.service import Service
from exporter.simulator.gateway import Gateway
from exporter.state.exporter import ExporterState
from exporter.web.server import running
from tests.shell.support import PATIENCE, descriptors, until

BAD = Path(__file__).parents[1] / "configs" / "bad"


@dataclass
class Followed:
    """A service with its configuration's file."""

    path: Path
    service: Service
    reload: Reloader

    def write(self, *targets: str, rest: str = "") -> None:
        """Write the file as an editor does: whole, in place of the former one."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(file_of(*targets, rest=rest))
        fresh.replace(self.path)

    def wait_for_files(self) -> None:
        """Give up no look and no read from now on: the machine may be busy."""
        self.reload._look_bounded.seconds = self.reload._read_bounded.seconds = PATIENCE

    async def look_twice(self) -> None:
        """As the clock does: a change is read at the second look."""
        await self.reload.look()
        await self.reload.look()

    @property
    def names(self) -> list[str]:
        return sorted(self.service.states)

    @property
    def successful(self) -> bool:
        return self.service.exporter.reload_successful


def file_of(*targets: str, rest: str = "") -> str:
    return "targets:\n" + "".join(f"- {{{target}}}\n" for target in targets) + "clients: {}\n" + rest


def one(name: str, port: int = 1, more: str = "") -> str:
    return f"name: {name}, host: 127.0.0.1, port: {port}, interval: 60s{more}"


@asynccontextmanager
async def following(path: Path, read: Callable[[], Config] | None = None, **options: Any) -> AsyncIterator[Followed]:
    def read_file() -> Config:
        return load(path)

    config = (read or read_file)()
    async with Service(ExporterState("1.2.3", "3.13")) as service:
        reload = Reloader(service, read or read_file, budget(4096), config, **options)
        await reload.apply(config)
        try:
            yield Followed(path, service, reload)
        finally:
            await reload.close()


def file(folder: Path, *targets: str) -> Path:
    path = folder / "exporter.yaml"
    path.write_text(file_of(*targets))
    return path


async def test_a_change_of_the_file_is_read_once_it_stays_as_it_is(tmp_path: Path) -> None:
    async with following(file(tmp_path, one("a"))) as followed:
        await followed.look_twice()
        config = followed.reload.config
        await followed.look_twice()
        assert followed.reload.config is config, "nothing has changed: nothing is read"
        followed.write(one("a"), one("b", 2))
        await followed.reload.look()
        assert followed.names == ["a"], "it may be half written"
        followed.write(one("a"), one("b", 2), one("c", 3))
        await followed.reload.look()
        assert followed.names == ["a"], "it has changed again meanwhile"
        await followed.reload.look()
        assert followed.names == ["a", "b", "c"]
        config = followed.reload.config
        await followed.look_twice()
        assert followed.reload.config is config


async def test_a_volume_of_kubernetes_that_swaps_its_link_is_read_again(tmp_path: Path) -> None:
    for number, targets in (("1", [one("a")]), ("2", [one("b")])):
        (tmp_path / f"..{number}").mkdir()
        file(tmp_path / f"..{number}", *targets)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "exporter.yaml").symlink_to("..data/exporter.yaml")
    async with following(tmp_path / "exporter.yaml") as followed:
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").replace(tmp_path / "..data")
        await followed.look_twice()
        assert followed.names == ["b"]


async def test_a_file_that_vanishes_changes_nothing_and_is_read_when_it_is_back(tmp_path: Path) -> None:
    async with following(file(tmp_path, one("a"))) as followed:
        followed.path.rename(tmp_path / "away")
        await followed.look_twice()
        assert (followed.names, followed.successful) == (["a"], False)
        followed.write(one("b"))
        await followed.look_twice()
        assert (followed.names, followed.successful) == (["b"], True)


async def test_a_change_of_a_file_that_the_configuration_names_is_a_change_of_it(tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.write_text("DU1234567")
    async with following(file(tmp_path, one("a", more=", account_file: account"))) as followed:
        account.write_text("no account")
        await followed.look_twice()
        assert (followed.service.states["a"].target.account, followed.successful) == ("DU1234567", False)
        account.write_text("DU1234568")
        await followed.look_twice()
        assert (followed.service.states["a"].target.account, followed.successful) == ("DU1234568", True)


async def test_a_file_that_is_refused_is_reported_once_until_it_changes(tmp_path: Path) -> None:
    async with following(file(tmp_path, one("a"))) as followed:
        with structlog.testing.capture_logs() as logs:
            followed.path.write_text("targets: 5\n")
            for _ in range(5):
                await followed.look_twice()
        refused = [entry for entry in logs if entry["log_level"] == "error"]
        assert [entry["event"] for entry in refused] == ["configuration refused, the running one is kept"]
        assert f"{followed.path}:1: targets: " in refused[0]["problems"][0]


async def test_a_fault_of_ours_while_a_file_is_read_shows_as_a_reload_that_failed(tmp_path: Path) -> None:
    path = file(tmp_path, one("a"))

    def read() -> Config:
        if "name: b" in path.read_text():
            raise RuntimeError
        return load(path)

    async with following(path, read) as followed:
        followed.write(one("b"))
        with pytest.raises(RuntimeError):
            await followed.look_twice()
        assert (followed.names, followed.successful) == (["a"], False)
        followed.write(one("c"))
        await followed.look_twice()
        assert (followed.names, followed.successful) == (["c"], True)


async def test_a_configuration_that_cannot_be_put_in_force_shows_and_is_tried_again(tmp_path: Path) -> None:
    path = file(tmp_path, one("a"))
    broken = {"x": ClientSpec("x", "no such library")}
    works = True

    def read() -> Config:
        config = load(path)
        return config if works else replace(config, clients=broken)

    async with following(path, read) as followed:
        works = False
        followed.write(one("b"))
        with pytest.raises(KeyError):
            await followed.look_twice()
        assert not followed.successful
        with pytest.raises(KeyError):
            await followed.look_twice()
        works = True
        await followed.look_twice()
        assert (followed.names, followed.successful) == (["b"], True)


async def test_a_hundred_broken_files_change_nothing(tmp_path: Path) -> None:
    broken = [path.read_bytes() for path in sorted(BAD.glob("*.yaml"))]
    whole = file_of(one("a"), one("b")).encode()
    broken += [whole[:cut] + tail for tail in (b"{", b"\xff", b"\0") for cut in range(9, len(whole) - 5, 5)]
    assert len(broken) >= 100
    async with Gateway("ok") as gateway:
        path = file(tmp_path, one("a", gateway.port), one("b", gateway.port, ", client_ids: []"))
        async with following(path) as followed:
            async with asyncio.timeout(PATIENCE):
                await followed.service.wait_for(lambda: all(state.last for state in followed.service.states.values()))
            config, states = followed.reload.config, dict(followed.service.states)
            tasks = asyncio.all_tasks()
            for number, content in enumerate(broken):
                followed.path.write_bytes(content)
                os.utime(followed.path, ns=(number, number))
                await followed.look_twice()
                assert not followed.successful
            assert followed.reload.config is config
            assert all(followed.service.states[name].target is state.target for name, state in states.items())
            assert asyncio.all_tasks() == tasks


class Hanging:
    """A function that hangs while `hangs` is set, as one that reads from a network's file system does."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._answers = threading.Event()
        self._answers.set()
        self.calls = 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if not self._answers.wait(PATIENCE):
            raise TimeoutError
        return self._function(*arguments)

    def hang(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()


async def test_files_that_hang_are_a_refusal_that_ends_with_them_and_holds_up_neither_reload_nor_discovery(
    tmp_path: Path,
) -> None:
    path = file(tmp_path, one("a"))
    read = Hanging(lambda: load(path))
    async with following(path, read, limit=0.05) as followed:
        read.hang()
        with structlog.testing.capture_logs() as logs:
            asked = asyncio.gather(*(followed.reload() for _ in range(20)))
            await asyncio.sleep(0)
            tasks = [task.get_name() for task in asyncio.all_tasks()]
            assert tasks.count("reload") == 1, "those who ask together share one reload"
            answers = await asked
            assert (await followed.reload()) == answers[0]
        problem = f"{path}: this file, or one that it names, cannot be read within 0.05 seconds. See whether its "
        assert answers[0] == [problem + "file system hangs. It is read again as soon as it can be"]
        assert all(answer == answers[0] for answer in answers)
        assert [entry["log_level"] for entry in logs] == ["error"], "all who ask are told, the log is told once"
        threads = [thread.name for thread in threading.enumerate()]
        assert threads.count("read the configuration") == 1, "one thread hangs, however often is asked"
        assert (followed.names, followed.successful) == (["a"], False)
        async with asyncio.timeout(PATIENCE):
            await followed.reload._on_refresh(True)  # noqa: FBT003 - a source of targets has changed meanwhile
        read.answer()
        followed.wait_for_files()
        followed.write(one("b"))
        await followed.look_twice()
        assert (followed.names, followed.successful) == (["b"], True)


async def test_files_that_can_be_looked_at_but_not_read_are_reported_once_until_they_hang_again(tmp_path: Path) -> None:
    path = file(tmp_path, one("a"))
    read = Hanging(lambda: load(path))
    async with following(path, read) as followed:
        for name in ("b", "c"):
            read.hang()
            followed.write(one(name))
            followed.reload._read_bounded.seconds = 0.1
            with structlog.testing.capture_logs() as logs:
                for _ in range(2):
                    await followed.look_twice()
            assert ([entry["log_level"] for entry in logs], followed.successful) == (["error"], False)
            read.answer()
            followed.wait_for_files()
            await followed.look_twice()
            assert (followed.names, followed.successful) == ([name], True)


async def test_files_that_cannot_be_looked_at_are_reported_once_and_read_when_they_can(tmp_path: Path) -> None:
    look = Hanging(stamps)
    async with following(file(tmp_path, one("a")), limit=0.01, look=look) as followed:
        look.hang()
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await followed.reload.look()
        assert ([entry["log_level"] for entry in logs], followed.successful) == (["error"], False)
        look.answer()
        followed.wait_for_files()
        await followed.look_twice()
        assert (followed.names, followed.successful) == (["a"], True)


async def test_a_reload_that_is_under_way_when_the_exporter_ends_watches_nothing_again(tmp_path: Path) -> None:
    path = file(tmp_path, one("a"))
    config = replace(load(path), listen=(Listen(port=0),))
    read = Hanging(lambda: load(path))
    async with running(config, read) as (_, reload):
        read.hang()
        reloading = asyncio.ensure_future(reload())
        await until(lambda: read.calls)
    read.answer()
    assert (await reloading, await reload()) == (["the exporter ends"], ["the exporter ends"])
    await until(lambda: not any(thread.name == "read the configuration" for thread in threading.enumerate()))
    await asyncio.sleep(0)
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("target")] == []


async def test_a_list_that_comes_after_the_end_changes_nothing(tmp_path: Path) -> None:
    async with following(file(tmp_path, one("a"))) as followed:
        config = followed.reload.config
        await followed.reload.close()
        await followed.reload._on_refresh(True)  # noqa: FBT003 - a source of targets has changed
        assert followed.reload.config is config


async def test_unchanged_targets_keep_history_and_schedule_and_many_reloads_leave_nothing_behind(
    tmp_path: Path,
) -> None:
    async with Gateway("ok") as gateway, Gateway("ok") as other:
        targets = [one("stays", gateway.port), one("changes", other.port)]
        async with following(file(tmp_path, *targets)) as followed:
            service = followed.service
            async with asyncio.timeout(PATIENCE):
                await service.wait_for(lambda: all(state.last for state in service.states.values()))
            await until(lambda: service.states["stays"].watched.connected)
            before, opened = service.states["stays"], gateway.recorder.opened
            tasks, files = asyncio.all_tasks(), descriptors()
            objects = 0
            for number in range(50):
                followed.write(targets[0], one("changes", other.port, f", deadline: {number + 1}s"))
                assert await followed.reload() == []
                if number == 20:
                    gc.collect()
                    objects = len(gc.get_objects())
            assert service.states["stays"].target is before.target
            assert service.states["stays"].probes == before.probes
            assert gateway.recorder.opened == opened, "neither a probe nor the watch began again"
            assert service.states["changes"].target.deadline == 50
            await until(lambda: len(asyncio.all_tasks()) <= len(tasks))
            assert stays(asyncio.all_tasks()) == stays(tasks), "the next tick is in it"
            await until(lambda: descriptors() <= files)
            gc.collect()
            assert len(gc.get_objects()) < objects + 2000


def stays(tasks: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    return {task for task in tasks if task.get_name() == "target stays"}


async def test_serve_follows_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, one("a"))
    with path.open("a") as more:
        more.write("web: {listen: '127.0.0.1:0'}\n")
    async with running(load(path), lambda: load(path), poll=0.02) as (url, _):
        path.write_text(path.read_text().replace("name: a", "name: b"))
        async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
            names: list[str] = []
            while names != ["b"]:
                async with session.get(f"{url}api/v1/status") as response:
                    names = [target["target"] for target in (await response.json())["targets"]]


async def test_the_garbage_collector_is_off_while_a_configuration_is_read_and_on_again_whatever_comes_of_it() -> None:
    def fail() -> bool:
        raise ConfigError([])

    assert gc.isenabled()
    first, second = await asyncio.gather(in_background(gc.isenabled, "one"), in_background(gc.isenabled, "two"))
    assert (first, gc.isenabled()) == (False, True)
    assert isinstance(second, bool)
    with pytest.raises(ConfigError):
        await in_background(fail, "three")
    assert gc.isenabled()
    hanging = asyncio.create_task(in_background(threading.Event().wait, "four"))
    await until(lambda: not gc.isenabled())
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert gc.isenabled()
