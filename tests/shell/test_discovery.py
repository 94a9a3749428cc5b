"""Discovered targets on real files and a real web server: what changes, what a broken answer changes, what is sent."""

import asyncio
import gc
import json
import os
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client.parser import text_string_to_metric_families

from exporter.config import Config, Listen, load
from exporter.config.discovered import resolve_entries
from exporter.config.discovery import FileSource, HttpSource, Secret, Source
from exporter.config.errors import MAX_LINE
from exporter.config.stamps import Stamp, stamps
from exporter.config.target_groups import LARGEST, Entry
from exporter.config.types import NO_RULES
from exporter.model import Cause, ClientSpec
from exporter.probes.resolver import Address, Resolver, UnresolvedError
from exporter.service import file_lists
from exporter.service.discovery import Discovery
from exporter.service.file_lists import FileLists
from exporter.service.http_lists import HttpLists
from exporter.service.lists import Answer
from exporter.service.open_files import budget
from exporter.service.reload import Reloader
from exporter.service.service import Service
from exporter.service.source_loop import SourceLoop
from exporter.simulator.gateway import Gateway
from exporter.state.discovery import SourceState
from exporter.state.exporter import ExporterState
from exporter.web.server import running
from tests.core.config.test_discovered import BROKEN_JSON, BROKEN_YAML
from tests.shell.support import PATIENCE, descriptors, until

SECRET = "hunter2"  # noqa: S105 - of no account
REST = "clients: {}\n"


@dataclass
class Fleet:
    """A service whose targets are discovered."""

    folder: Path
    service: Service
    reload: Reloader

    @property
    def source(self) -> SourceState:
        [state] = self.service.exporter.sources
        return state

    @property
    def names(self) -> list[str]:
        return sorted(self.service.states)

    async def changed(self) -> SourceState:
        """Have a changed configuration put in force, and wait for the first refresh of its source."""
        assert await self.reload() == []
        await until(lambda: self.source.refreshes)
        return self.source

    async def refreshed(self, within: Callable[[], Awaitable[object]] | None = None) -> SourceState:
        """Have every source refreshed once more, and wait for that."""
        before = self.source.refreshes
        if within is not None:
            await within()
        assert await self.reload() == []
        await until(lambda: self.source.refreshes > before)
        return self.source


@asynccontextmanager
async def fleet(folder: Path, text: str) -> AsyncIterator[Fleet]:
    """Serve this configuration, and wait for the first refresh."""
    path = folder / "exporter.yaml"
    path.write_text(text + REST)

    def read() -> Config:
        return load(path)

    async with Service(ExporterState("1.2.3", "3.13")) as service:
        reload = Reloader(service, read, budget(4096), read())
        try:
            await reload.apply(read())
            found = Fleet(folder, service, reload)
            await until(lambda: service.exporter.sources and all(s.refreshes for s in service.exporter.sources))
            yield found
        finally:
            await reload.close()


def group(*addresses: str, **labels: str) -> dict[str, Any]:
    return {"targets": list(addresses), "labels": labels}


def write(path: Path, *groups: dict[str, Any]) -> None:
    """Write a list in JSON, which is YAML too, whole, in place of the former one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(groups))
    fresh.replace(path)


FILES = "file_sd_configs: [{files: ['lists/*.json', 'lists/*.yaml'], refresh_interval: 1h}]\n"


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "lists"
    folder.mkdir()
    return folder


async def test_the_targets_of_all_files_are_watched_beside_those_of_the_configuration(
    tmp_path: Path, lists: Path
) -> None:
    write(lists / "a.json", group("10.0.0.1:1", "10.0.0.2:2", desk="rates"))
    write(lists / "b.yaml", group("10.0.0.3:3", __param_name="third"))
    write(lists / "c.txt", group("10.0.0.4:4"))
    async with fleet(tmp_path, FILES + "targets: [{name: own, host: 10.0.0.9, port: 9}]\n") as found:
        assert found.names == ["10.0.0.1:1", "10.0.0.2:2", "own", "third"]
        assert found.service.states["10.0.0.1:1"].target.labels == {"desk": "rates"}
        assert (found.source.mechanism, found.source.config) == ("file", "file_sd_configs[0]")
        assert (found.source.targets, found.source.rejected, found.source.successful) == (3, 0, True)
        assert {target.name for target in found.reload.config.targets} == set(found.names)
        write(lists / "b.yaml", group("10.0.0.5:5"))
        (lists / "a.json").unlink()
        await found.refreshed()
        assert found.names == ["10.0.0.5:5", "own"]


async def test_a_directory_whose_name_looks_like_a_pattern_is_that_directory(tmp_path: Path) -> None:
    folder = tmp_path / "[a]*?"
    (folder / "lists").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    write(folder / "lists" / "a.json", group("10.0.0.1:1"))
    async with fleet(folder, FILES) as found:
        assert found.names == ["10.0.0.1:1"]


async def test_a_file_that_is_broken_keeps_its_last_list_and_the_others_go_on(tmp_path: Path, lists: Path) -> None:
    write(lists / "a.json", group("10.0.0.1:1"))
    write(lists / "b.json", group("10.0.0.2:2"))
    async with fleet(tmp_path, FILES) as found:
        (lists / "a.json").write_text('[{"targets": ["10.0.0.9:9"')
        write(lists / "b.json", group("10.0.0.3:3"))
        state = await found.refreshed()
        assert found.names == ["10.0.0.1:1", "10.0.0.3:3"]
        assert (state.successful, state.failures) == (False, 1)
        assert state.failure is not None
        assert f"{lists / 'a.json'}: line 1 is not JSON" in state.failure
        write(lists / "a.json", group("10.0.0.4:4"))
        state = await found.refreshed()
        assert (found.names, state.successful, state.failing_since) == (["10.0.0.3:3", "10.0.0.4:4"], True, None)


async def test_a_hundred_broken_lists_change_nothing_and_are_logged_once_each(tmp_path: Path, lists: Path) -> None:
    broken = [("json", raw) for raw in BROKEN_JSON] + [("yaml", raw) for raw in BROKEN_YAML]
    broken += [("json", json.dumps([group(f"10.0.0.{n}:0", "x" * n, "169.254.169.254:1")]).encode()) for n in range(50)]
    assert len(broken) >= 100
    write(lists / "a.json", group("10.0.0.1:1", "10.0.0.2:2"))
    write(lists / "a.yaml", group("10.0.0.3:3"))
    async with fleet(
        tmp_path, FILES.replace("[{files: ['lists/*.json', 'lists/*.yaml']", "[{files: [lists/a.json, lists/a.yaml]")
    ) as found:
        before = {name: state.target for name, state in found.service.states.items()}
        good = {kind: (lists / f"a.{kind}").read_bytes() for kind in ("json", "yaml")}
        for kind, raw in broken:
            if raw.startswith(b'[{"targets": ["10.0.0.') and b"169.254" in raw:
                (lists / "a.yaml").write_bytes(b"[]")
            (lists / f"a.{kind}").write_bytes(raw)
            state = await found.refreshed()
            assert not state.successful, raw
            assert {name: state.target for name, state in found.service.states.items()} == before
            (lists / f"a.{kind}").write_bytes(good[kind])
            (lists / "a.yaml").write_bytes(good["yaml"])
        state = await found.refreshed()
        assert state.successful
        assert all(found.service.states[name].target is target for name, target in before.items())


async def test_what_a_broken_list_holds_does_not_fill_the_log_and_the_page(tmp_path: Path, lists: Path) -> None:
    (lists / "a.json").write_text(json.dumps([{"x" * 100_000: 1}]))
    async with fleet(tmp_path, FILES) as found:
        assert len(str(found.source.failure)) < MAX_LINE + 200  # and the list's own path


async def test_a_pipe_among_the_files_is_refused_and_holds_up_no_other(tmp_path: Path, lists: Path) -> None:
    write(lists / "a.json", group("10.0.0.1:1"))
    os.mkfifo(lists / "b.json")
    async with fleet(tmp_path, FILES) as found:
        assert found.names == ["10.0.0.1:1"]
        assert f"{lists / 'b.json'}: this is no regular file" in str(found.source.failure)


async def test_a_file_that_hangs_is_a_failure_that_ends_with_it_and_costs_one_thread(
    lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    files = FileLists(FileSource("hangs", (str(lists / "a.json"),), 0.01), poll=0.001, timeout=0.01)
    write(lists / "a.json", group("10.0.0.1:1"))

    def hang(paths: list[Path]) -> dict[Path, Stamp]:
        released.wait(PATIENCE)
        return dict(stamps(paths))

    monkeypatch.setattr(file_lists, "stamps", hang)
    for _ in range(5):
        assert (await files.read()).failure == f"{lists}/a.json cannot be read within 0.01 seconds"
        await files.wait(asyncio.Event())
    assert sum(thread.name.endswith("hangs") for thread in threading.enumerate()) == 1
    released.set()
    await until(lambda: not any(thread.name.endswith("hangs") for thread in threading.enumerate()))
    async with asyncio.timeout(PATIENCE):
        while (lists_read := await files.read()).failure:  # a busy machine takes longer than the timeout now and then
            pass
    assert [entry.address for entry in lists_read.entries or ()] == ["10.0.0.1:1"]


async def test_files_that_hang_between_two_reads_are_read_at_once_so_that_the_failure_shows(
    lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, source = threading.Event(), FileSource("hangs", (str(lists / "a.json"),), 3600.0)
    files = FileLists(source, poll=0.001, timeout=0.05)
    write(lists / "a.json", group("10.0.0.1:1"))

    def hang(paths: list[Path]) -> dict[Path, Stamp]:
        released.wait(PATIENCE)
        return dict(stamps(paths))

    await files.read()
    monkeypatch.setattr(file_lists, "stamps", hang)
    async with asyncio.timeout(PATIENCE):
        await files.wait(asyncio.Event())
        assert (await files.read()).failure
        waiting = asyncio.create_task(files.wait(asyncio.Event()))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        released.set()
        await waiting
        while (answer := await files.read()).failure:
            pass
    assert [entry.address for entry in answer.entries or ()] == ["10.0.0.1:1"]


async def test_a_secret_that_hangs_is_a_failure_and_costs_one_thread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "password")  # to open it waits for who writes to it
    secret = Secret(file=tmp_path / "password")
    source = HttpSource("hangs", "http://127.0.0.1:1/", 0.1, basic=(Secret("ann"), secret))
    lists = HttpLists(source)
    for _ in range(3):
        assert (await lists.read()).failure == (
            "the secrets or certificates cannot be read within 0.05 seconds. "
            "See whether the file system of their files hangs"
        )
    assert sum(thread.name.endswith("of hangs") for thread in threading.enumerate()) == 1
    os.close(os.open(tmp_path / "password", os.O_WRONLY))
    await until(lambda: not any(thread.name.endswith("of hangs") for thread in threading.enumerate()))


async def test_targets_that_could_not_be_put_in_force_are_put_in_force_after_a_pause() -> None:
    told: list[bool] = []

    class Once:
        async def read(self) -> Answer:
            return Answer((Entry("x", "[0]", "10.0.0.1:1", {}),))

        async def wait(self, _: asyncio.Event) -> None:
            await asyncio.Event().wait()

    async def refreshed(changed: bool) -> None:  # noqa: FBT001 - called by position
        told.append(changed)
        if len(told) == 1:
            msg = "can't start new thread"
            raise RuntimeError(msg)

    loop = SourceLoop(FileSource("x", ("a.json",), 1.0), Once(), NO_RULES, refreshed, pause=0.0)
    running = asyncio.create_task(loop.run())
    await until(lambda: len(told) > 1 or running.done())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert told == [True, True]


async def test_rules_whose_use_was_cancelled_are_used_when_they_come_again() -> None:
    loop = SourceLoop(FileSource("x", ("a.json",), 1.0), Fixed(Entry("x", "[0]", "10.0.0.1:1", {})), NO_RULES, nothing)
    assert await loop.refresh()
    rules = replace(NO_RULES, networks=(ip_network("192.168.0.0/16"),))
    using = asyncio.create_task(loop.use(rules))
    await asyncio.sleep(0)
    using.cancel()
    await asyncio.wait([using])
    assert (using.cancelled(), len(loop.targets)) == (True, 1)
    await loop.use(rules)
    assert not loop.targets, "they permit no such address"


async def test_a_list_that_comes_while_other_rules_are_taken_into_use_stays() -> None:
    lists = Fixed(Entry("x", "[0]", "10.0.0.1:1", {}))
    loop = SourceLoop(FileSource("x", ("a.json",), 1.0), lists, NO_RULES, nothing)
    assert await loop.refresh()
    using = asyncio.create_task(loop.use(replace(NO_RULES, networks=(ip_network("10.0.0.0/8"),))))
    await asyncio.sleep(0)
    loop.entries = (Entry("x", "[0]", "10.0.0.2:1", {}),)  # as a refresh that ends meanwhile
    await using
    assert [target.host for target in loop.targets.values()] == ["10.0.0.2"]


async def test_targets_that_clash_with_others_are_logged_once(tmp_path: Path, lists: Path) -> None:
    write(lists / "a.json", group("10.0.0.1:1", __param_name="own"))
    with structlog.testing.capture_logs() as logs:
        async with fleet(tmp_path, FILES + "targets: [{name: own, host: 10.0.0.9, port: 9}]\n") as found:
            await found.refreshed()
            write(lists / "a.json", group("10.0.0.1:1", __param_name="own"), group("10.0.0.2:2"))
            await found.refreshed()
            await until(lambda: found.names == ["10.0.0.2:2", "own"])
    [log] = [log for log in logs if log["event"].startswith("discovered targets are left out")]
    assert (log["config"], log["number"]) == ("file_sd_configs[0]", 1)
    assert log["problems"][0].startswith("10.0.0.1:1: there is a target named own in the configuration file")


async def test_a_pattern_without_any_file_is_a_failure_and_an_empty_list_is_not(tmp_path: Path, lists: Path) -> None:
    write(lists / "a.json", group("10.0.0.1:1"))
    async with fleet(tmp_path, FILES) as found:
        (lists / "a.json").unlink()
        state = await found.refreshed()
        assert (found.names, state.successful) == (["10.0.0.1:1"], False)
        assert state.failure == f"there is no file {lists}/*.json, {lists}/*.yaml"
        write(lists / "a.json")
        state = await found.refreshed()
        assert (found.names, state.successful, state.targets) == ([], True, 0)


async def test_a_file_is_read_again_when_it_has_changed_and_stays_so_also_behind_a_link(
    tmp_path: Path, lists: Path
) -> None:
    for number, address in (("1", "10.0.0.1:1"), ("2", "10.0.0.2:2")):
        (tmp_path / f"..{number}").mkdir()
        write(tmp_path / f"..{number}" / "a.json", group(address))
    (tmp_path / "..data").symlink_to("..1")
    (lists / "a.json").symlink_to("../..data/a.json")
    files = FileLists(FileSource("x", (str(lists / "*.json"),), 3600.0), poll=0.005)
    assert [entry.address for entry in (await files.read()).entries or ()] == ["10.0.0.1:1"]
    waiting = asyncio.create_task(files.wait(asyncio.Event()))
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    async with asyncio.timeout(PATIENCE):
        await waiting
    assert [entry.address for entry in (await files.read()).entries or ()] == ["10.0.0.2:2"]


async def test_unchanged_targets_are_left_alone_when_a_list_changes_and_a_suspension_goes_on(
    tmp_path: Path, lists: Path
) -> None:
    async with Gateway("ok") as gateway:
        write(lists / "a.json", group(f"127.0.0.1:{gateway.port}", __param_interval="60s"))
        async with fleet(tmp_path, FILES) as found:
            name, service = f"127.0.0.1:{gateway.port}", found.service
            async with asyncio.timeout(PATIENCE):
                await service.wait_for(lambda: service.states[name].watched.connected)
            before, opened = service.states[name], gateway.recorder.opened
            suspended = replace(before, release=replace(before.release, limit=True))
            service._states.put(suspended)
            write(lists / "a.json", group(name, __param_interval="60s"), group("10.0.0.1:1"))
            [loop] = found.reload._discovery._loops
            await found.reload._on_refresh(await loop.refresh())
            assert len(found.names) == 2
            assert service.states[name] is suspended
            assert gateway.recorder.opened == opened


async def test_a_hundred_changes_of_a_list_leave_nothing_behind(tmp_path: Path, lists: Path) -> None:
    write(lists / "a.json", group("127.0.0.1:1"))
    async with fleet(tmp_path, FILES) as found:
        await found.refreshed()
        tasks, files, objects = len(asyncio.all_tasks()), descriptors(), 0
        for number in range(100):
            write(lists / "a.json", group("127.0.0.1:1", f"127.0.0.1:{number % 7 + 2}", desk=str(number)))
            await found.refreshed()
            if number == 50:
                gc.collect()
                objects = len(gc.get_objects())
        write(lists / "a.json", group("127.0.0.1:1"))
        await found.refreshed()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: descriptors() <= files)
        gc.collect()
        assert len(gc.get_objects()) < objects + 2000


async def test_a_source_that_a_reload_leaves_as_it_is_keeps_its_list_and_one_that_goes_takes_its_targets_along(
    tmp_path: Path, lists: Path
) -> None:
    write(lists / "a.json", group("10.0.0.1:1", "gateway:1"))
    async with fleet(tmp_path, FILES) as found:
        (lists / "a.json").write_text("[")
        path = tmp_path / "exporter.yaml"
        path.write_text("targets: [{name: own, host: h, port: 9}]\n" + FILES + "defaults: {interval: 30s}\n" + REST)
        await found.refreshed()
        assert found.names == ["10.0.0.1:1", "gateway:1", "own"]
        assert found.service.states["10.0.0.1:1"].target.interval == 30.0
        path.write_text("targets: [{name: own, host: h, port: 9}]\n" + FILES + "probe: {allow: [10.0.0.0/8]}\n" + REST)
        await found.refreshed()
        assert found.names == ["10.0.0.1:1", "own"], "an entry that the new configuration forbids does not stay"
        path.write_text("targets: [{name: own, host: h, port: 9}]\n" + REST)
        assert await found.reload() == []
        assert (found.names, found.service.exporter.sources) == (["own"], ())


def target_tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task.get_name().startswith("target ")}


async def test_a_source_that_is_changed_loses_no_target_and_no_history(tmp_path: Path, lists: Path) -> None:
    write(lists / "a.json", group("10.0.0.1:1", "10.0.0.2:2", desk="rates"))
    async with fleet(tmp_path, FILES) as found:
        before, watched = dict(found.service.states), target_tasks()
        path = tmp_path / "exporter.yaml"
        path.write_text(path.read_text().replace("refresh_interval: 1h", "refresh_interval: 2h"))
        assert (await found.changed()).successful
        assert target_tasks() == watched
        path.write_text("file_sd_configs: [{files: ['none/*.json']}]\n" + REST)
        state = await found.changed()
        assert (state.successful, state.failure) == (False, f"there is no file {tmp_path}/none/*.json")
        assert target_tasks() == watched, "the last good list of what was there stays"
        assert all(found.service.states[name].target is state.target for name, state in before.items())
        (tmp_path / "none").mkdir()
        write(tmp_path / "none" / "a.json", group("10.0.0.2:2", desk="rates"))
        await found.refreshed()
        assert found.names == ["10.0.0.2:2"]
        assert target_tasks() < watched


async def test_a_start_that_fails_leaves_no_discovery_behind(lists: Path) -> None:
    sources = (FileSource("file_sd_configs[0]", (str(lists / "*.json"),), 3600.0),)
    broken = {"x": ClientSpec("x", "no such library")}
    config = Config((), clients=broken, sources=sources, listen=(Listen(port=0),))
    with pytest.raises(KeyError):
        async with running(config, lambda: config):
            pass
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("discovery")] == []


async def test_a_source_before_another_one_does_not_take_its_list(tmp_path: Path, lists: Path) -> None:
    write(lists / "a.json", group("10.0.0.1:1"))
    async with fleet(tmp_path, FILES) as found:
        path = tmp_path / "exporter.yaml"
        path.write_text(FILES.replace("[{", "[{files: ['none/*.json']}, {") + REST)
        assert await found.reload() == []
        await until(lambda: all(source.refreshes for source in found.service.exporter.sources))
        assert [source.targets for source in found.service.exporter.sources] == [0, 1]
        assert found.names == ["10.0.0.1:1"]


class Fixed:
    """A list that never changes; without entries it never answers."""

    def __init__(self, *entries: Entry) -> None:
        self._entries = entries

    async def read(self) -> Answer:
        if not self._entries:
            await asyncio.Event().wait()
        return Answer(self._entries)

    async def wait(self, _: asyncio.Event) -> None:
        await asyncio.Event().wait()


async def nothing(_: bool) -> None:  # noqa: FBT001 - called by position
    """Nobody wants to know of a refresh."""


def in_place(number: int, name: str, interval: float = 60.0) -> FileSource:
    return FileSource(f"file_sd_configs[{number}]", (name,), interval)


def numbers(discovery: Discovery) -> list[int]:
    """How many targets each source has."""
    return [len(tuple(targets)) for targets in discovery.targets.values()]


async def test_a_change_of_two_sources_that_is_cancelled_at_the_second_leaves_the_former_ones_and_no_task() -> None:
    def lists_of(source: Source) -> Fixed:
        task = asyncio.current_task()
        if source == in_place(1, "d.json") and task is not None:
            task.cancel()  # which takes effect while the second inherits
        return Fixed(Entry(source.where, "[0]", f"{source.where}:1", {}))

    discovery = Discovery(nothing, lists_of)
    await discovery.configure([in_place(0, "a.json"), in_place(1, "b.json")], NO_RULES)
    await until(lambda: numbers(discovery) == [1, 1])
    before, tasks = discovery.targets, asyncio.all_tasks()
    changing = asyncio.create_task(discovery.configure([in_place(0, "c.json"), in_place(1, "d.json")], NO_RULES))
    await asyncio.wait([changing])
    assert (changing.cancelled(), discovery.targets) == (True, before)
    assert asyncio.all_tasks() == tasks
    await discovery.close()
    assert ours() == []


async def test_the_list_of_a_changed_source_goes_to_that_source_alone_though_another_has_its_place() -> None:
    first = in_place(0, "a.json")
    list_of_first = Fixed(Entry("a", "[0]", "10.0.0.1:1", {}))
    discovery = Discovery(nothing, lambda source: list_of_first if source == first else Fixed())
    await discovery.configure([first], NO_RULES)
    await until(lambda: numbers(discovery) == [1])
    await discovery.configure([in_place(0, "x.json"), in_place(1, "a.json", 30.0)], NO_RULES)
    assert numbers(discovery) == [0, 1]
    await discovery.configure([in_place(0, "y.json"), in_place(1, "z.json")], NO_RULES)
    assert numbers(discovery) == [0, 1], "where no list is the same, the place counts"
    await discovery.close()


def ours() -> list[str]:
    """The tasks of the service, without those of a web server in the same loop."""
    names = (task.get_name() for task in asyncio.all_tasks())
    return sorted(name for name in names if name.startswith(("target", "discovery")))


# A web server


@dataclass
class Site:
    """A web server that answers with a list, or with whatever a test wants."""

    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    groups: list[dict[str, Any]] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return web.json_response(self.groups) if self.answer is None else await self.answer(request)


@asynccontextmanager
async def site(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Site, str]]:
    """Serve; gives the URL of the list too."""
    served = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(ssl=context)
    try:
        yield served, f"http{'s' if context else ''}://127.0.0.1:{server.port}/targets"
    finally:
        await server.close()


def source(url: str, more: str = "") -> str:
    return f"http_sd_configs: [{{url: '{url}', refresh_interval: 1h{more}}}]\n"


async def test_a_url_gives_targets_and_is_asked_as_prometheus_asks(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n")
    (tmp_path / "header").write_text("three")
    auth = ", basic_auth: {username: monitor, password_file: password}"
    headers = ", http_headers: {X-Team: {values: [one], secrets: [two], files: [header]}}"
    async with site() as (served, url):
        served.groups = [group("10.0.0.1:1", __param_name="a", desk="rates")]
        async with fleet(tmp_path, source(url, auth + headers)) as found:
            assert (found.names, found.source.mechanism) == (["a"], "http")
            [request] = served.requests
            assert (request.method, request.path) == ("GET", "/targets")
            assert request.headers["Authorization"] == "Basic bW9uaXRvcjpodW50ZXIy"
            assert request.headers["X-Prometheus-Refresh-Interval-Seconds"] == "3600"
            assert request.headers["Accept"] == "application/json"
            assert request.headers.getall("X-Team") == ["one", "two", "three"]
            (tmp_path / "password").write_text("changed")
            served.groups = []
            await found.refreshed()
            assert found.names == []
            assert served.requests[-1].headers["Authorization"] == "Basic bW9uaXRvcjpjaGFuZ2Vk"


async def test_other_credentials_are_a_bearers(tmp_path: Path) -> None:
    more = f", authorization: {{credentials: {SECRET}}}"
    async with site() as (served, url), fleet(tmp_path, source(url, more)):
        assert served.requests[0].headers["Authorization"] == f"Bearer {SECRET}"


def body(text: bytes | str, status: int = 200, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        raw = text.encode() if isinstance(text, str) else text
        given = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return web.Response(body=raw, status=status, headers=given)

    return answer


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for _ in range(LARGEST // 65_536 + 2):
        await response.write(b" " * 65_536)
    return response


async def cut_short(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"[")
    assert request.transport is not None
    request.transport.close()
    return response


async def test_a_hundred_broken_answers_change_nothing(tmp_path: Path) -> None:
    good = json.dumps([group("10.0.0.9:9")])
    answers: list[Any] = [body(raw) for raw in BROKEN_JSON]
    answers += [body(good, status) for status in (100 + 104, 301, 304, 400, 401, 403, 404, 429, 500, 502, 503)]
    answers += [
        body(good, Content_Type=kind)
        for kind in ("text/html", "text/json", "application/jsonp", "", "application/json; charset=latin1")
    ]
    answers += [body(good, Content_Encoding=kind) for kind in ("gzip", "br", "deflate", "zstd")]
    answers += [
        body("", 302, Location=to)
        for to in (
            "http://127.0.0.2/x",
            "https://127.0.0.1/x",
            "//evil/",
            "file:///etc/passwd",
            "http://[/",
            "/again",
            "",
        )
    ]
    answers += [
        body(json.dumps([group(address)]))
        for address in ("169.254.169.254:80", "2130706433:1", "0x7f.1:1", "[::ffff:169.254.1.1]:1", "a", "a:0", ":1")
    ]
    answers += [
        body(json.dumps([group("10.0.0.9:9", **{f"__param_{key}": "<b>\n"})]))
        for key in ("name", "account", "mode", "client_ids", "clients", "interval", "region", "watch")
    ]
    answers += [body(good[:cut]) for cut in range(len(good) - 1)]
    answers += [endless, cut_short]
    assert len(answers) >= 100
    async with site() as (served, url):
        served.groups = [group("10.0.0.1:1", "10.0.0.2:2")]
        async with fleet(tmp_path, source(url)) as found:
            before = {name: state.target for name, state in found.service.states.items()}
            tasks = ours()
            for number, served.answer in enumerate(answers):
                assert not (await found.refreshed()).successful, number
                assert {name: state.target for name, state in found.service.states.items()} == before
            assert found.source.failures == len(answers)
            served.answer = None
            state = await found.refreshed()
            assert (state.successful, state.failure) == (True, None)
            assert all(found.service.states[name].target is target for name, target in before.items())
            assert ours() == tasks


async def test_an_answer_without_an_end_is_given_up_at_the_limit(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(8 * LARGEST // 65_536):
            await response.write(b" " * 65_536)
        ended.set()
        return response

    async with site() as (served, url):
        served.answer = flood
        async with fleet(tmp_path, source(url)) as found:
            assert str(found.source.failure).startswith(f"the list has more than {LARGEST} bytes")
    assert not ended.is_set()


async def test_a_redirect_on_the_same_host_is_followed_and_only_where_that_is_wanted(tmp_path: Path) -> None:
    async with site() as (served, url):

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path == "/targets":
                return web.Response(status=307, headers={"Location": "/elsewhere"})
            return web.json_response([group("10.0.0.1:1")])

        served.answer = answer
        async with fleet(tmp_path, source(url)) as found:
            assert found.names == ["10.0.0.1:1"]
        async with fleet(tmp_path, source(url, ", follow_redirects: false")) as found:
            assert (found.names, found.source.successful) == ([], False)


async def test_a_redirect_to_another_host_or_port_is_not_followed_whatever_is_there(tmp_path: Path) -> None:
    more = f", authorization: {{credentials: {SECRET}}}"
    async with site() as (served, url), site() as (other, elsewhere):
        other.groups = [group("10.0.0.1:1")]
        served.answer = body("", 302, Location=elsewhere)
        async with fleet(tmp_path, source(url, more)) as found:
            assert (found.names, found.source.successful) == ([], False)
            assert found.source.failure is not None
            assert found.source.failure.startswith("it redirects to another host, 127.0.0.1")
        assert other.requests == []


async def test_no_secret_is_in_the_log_or_the_state_when_the_server_refuses_or_is_gone(tmp_path: Path) -> None:
    more = f", basic_auth: {{username: a, password: {SECRET}}}, http_headers: {{X-Key: {{secrets: [{SECRET}]}}}}"
    with structlog.testing.capture_logs() as logs:
        async with site() as (served, url):
            served.answer = body("no", 401)
            context = fleet(tmp_path, source(f"{url}?token={SECRET}", more))
            found = await context.__aenter__()
            states = [found.source]
        states += [await found.refreshed(), await found.refreshed()]
        await context.__aexit__(None, None, None)
    failures = [entry for entry in logs if entry["event"].startswith("discovery failed")]
    assert states[0].failure == f"{url} answers 401. Its log says why; it must answer 200"
    assert len(failures) == 2, "the third says nothing new"
    assert SECRET not in repr(logs)
    assert SECRET not in repr(states)
    assert SECRET not in repr(found.reload.config)


async def test_a_server_that_does_not_answer_ends_by_the_interval(tmp_path: Path) -> None:
    async with site() as (served, url):

        async def hang(_: web.Request) -> web.StreamResponse:
            await asyncio.sleep(3600)
            raise AssertionError

        served.answer = hang
        async with fleet(tmp_path, source(url).replace("1h", "1s")) as found:
            assert found.source.failure is not None
            assert "has not answered within the time limit" in found.source.failure


async def test_the_certificate_of_the_server_is_verified_and_read_again(tmp_path: Path) -> None:
    ca, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("sd.example.org").configure_cert(context)
    other.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    more = ", tls_config: {ca_file: ca.pem, server_name: sd.example.org}"
    async with site(context) as (served, url), fleet(tmp_path, source(url, more)) as found:
        served.groups = [group("10.0.0.1:1")]
        assert (found.names, found.source.successful) == ([], False)
        ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        await found.refreshed()
        assert (found.names, found.source.successful) == (["10.0.0.1:1"], True)
        (tmp_path / "ca.pem").unlink()
        state = await found.refreshed()
        assert (found.names, state.successful) == (["10.0.0.1:1"], False)
        assert state.failure is not None
        assert state.failure.startswith(f"{tmp_path / 'ca.pem'} cannot be used: ")


async def test_a_discovered_name_that_resolves_to_a_forbidden_address_is_not_connected_to() -> None:
    def answers(*addresses: str) -> Resolver:
        return Resolver(lambda _: [Address(2, (address, 1)) for address in addresses])

    [target] = resolve_entries([Entry("x", "", "gateway:1", {})], NO_RULES, {}).targets.values()

    assert await answers("10.0.0.1", "169.254.169.254").resolve(target) == [Address(2, ("10.0.0.1", 1))]
    with pytest.raises(UnresolvedError) as caught:
        await answers("169.254.169.254").resolve(target)
    assert caught.value.cause is Cause.NAME_UNKNOWN
    assert len(await answers("169.254.169.254").resolve(replace(target, discovered=False))) == 1


async def test_markup_and_newlines_of_a_list_are_text_on_the_page_in_the_json_and_in_the_metrics(
    tmp_path: Path, lists: Path
) -> None:
    nasty = '</script><script>alert(1)</script>"\'\\\n# HELP ibkr_up x\nibkr_up{target="x"} 1\r\u2028'
    bad = group(f"<b>{nasty}", __param_name=nasty)
    bad["labels"][f"a{nasty}"] = "x"
    write(lists / "a.json", group("127.0.0.1:1", desk=nasty), bad)
    path = tmp_path / "exporter.yaml"
    path.write_text(FILES + "web: {listen: '127.0.0.1:0'}\n" + REST)
    async with running(load(path), lambda: load(path)) as (url, _), aiohttp.ClientSession() as session:

        async def get(place: str) -> str:
            async with session.get(url + place) as response:
                return (await response.read()).decode()

        async with asyncio.timeout(PATIENCE):
            answer: dict[str, Any] = {}
            while not answer.get("targets"):
                answer = json.loads(await get("api/v1/status"))
        page, target = await get(""), await get("targets/127.0.0.1:1")
        families = {family.name: family for family in text_string_to_metric_families(await get("metrics"))}
    assert [each["labels"] for each in answer["targets"]] == [{"desk": nasty}]
    assert answer["targets"][0]["discovered"] is True
    assert (answer["discovery"][0]["targets"], answer["discovery"][0]["rejected"]) == (1, 1)
    assert "<script" not in page + target
    assert "<b>&lt;" not in page
    [info] = families["ibkr_target_info"].samples
    assert info.labels["desk"] == nasty
    assert [sample.labels["target"] for sample in families["ibkr_verdict"].samples if sample.value] == ["127.0.0.1:1"]
    assert [sample.value for sample in families["ibkr_sd_discovered_targets"].samples] == [1]
