"""The web configuration file on a real server: TLS, client certificates, passwords, headers, the rate limit, changes."""

import asyncio
import base64
import contextlib
import os
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import bcrypt
import pytest
import structlog
import trustme

from exporter.cli.web_options import with_web_options
from exporter.config import Config, ConfigError, Listen
from exporter.config.web_file import read_web_file
from exporter.web.passwords import Passwords
from exporter.web.server import running
from exporter.web.web_config import TokenBucket, WebConfig
from tests.shell.support import PATIENCE, until

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
TLS = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
OTHER_PATHS = ["/", "/metrics", "/api/v1/status", "/probe?target=x", "/-/healthy", "/-/reload", "/runbooks", "/nothing"]


def certificate(
    ca: trustme.CA, folder: Path, *names: str, stem: str = "server", not_after: datetime | None = None
) -> None:
    """Write a certificate for these names and its key."""
    cert = ca.issue_cert(*names, not_after=not_after)
    # The key first: a reader between the two writes sees a pair that does not fit, and keeps the old one.
    cert.private_key_pem.write_to_path(str(folder / f"{stem}.key"))
    cert.cert_chain_pems[0].write_to_path(str(folder / f"{stem}.pem"))


def trusting(ca: trustme.CA, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    if client is not None:
        client.configure_cert(context)
    return context


@asynccontextmanager
async def served(folder: Path, web: str) -> AsyncIterator[str]:
    """Serve with this web configuration file; gives the URL."""
    (folder / "web.yml").write_text(web)
    config = Config((), listen=(Listen(port=0),), web_config_file="web.yml", source=str(folder / "exporter.yaml"))
    async with running(config, lambda: config) as (url, _):
        yield url


async def status(url: str, path: str = "-/healthy", **request: object) -> int:
    async with aiohttp.ClientSession() as session, session.get(url + path.lstrip("/"), **request) as response:  # type: ignore[arg-type]
        await response.read()
        return response.status


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def test_with_a_certificate_https_is_served_and_plain_http_is_not(tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate(ca, tmp_path, "127.0.0.1")
    async with served(tmp_path, TLS) as url:
        assert url.startswith("https://127.0.0.1:")
        assert await status(url, ssl=trusting(ca)) == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await status(url, ssl=trusting(trustme.CA()))
        with pytest.raises(aiohttp.ClientError):
            await status(url.replace("https", "http"))
        assert await status(url, ssl=trusting(ca)) == 200


@pytest.mark.parametrize("minimum", ["TLS12", "TLS13"])
async def test_a_version_below_the_minimum_is_refused(tmp_path: Path, minimum: str) -> None:
    ca = trustme.CA()
    certificate(ca, tmp_path, "127.0.0.1")
    old = trusting(ca)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with served(tmp_path, TLS.replace("}", f", min_version: {minimum}}}")) as url:
        if minimum == "TLS12":
            assert await status(url, ssl=old) == 200
        else:
            with pytest.raises(aiohttp.ClientError):
                await status(url, ssl=old)


async def test_a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_changes_nothing(
    tmp_path: Path,
) -> None:
    first, second = trustme.CA(), trustme.CA()
    certificate(first, tmp_path, "127.0.0.1")
    (tmp_path / "web.yml").write_text(TLS)
    async with WebConfig(tmp_path / "web.yml", poll=0.02) as config:
        context = config.ssl_context()
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]

        async def accepted(ca: trustme.CA) -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(ca))
            except ssl.SSLError:
                return False
            writer.close()
            return True

        async with server:
            assert await accepted(first)
            (tmp_path / "server.pem").write_text("not a certificate")
            await asyncio.sleep(0.2)
            assert await accepted(first)
            broken = config.file
            certificate(second, tmp_path, "127.0.0.1")
            await until(lambda: config.file is not broken)
            assert await accepted(second)
            assert not await accepted(first)


async def test_an_expired_certificate_is_refused_by_clients_until_it_is_renewed_without_a_restart(
    tmp_path: Path,
) -> None:
    ca, yesterday = trustme.CA(), datetime.now(UTC) - timedelta(days=1)
    certificate(ca, tmp_path, "127.0.0.1", not_after=yesterday)
    (tmp_path / "web.yml").write_text(TLS)
    async with WebConfig(tmp_path / "web.yml", poll=0.02) as config:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=config.ssl_context())
        port = server.sockets[0].getsockname()[1]
        async with server:
            with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                await asyncio.open_connection("127.0.0.1", port, ssl=trusting(ca))
            expired = config.file
            certificate(ca, tmp_path, "127.0.0.1")
            await until(lambda: config.file is not expired)
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(ca))
            writer.close()


async def test_an_expired_client_certificate_does_not_get_in(tmp_path: Path) -> None:
    ca, yesterday = trustme.CA(), datetime.now(UTC) - timedelta(days=1)
    certificate(ca, tmp_path, "127.0.0.1")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    asked = ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert}"
    async with served(tmp_path, TLS.replace("}", asked)) as url:
        assert await status(url, ssl=trusting(ca, ca.issue_cert("prometheus"))) == 200
        with pytest.raises(aiohttp.ClientError):
            await status(url, ssl=trusting(ca, ca.issue_cert("prometheus", not_after=yesterday)))


async def test_only_client_certificates_of_the_authority_and_of_permitted_names_get_in(tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate(ca, tmp_path, "127.0.0.1")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    asked = ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [prometheus]}"
    async with served(tmp_path, TLS.replace("}", asked)) as url:
        assert await status(url, ssl=trusting(ca, ca.issue_cert("prometheus"))) == 200
        assert await status(url, ssl=trusting(ca, ca.issue_cert("someone-else"))) == 403
        with pytest.raises(aiohttp.ClientError):
            await status(url, ssl=trusting(ca))
        with pytest.raises(aiohttp.ClientError):
            await status(url, ssl=trusting(ca, trustme.CA().issue_cert("prometheus")))


@pytest.mark.parametrize("path", OTHER_PATHS)
async def test_every_path_asks_for_the_password(tmp_path: Path, path: str) -> None:
    async with served(tmp_path, f"basic_auth_users: {{ann: '{HASH}'}}\n") as url:
        assert await status(url, path) == 401
        assert await status(url, path, headers=basic("ann", "right")) != 401


async def test_the_option_names_a_file_where_there_is_no_configuration_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{ann: '{HASH}'}}\n")
    monkeypatch.chdir(tmp_path)
    config = Config((), listen=(Listen(port=0),), source="environment")
    config = with_web_options(config, None, None, None, systemd_socket=False, config_file=Path("web.yml"))
    async with running(config, lambda: config) as (url, _):
        assert await status(url) == 401
        assert await status(url, headers=basic("ann", "right")) == 200


async def test_a_reload_asks_for_the_password_too(tmp_path: Path) -> None:
    async with (
        served(tmp_path, f"basic_auth_users: {{ann: '{HASH}'}}\n") as url,
        aiohttp.ClientSession() as session,
        session.post(url + "-/reload") as refused,
        session.post(url + "-/reload", headers=basic("ann", "right")) as reloaded,
    ):
        assert (refused.status, reloaded.status) == (401, 200)
        assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("ann", "wrong"),
        basic("bob", "right"),
        basic("ann", ""),
        basic("ann", "right" + "x" * 100),
        basic("ann", "right\0"),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"ann").decode()},
        {"Authorization": "Bearer right"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff:right").decode()},
    ],
)
async def test_other_credentials_do_not_pass(tmp_path: Path, headers: dict[str, str]) -> None:
    async with served(tmp_path, f"basic_auth_users: {{ann: '{HASH}'}}\n") as url:
        assert await status(url, headers=headers) == 401
        assert await status(url, headers=basic("ann", "right")) == 200
        assert await status(url, headers=headers) == 401


async def test_an_unknown_user_costs_a_comparison_like_a_wrong_password() -> None:
    costs = []

    def compare(password: bytes, hashed: bytes) -> bool:
        costs.append(hashed[:7])
        return bcrypt.checkpw(password, hashed)

    ann, dear = HASH.encode(), bcrypt.hashpw(b"right", bcrypt.gensalt(5))
    passwords = Passwords({"ann": ann}, compare)
    try:
        for user, password in (("bob", "right"), ("ann", "wrong"), ("bob", "right")):
            assert not await passwords.match(basic(user, password)["Authorization"])
        assert costs == [ann[:7]] * 3, "one comparison each, of one cost; a refusal is never remembered"
        assert await passwords.match(basic("ann", "right")["Authorization"])
        passwords.replace({"ann": bcrypt.hashpw(b"new", bcrypt.gensalt(4)), "dan": dear})
        assert not await passwords.match(basic("ann", "right")["Authorization"])
        assert await passwords.match(basic("ann", "new")["Authorization"])
        assert not await passwords.match(basic("bob", "new")["Authorization"])
        assert costs[-1] == dear[:7], "as dear as the dearest"
    finally:
        passwords.close()


async def test_headers_are_added_and_an_empty_one_is_left_out(tmp_path: Path) -> None:
    headers = "{Strict-Transport-Security: max-age=60, X-Content-Type-Options: ''}"
    async with (
        served(tmp_path, f"http_server_config: {{headers: {headers}}}\n") as url,
        aiohttp.ClientSession() as session,
        session.get(url) as response,
    ):
        assert response.headers["Strict-Transport-Security"] == "max-age=60"
        assert "X-Content-Type-Options" not in response.headers
        assert "Content-Security-Policy" in response.headers


async def test_more_requests_than_the_rate_limit_permits_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path, "rate_limit: {interval: 1h, burst: 2}\n") as url:
        assert [await status(url) for _ in range(4)] == [200, 200, 429, 429]


def test_a_token_comes_each_interval_and_no_more_than_the_burst_are_kept() -> None:
    bucket = TokenBucket(10.0, 2)
    assert [bucket.take(at) for at in (0.0, 0.0, 0.0, 9.9, 10.0, 10.1, 1000.0, 1000.0, 1000.0)] == [
        True, True, False, False, True, False, True, True, False,
    ]  # fmt: skip
    assert all(TokenBucket(0.0, 0).take(0.0) for _ in range(100))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "web.yml:1: the file is empty. Write tls_server_config"),
        ("tls: {}", "web.yml:1: tls: unknown key. Remove it; known here are tls_server_config"),
        ("tls_server_config: {cert_file: a}", "web.yml:1: tls_server_config.key_file: is missing. Add key_file"),
        ("tls_server_config: {cert: x, key: y}", "cert is not supported here. Write it to a file of its own"),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}", '"TLS10" is not one of TLS12 or TLS13'),
        ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}", "is not one of"),
        ("tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}", "no client certificate is asked for"),
        (
            "tls_server_config: {cert_file: a, key_file: b, cipher_suites: [RC4]}",
            '"RC4" is not a known cipher suite. Known are TLS_ECDHE',
        ),
        ("basic_auth_users: {ann: secret}", "web.yml:1: basic_auth_users.ann: the password is not a bcrypt hash"),
        ("rate_limit: {interval: soon}", '"soon" is not a duration'),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\nb"}}', "a character that HTTP does not allow"),
        ("http_server_config: {header: {}}", 'unknown key. Did you mean "headers"?'),
    ],
)
def test_a_faulty_file_is_refused_with_place_and_remedy(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "web.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_web_file(path)
    assert complaint in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("missing", ["server.pem", "server.key", "ca.pem"])
def test_a_missing_certificate_is_named(tmp_path: Path, missing: str) -> None:
    tmp_path = tmp_path / ("a long path " * 10)  # the place, the certificate and the key are all named
    tmp_path.mkdir()
    ca = trustme.CA()
    certificate(ca, tmp_path, "127.0.0.1")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / missing).unlink()
    (tmp_path / "web.yml").write_text(
        TLS.replace("}", ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert}")
    )
    with pytest.raises(ConfigError, match=r"No such file") as refused:
        WebConfig(tmp_path / "web.yml")
    assert missing in str(refused.value)


async def test_a_file_that_hangs_costs_one_thread_and_is_read_when_it_no_longer_does(tmp_path: Path) -> None:
    path, pipe = tmp_path / "web.yml", tmp_path / "pipe"
    path.write_text(f"basic_auth_users: {{ann: '{HASH}'}}\n")
    config = WebConfig(path, limit=0.05)
    os.mkfifo(pipe)
    pipe.replace(path)  # to open it waits for who writes to it
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await config.look()
    assert sum(thread.name == "read the web configuration" for thread in threading.enumerate()) == 1
    os.close(os.open(path, os.O_WRONLY))
    await until(lambda: not any(thread.name == "read the web configuration" for thread in threading.enumerate()))
    path.unlink()
    path.write_text(f"basic_auth_users: {{bob: '{HASH}'}}\n")
    async with asyncio.timeout(PATIENCE):
        while set(config.file.users) != {"bob"}:
            with contextlib.suppress(TimeoutError):
                await config.look()


async def test_who_follows_a_file_that_hangs_says_so_once_and_goes_on_when_it_no_longer_does(tmp_path: Path) -> None:
    path, pipe, good = (tmp_path / name for name in ("web.yml", "pipe", "good.yml"))
    path.write_text(f"basic_auth_users: {{ann: '{HASH}'}}\n")
    good.write_text(f"basic_auth_users: {{bob: '{HASH}'}}\n")
    os.mkfifo(pipe)
    with structlog.testing.capture_logs() as logs:
        async with WebConfig(path, poll=0.001, limit=0.05) as config:
            os.link(pipe, tmp_path / "link")
            (tmp_path / "link").replace(path)
            await until(lambda: logs)
            await asyncio.sleep(0.2)
            assert [log["problems"] for log in logs] == [
                [f"{path}: this file, or a certificate, cannot be read within 0.05 seconds"]
            ]
            assert set(config.file.users) == {"ann"}
            good.replace(path)
            os.close(os.open(pipe, os.O_WRONLY))
            await until(lambda: set(config.file.users) == {"bob"})


async def test_changed_passwords_hold_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{ann: '{HASH}'}}\n")
    async with WebConfig(path, poll=0.02) as config:
        before = config.file
        # As Kubernetes changes a mounted file: another one takes its place.
        other = tmp_path / "other.yml"
        other.write_text(f"basic_auth_users: {{bob: '{HASH}'}}\n")
        other.replace(path)
        await until(lambda: config.file is not before)
        assert replace(config.file, users={}) == replace(before, users={})
        assert set(config.file.users) == {"bob"}
        path.write_text("basic_auth_users: [\n")
        await asyncio.sleep(0.2)
        assert set(config.file.users) == {"bob"}
