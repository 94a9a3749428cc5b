"""What a hostile visitor sends: addresses to probe, requests that are no HTTP, and connections that never speak."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import quote

import pytest
import trustme
from structlog.testing import capture_logs

from exporter.config import Config, Listen
from exporter.model import Mode, Target
from exporter.simulator.gateway import Gateway
from exporter.web.accept import accepting
from exporter.web.connection_limit import ConnectionLimiter
from exporter.web.server import running
from tests.shell.support import PATIENCE
from tests.shell.test_web import site, values

HOST = b"Host: x\r\n"


class Served:
    """A server, and how to send it bytes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.split(":")[2].split("/", maxsplit=1)[0])

    async def exchange(self, sent: bytes) -> bytes:
        """Everything that the server answers, until it closes the connection after a last good request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):  # closed before all was read
            await writer.drain()
        received = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while more := await reader.read(65536):
                    received += more
        writer.close()
        return received


@asynccontextmanager
async def serving(**options: object) -> AsyncIterator[Served]:
    config = Config((), **{"listen": (Listen(port=0),), **options})  # type: ignore[arg-type]
    async with running(config, lambda: config) as (url, _):
        yield Served(url)


# --- /probe


NOT_THE_ADDRESS = [
    "localhost",
    "2130706433",  # 127.0.0.1 as one number
    "0x7f000001",
    "017700000001",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "127.1",
    "127.0.0.1.",
    "127.0.0.01",
    "１２７.0.0.1",  # noqa: RUF001 - digits of full width
    "127。0。0。1",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1%1]",
    "[::1%lo]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "10.0.0.1@127.0.0.1",
    "127.0.0.1#@10.0.0.1",
    "127.0.0.1/10.0.0.1",
    "http://127.0.0.1",
    " 127.0.0.1",
    "127.0.0.1\t",
    "127.0.0.1\n10.0.0.1",
    "127.0.0.1\0",
    "",
]


@pytest.mark.parametrize("host", NOT_THE_ADDRESS)
async def test_a_probe_takes_no_other_writing_of_an_address_than_the_usual_one(host: str) -> None:
    async with Gateway("ok") as gateway, site(allow=("127.0.0.0/8", "::1/128")) as served:
        status, body, _ = await served.get(f"/probe?target={quote(f'{host}:{gateway.port}')}")
        assert (status, gateway.recorder.opened) == (400, 0), body


@pytest.mark.parametrize("host", ["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]"])
async def test_an_ipv4_address_within_an_ipv6_one_counts_as_the_ipv4_address(host: str) -> None:
    async with Gateway("ok") as gateway:
        asked = f"/probe?target={host}:{gateway.port}"
        async with site(allow=("::/0",)) as served:
            assert (await served.get(asked))[0] == 400
        assert gateway.recorder.opened == 0
        async with site(allow=("127.0.0.0/8",)) as served:
            _, body, _ = await served.get(asked)
        assert f'ibkr_up{{target="127.0.0.1:{gateway.port}"}} 1' in body


@pytest.mark.parametrize("port", ["0", "65536", "+1", "-1", "1_0", "1e3", "", "７497", "7497 ", "7497/x"])  # noqa: RUF001
async def test_a_probe_takes_no_port_that_is_none(port: str) -> None:
    async with site(allow=("127.0.0.0/8",)) as served:
        assert (await served.get(f"/probe?target={quote(f'127.0.0.1:{port}')}"))[0] == 400


async def test_a_second_target_in_the_query_is_not_probed() -> None:
    async with Gateway("ok") as gateway, site(allow=("192.0.2.0/24",)) as served:
        query = f"target=none&target=127.0.0.1:{gateway.port}"
        assert (await served.get(f"/probe?{query}"))[0] == 400
        assert gateway.recorder.opened == 0


async def test_nothing_is_probed_by_address_where_no_network_is_allowed() -> None:
    async with Gateway("ok") as gateway, site() as served:
        assert (await served.get(f"/probe?target=127.0.0.1:{gateway.port}"))[0] == 400
        assert gateway.recorder.opened == 0


async def test_a_gateway_that_redirects_sends_the_exporter_nowhere() -> None:
    async with Gateway("redirect") as gateway, Gateway("ok") as elsewhere:
        target = Target("moved", gateway.host, gateway.port, Mode.PAPER, 30.0, 2.0)
        async with site(target) as served:
            _, body, _ = await served.get("/probe?target=moved")
        assert values(body)["probe_success"] == 0
        assert 'verdict="server_redirect"} 1' in body
        assert elsewhere.recorder.opened == 0


# --- requests


RELOAD = b"POST /-/reload HTTP/1.1\r\n" + HOST
SMUGGLED = b"GET /-/healthy HTTP/1.1\r\n" + HOST + b"\r\n"

MALFORMED = {
    "two lengths": RELOAD + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
    "the same length twice": RELOAD + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "length and chunks": RELOAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "an unknown transfer encoding": RELOAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two transfer encodings": RELOAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + SMUGGLED,
    "a space before the colon": RELOAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a length with a sign": RELOAD + b"Content-Length: +5\r\n\r\nhello" + SMUGGLED,
    "a length with an underscore": RELOAD + b"Content-Length: 1_0\r\n\r\nhellohello" + SMUGGLED,
    "a negative length": RELOAD + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "bare line feeds": b"GET /-/healthy HTTP/1.1\nHost: x\n\n",
    "a folded header": b"GET /-/healthy HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "a zero byte": b"GET /-/healthy HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "a carriage return in a header": b"GET /-/healthy HTTP/1.1\r\n" + HOST + b"X: a\rY: b\r\n\r\n",
    "no host": b"GET /-/healthy HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /-/healthy HTTP/1.1\r\n" + HOST + b"Host: y\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a line of 20 kB": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a header of 20 kB": b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "200 headers": b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X%d: a\r\n" % i for i in range(200)) + b"\r\n",
    "bytes that are no ASCII": b"GET /targets/\xe9 HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": bytes.fromhex("16030100050100000100"),
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_request_gets_one_answer_without_an_echo_and_fills_no_log(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as served:
        with capture_logs() as logs:
            answer = await served.exchange(sent)
        assert [entry for entry in logs if entry["log_level"] != "debug"] == []
        assert caplog.records == []  # of aiohttp
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 ")
    assert b"Server: ibkr-exporter\r\n" in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert body == b"400 Bad Request\n"


LAST = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../app.py",
        "/static/..%2f..%2fapp.py",
        "/static/%2e%2e/%2e%2e/app.py",
        "/static/..%5c..%5capp.py",
        "/static/%252e%252e%252fapp.py",
        "/runbooks/..%2f..%2fapp.py",
        "/runbooks/../static/style.css",
        "//-/healthy",
        "//evil.example/",
        "/\\evil.example/",
        "/-/healthy/",
        "/-%2fhealthy",
        "/%2d/healthy/..",
        "/targets/%00",
        "/targets/%ff%fe",
        "/targets/%zz",
        "/targets/a%0d%0aSet-Cookie:%20x=1",
    ],
)
async def test_a_path_that_is_no_route_leads_nowhere(path: str) -> None:
    async with serving() as served:
        answer = await served.exchange(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + LAST)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b"Set-Cookie" not in answer.partition(b"\r\n\r\n")[0]
    assert b"import" not in answer


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_only_a_post_reloads(method: str) -> None:
    async with serving() as served:
        override = b"X-HTTP-Method-Override: POST\r\n"
        answer = await served.exchange(f"{method} /-/reload HTTP/1.1\r\n".encode() + HOST + override + b"\r\n" + LAST)
    assert answer.startswith(b"HTTP/1.1 405 ")


async def test_a_request_without_a_version_is_refused() -> None:
    async with serving() as served:
        assert b" 505 " in (await served.exchange(b"GET /\r\n\r\n")).splitlines()[0]


@pytest.mark.parametrize("path", ["/", "/nothing", "/runbooks", "/api/v1/status", "/probe", "/-/reload"])
async def test_no_answer_is_made_from_the_headers_that_name_a_host(path: str) -> None:
    names = "Host: evil.example\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n"
    names += "X-Forwarded-Prefix: /evil\r\nX-Original-URL: /evil\r\nReferer: http://evil.example/\r\n"
    for prefix in ("", "/ibkr"):
        async with serving(external_url="https://monitor.example/x", route_prefix=prefix) as served:
            for target in (f"{prefix}{path}", path, f"http://evil.example{path}"):
                request = f"GET {target} HTTP/1.1\r\n{names}Connection: close\r\n\r\n"
                assert b"evil" not in await served.exchange(request.encode()), target


async def test_a_body_without_an_end_does_not_hold_the_answer() -> None:
    async with serving() as served:
        announced = b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(announced + b"x" * 65536)
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.transport.abort()


# --- TLS


@asynccontextmanager
async def tls_server(most: int, handshake: float = 10 * PATIENCE) -> AsyncIterator[tuple[int, trustme.CA]]:
    """A server that limits its connections to `most`; it answers "hello" to anything. Gives the port."""

    class Hello(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = transport

        def data_received(self, _: bytes) -> None:
            assert isinstance(self._transport, asyncio.Transport)
            self._transport.write(b"hello")

    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with accepting([listening], ConnectionLimiter(Hello, most), most, context, handshake):
            yield listening.getsockname()[1], ca


async def closed(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
    return True


async def test_connections_that_never_finish_a_tls_handshake_make_room() -> None:
    async with tls_server(most=8) as (port, ca), AsyncExitStack() as opened:
        silent = []
        for _ in range(12):  # two may be in their handshake at a time
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.callback(writer.close)
            silent.append(reader)
        assert all([await closed(reader) for reader in silent[:-2]])
        trusting = ssl.create_default_context()
        ca.configure_trust(trusting)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        opened.callback(writer.close)
        writer.write(b"?")
        async with asyncio.timeout(PATIENCE):
            assert await reader.readexactly(5) == b"hello"


async def test_a_tls_handshake_that_never_ends_is_given_up_where_nobody_else_wants_its_place() -> None:
    async with tls_server(most=8, handshake=0.2) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await closed(reader)
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100, b"\x16\x03\x01\xff\xff"], ids=["http", "zeros", "cut"]
)
async def test_what_is_no_tls_is_closed_and_the_next_is_served(sent: bytes) -> None:
    async with tls_server(most=8) as (port, ca):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            assert b"HTTP/" not in await reader.read()
        writer.close()
        trusting = ssl.create_default_context()
        ca.configure_trust(trusting)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        writer.write(b"?")
        async with asyncio.timeout(PATIENCE):
            assert await reader.readexactly(5) == b"hello"
        writer.close()
