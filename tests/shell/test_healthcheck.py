"""The image's health check against a real server: over HTTP and TLS, with passwords and client certificates, and with none."""

import asyncio
import socket
import sys
from pathlib import Path

import bcrypt
import pytest
import trustme

from deploy import healthcheck
from exporter.config import Config, Listen
from exporter.web.server import running

SCRIPT = Path(healthcheck.__file__)
HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
TLS = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
MUTUAL = (
    "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireAndVerifyClientCert, "
    "client_ca_file: ca.pem, max_version: %s}\n"
)
PASSWORD = f"basic_auth_users: {{prometheus: {HASH}}}\n"


async def check(listen: str) -> int:
    """The script's exit code, in an environment that has nothing but where to ask."""
    script = [sys.executable, "-I", "-S", str(SCRIPT)]
    process = await asyncio.create_subprocess_exec(*script, env={"IBKR_EXPORTER_LISTEN": listen}, stderr=None)
    return await process.wait()


@pytest.mark.parametrize(
    "web",
    ["rate_limit: {interval: 1ms, burst: 20}\n", TLS, PASSWORD, TLS + PASSWORD, MUTUAL % "TLS12", MUTUAL % "TLS13"],
    ids=[
        "plain",
        "tls",
        "password",
        "tls and password",
        "mutual tls 1.2",
        "mutual tls 1.3",
    ],  # a salt differs each time
)
async def test_an_exporter_that_serves_is_healthy_whatever_its_web_configuration_asks_for(
    tmp_path: Path, web: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pair = authority.issue_cert("exporter.example.com")
    pair.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    pair.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    (tmp_path / "web.yml").write_text(web)
    config = Config((), listen=(Listen(port=0),), web_config_file="web.yml", source=str(tmp_path / "exporter.yaml"))
    async with running(config, lambda: config) as (url, _):
        port = url.rstrip("/").rpartition(":")[2]
        assert await check(f"0.0.0.0:{port}") == 0


async def test_an_exporter_that_serves_below_a_prefix_is_healthy() -> None:
    config = Config((), listen=(Listen(port=0),), route_prefix="/ibkr")
    async with running(config, lambda: config) as (url, _):
        assert await check(url.removeprefix("http://").removesuffix("/ibkr/")) == 0


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 500 Internal Server Error\r\n\r\n"])
async def test_a_server_that_is_no_exporter_or_fails_is_not_healthy(answer: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        assert await check(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") == 1


async def test_a_closed_port_is_not_healthy() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        assert await check(f"127.0.0.1:{bound.getsockname()[1]}") == 1


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("127.0.0.1", 9497)),
        (":9600", ("127.0.0.1", 9600)),
        ("0.0.0.0:9497", ("127.0.0.1", 9497)),
        ("[::]:9497", ("::1", 9497)),
        ("10.0.0.5:9497, [::1]:9498", ("10.0.0.5", 9497)),
    ],
)
def test_where_it_asks_is_where_the_exporter_listens(text: str, address: tuple[str, int]) -> None:
    assert healthcheck.listen(text) == address
