"""Connections that ask nothing: they make room for those that do, on real sockets and under a real limit of files."""

import asyncio
import contextlib
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from exporter.simulator.gateway import Gateway
from exporter.web.connection_limit import ConnectionLimiter, limit_middleware
from exporter.web.server import _limiter, _runner
from tests.shell.support import CLEAN, PATIENCE, free_port, get
from tests.shell.test_cli import COMMAND

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def limited_server(
    most: int, first_request: float = 30.0, answer: bytes = b"hello", stalled_write: float = 30.0
) -> AsyncIterator["LimitedServer"]:
    """A server behind the limit: `/` answers at once, `/slow` when `finish` is set, `/endless` without an end."""
    finish, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def at_once(_: web.Request) -> web.Response:
        return web.Response(body=answer)

    async def slow(_: web.Request) -> web.Response:
        begun.release()
        await finish.wait()
        return web.Response(body=answer)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    app = web.Application(middlewares=[limit_middleware])
    app.add_routes([web.get("/", at_once), web.get("/slow", slow), web.get("/endless", endless)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_server(
        ConnectionLimiter(runner.server, most, first_request, stalled_write), "127.0.0.1", 0
    )
    made = LimitedServer(server.sockets[0].getsockname()[1], finish, begun)
    try:
        yield made
    finally:
        for writer in made.writers:
            writer.transport.abort()
        await runner.cleanup()
        server.close()


class LimitedServer:
    """A server's port, and its slow answers: `begun` counts them, `finish` ends them."""

    def __init__(self, port: int, finish: asyncio.Event, begun: asyncio.Semaphore) -> None:
        self.port = port
        self.finish = finish
        self._begun = begun
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self, sent: bytes = b"") -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        writer.write(sent)
        return reader, writer

    async def ask_slowly(self, path: bytes = b"/slow ") -> asyncio.StreamReader:
        """Ask for an answer that takes long, and wait until it is begun."""
        reader, _ = await self.connect(ASK.replace(b"/ ", path))
        async with asyncio.timeout(PATIENCE):
            await self._begun.acquire()
        return reader

    async def ask(self) -> bytes:
        reader, _ = await self.connect(ASK)
        async with asyncio.timeout(PATIENCE):
            return await reader.readuntil(b"hello")


async def ended(reader: asyncio.StreamReader) -> bool:
    """The server has ended it, or does so within ten seconds."""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
    return True


async def test_the_longest_idle_connection_makes_room_and_one_being_answered_does_not() -> None:
    async with limited_server(most=3) as at:
        busy = await at.ask_slowly()
        first, _ = await at.connect()
        second, _ = await at.connect(b"GET / HT")
        assert (await at.ask()).startswith(b"HTTP/1.1 200")
        assert await ended(first)
        assert not second.at_eof()
        at.finish.set()
        assert b"hello" in await busy.readuntil(b"hello")


async def test_where_all_are_being_answered_the_next_is_closed_at_once() -> None:
    async with limited_server(most=2) as at:
        busy = [await at.ask_slowly() for _ in range(2)]
        third, _ = await at.connect(ASK)
        assert await ended(third)
        at.finish.set()
        assert all([b"hello" in await reader.readuntil(b"hello") for reader in busy])
        assert (await at.ask()).endswith(b"hello")


async def test_a_first_request_that_trickles_in_is_given_up_without_an_answer() -> None:
    async with limited_server(most=10, first_request=0.4) as at:
        reader, writer = await at.connect(b"GET / HTTP/1.1\r\nX: ")
        trickle = asyncio.create_task(_trickle(writer))
        received = b""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                received = await reader.read()
        trickle.cancel()
        assert received == b""
        assert (await at.ask()).endswith(b"hello")


async def _trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"a")
        await asyncio.sleep(0.05)


async def test_a_connection_that_reads_nothing_of_a_long_answer_is_given_up() -> None:
    async with limited_server(most=1, stalled_write=0.2) as at:
        await at.connect(ASK.replace(b"/ ", b"/endless "))
        async with asyncio.timeout(PATIENCE):
            answer = b""
            while not answer:  # until then it has the only place
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    answer = await at.ask()
        assert answer.endswith(b"hello")


async def test_the_exporters_own_server_spares_a_connection_that_is_being_answered() -> None:
    finish, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(_: web.Request) -> web.Response:
        begun.release()
        await finish.wait()
        return web.Response(text="hello")

    app = web.Application()
    app.add_routes([web.get("/", slow)])
    runner = _runner(app, None)
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(_limiter(runner, 1), "127.0.0.1", 0)
    at = LimitedServer(server.sockets[0].getsockname()[1], finish, begun)
    try:
        reader = await at.ask_slowly(b"/ ")
        assert await ended((await at.connect())[0])
        finish.set()
        async with asyncio.timeout(PATIENCE):
            assert b"hello" in await reader.readuntil(b"hello")
    finally:
        for writer in at.writers:
            writer.transport.abort()
        await runner.cleanup()
        server.close()


async def test_an_answered_connection_stays_open_for_the_next_request() -> None:
    async with limited_server(most=10, first_request=0.3) as at:
        reader, writer = await at.connect(ASK)
        await reader.readuntil(b"hello")
        await asyncio.sleep(0.5)
        writer.write(ASK)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_an_answer_that_is_not_read_does_not_keep_others_out() -> None:
    async with limited_server(most=2, answer=b"x" * 30_000_000 + b"hello") as at:
        stuck = [await at.connect(ASK) for _ in range(2)]
        await asyncio.sleep(0.3)
        reader, writer = await at.connect(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        writer.close()
        assert len(stuck) == 2


# --- the process under a real limit


@contextmanager
def many_files_here(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        pytest.skip(f"only {hard} open files are permitted here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def written(tmp_path: Path, gateway_port: int, listen: int, number: int) -> Path:
    """A configuration of many targets at one simulated gateway, each by an address and with client ids of its own."""
    lines = [
        f"web: {{listen: '127.0.0.1:{listen}'}}",
        "defaults: {interval: 20s, deadline: 18s, slow_after: 17s}",
        "targets:",
    ]
    lines += [
        f"  - {{name: t{i}, host: 127.0.1.{i + 1}, port: {gateway_port}, mode: paper, client_ids: [{2 * i + 9000}, "
        f"{2 * i + 9001}]}}"
        for i in range(number)
    ]
    file = tmp_path / "many.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
async def test_few_open_files_and_a_thousand_idle_connections_blind_neither_probes_nor_scrapers(tmp_path: Path) -> None:
    listen, targets = free_port(), 200
    async with Gateway("ok", host="0.0.0.0") as gateway:
        command = [*COMMAND, "serve", "--config", str(written(tmp_path, gateway.port, listen, targets))]
        process = await asyncio.to_thread(
            subprocess.Popen,
            ["bash", "-c", 'ulimit -n 64; exec "$@"', "bash", *command],
            stderr=subprocess.PIPE,
            text=True,
            env=CLEAN,
        )
        held: list[socket.socket] = []
        try:
            with many_files_here(4096):
                url = f"http://127.0.0.1:{listen}/metrics"
                await asyncio.to_thread(get, url)
                await asyncio.to_thread(_hold, held, listen, 1000)
                body, opened = "", gateway.recorder.opened
                async with asyncio.timeout(2 * PATIENCE):
                    while body.count('verdict="healthy"} 1') < targets or gateway.recorder.opened < opened + targets:
                        body = await asyncio.to_thread(get, url)
                        await asyncio.sleep(0.2)
                _let_go(held)
            process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(process.wait, PATIENCE)
            assert process.stderr is not None
            log = process.stderr.read()
        finally:
            _let_go(held)  # else their warnings befall another test
            process.kill()
            process.communicate()
    assert code == 0
    assert log.count("too few open files") == 1
    assert "LimitNOFILE" in log
    assert "verdict changed" in log
    assert "probe_broken" not in log
    assert "Too many open files" not in log
    assert 'verdict="probe_broken"} 1' not in body


def _let_go(held: list[socket.socket]) -> None:
    for sock in held:
        sock.close()


def _hold(held: list[socket.socket], port: int, number: int) -> None:
    for _ in range(number):
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        held.append(sock)
        with contextlib.suppress(OSError):  # sent away already
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
