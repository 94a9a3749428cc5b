"""Where HTTP is served: several addresses, sockets that systemd passes, a route prefix."""

import fcntl
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
import pytest

from exporter.config import Config, Listen
from exporter.model import Mode, Target
from exporter.simulator.gateway import Gateway
from exporter.web.listen import ListenError, listening_sockets, passed_sockets
from exporter.web.server import running
from tests.shell.support import CLEAN, PATIENCE, free_port, get, started

# What a shell does in place of systemd: the sockets are descriptors from 3 on, and the variables name the process.
SYSTEMD = 'exec 3<&"$0" 4<&"$1"; shift; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=metrics:pages exec "$@"'
ABOVE = 50  # the descriptors that the shell gets: none of them is 3 or 4


@asynccontextmanager
async def served(**options: object) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """Serve a healthy gateway; gives the URL and a session to ask with."""
    async with AsyncExitStack() as opened:
        gateway = await opened.enter_async_context(Gateway("ok"))
        target = Target("paper", gateway.host, gateway.port, Mode.PAPER, 30.0, 2.0)
        config = Config((target,), **{"listen": (Listen(port=0),), **options})  # type: ignore[arg-type]
        url, _ = await opened.enter_async_context(running(config, lambda: config))
        yield url, await opened.enter_async_context(aiohttp.ClientSession())


async def body(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        assert response.status == 200, url
        return await response.text()


async def test_every_address_of_the_list_is_served() -> None:
    ports = free_port(), free_port()
    async with served(listen=tuple(Listen(port=port) for port in ports)) as (url, session):
        assert url == f"http://127.0.0.1:{ports[0]}/"
        for port in ports:
            assert await body(session, f"http://127.0.0.1:{port}/-/healthy") == "OK\n"


def test_one_address_that_is_taken_leaves_the_others_free() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        first = free_port()
        with pytest.raises(ListenError, match=f"port {taken.getsockname()[1]}: Address already in use"):
            listening_sockets([Listen(port=first), Listen(port=taken.getsockname()[1])])
    for each in listening_sockets([Listen(port=first)]):
        each.close()


LINK = re.compile(r'(?:href|src|action)="([^"#]+)"')


async def links(session: aiohttp.ClientSession, start: str) -> set[str]:
    """The URLs that can be reached by links, from the status page on."""
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        url = ahead.pop()
        if url in seen:
            continue
        seen.add(url)
        async with session.get(url) as response:
            assert response.status == 200, url
            if response.content_type != "text/html":
                continue
            found = {urljoin(url, link.replace("&amp;", "&")) for link in LINK.findall(await response.text())}
        # every runbook is the same template: a few stand for all
        ahead += [each for each in found if "runbooks/" not in each or each.endswith(("/healthy", "/unknown"))]
    return seen


async def test_every_link_from_the_status_page_stays_below_the_prefix() -> None:
    async with served(external_url="https://monitor.example/x/ibkr", route_prefix="/x/ibkr") as (url, session):
        assert urlsplit(url).path == "/x/ibkr/"
        reached = {urlsplit(each).path for each in await links(session, url)}

        series = [line for line in (await body(session, url + "metrics")).splitlines() if "external_url=" in line]

    assert series == ['ibkr_exporter_web_info{external_url="https://monitor.example/x/ibkr"} 1']
    assert all(path.startswith("/x/ibkr/") for path in reached)
    paths = {"", "targets/paper", "runbooks", "runbooks/healthy", "api/v1/status", "metrics", "static/style.css"}
    assert {f"/x/ibkr/{path}" for path in paths} <= reached


@pytest.mark.parametrize("path", ["-/healthy", "-/ready", "probe?target=paper", "targets/paper", "runbooks/unknown"])
async def test_every_path_is_below_the_prefix_and_nowhere_else(path: str) -> None:
    async with served(route_prefix="/ibkr") as (url, session):
        await body(session, url + path)
        async with session.get(urljoin(url, f"/{path}")) as outside:
            assert outside.status == 404


@pytest.mark.parametrize("path", ["/", "/x/ibkr"])
async def test_the_root_leads_to_the_prefix_whatever_the_host_header_says(path: str) -> None:
    async with served(route_prefix="/x/ibkr") as (url, session):
        asked = urljoin(url, path)
        async with session.get(asked, headers={"Host": "evil.example"}, allow_redirects=False) as response:
            assert (response.status, urljoin(asked, response.headers["Location"])) == (302, url)


async def test_a_socket_that_systemd_passes_may_be_a_unix_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        os.set_inheritable(unix.fileno(), True)  # noqa: FBT003 - as systemd passes it
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "HOME": "/"}
        passed = passed_sockets(environ, first=unix.detach())

    assert environ == {"HOME": "/"}
    assert not passed[0].get_inheritable()
    with passed[0]:
        assert (passed[0].family, passed[0].getsockname()) == (socket.AF_UNIX, str(tmp_path / "s"))


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"},
    ],
)
def test_sockets_that_are_not_passed_to_this_process_are_not_taken(environ: dict[str, str]) -> None:
    with pytest.raises(ListenError, match="systemd passed no sockets to this process"):
        passed_sockets(dict(environ))


def test_a_socket_that_does_not_listen_is_refused_by_its_name() -> None:
    with socket.socket() as connected:
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
        with pytest.raises(ListenError, match="the socket http that systemd passed does not listen"):
            passed_sockets(environ, first=connected.detach())


def test_serve_answers_on_every_socket_that_systemd_passes() -> None:
    sockets = listening_sockets([Listen(port=0), Listen(port=0)])
    numbers = [fcntl.fcntl(each, fcntl.F_DUPFD, ABOVE) for each in sockets]
    serve = [sys.executable, "-m", "exporter", "serve", "--web.systemd-socket"]
    command = ["/bin/bash", "-c", SYSTEMD, *map(str, numbers), *serve]
    with started(command, pass_fds=numbers, env={**CLEAN, "IB_PORT": "1"}) as process:
        for number in numbers:
            os.close(number)
        for each in sockets:  # the kernel keeps the connections until the exporter accepts them
            assert get(f"http://127.0.0.1:{each.getsockname()[1]}/-/healthy") == "OK\n"
            each.close()
        process.terminate()
        assert process.wait(PATIENCE) == 0
