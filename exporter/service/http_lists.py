"""The list of targets at a URL, asked for again and again: what Prometheus calls http_sd.

The answer is untrusted: its type and size are checked, it is never decompressed, and no redirect leads to another
host. No secret of the request is in a message.
"""

import asyncio
import base64
import re
import socket
import ssl
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from exporter import __version__
from exporter.config.checks import InvalidValue
from exporter.config.discovery import HttpSource
from exporter.config.errors import shortened
from exporter.config.target_groups import LARGEST, Entry, parse_list
from exporter.probes.threads import in_daemon_thread
from exporter.service.background import in_background
from exporter.service.bounded import LONGEST, BoundedCall
from exporter.service.lists import Answer

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 5
JSON = re.compile(r'application/json(?:;\s*charset=(?:utf-8|"utf-8"))?', re.IGNORECASE)  # as Prometheus has it
PIECE = 65_536  # bytes
Verification = ssl.SSLContext | bool


class HttpLists:
    """The list at one URL. No connection is kept between two refreshes."""

    def __init__(self, source: HttpSource) -> None:
        self._source = source
        self._limit = min(LONGEST, source.refresh_interval)  # seconds for a whole answer
        self._secrets = BoundedCall(
            lambda: (_headers(source), _context(source)), f"read secrets of {source.name}", self._limit / 2
        )
        self._resolver = _Resolver()
        self._raw: bytes | None = None
        self._entries: tuple[Entry, ...] = ()

    async def read(self) -> Answer:
        """Ask for the list."""
        try:
            end = asyncio.get_running_loop().time() + self._limit
            headers, context = await self._read_secrets()
            async with asyncio.timeout_at(end):
                raw = await self._download(headers, context)
            if raw != self._raw:
                self._entries = await in_background(
                    lambda: parse_list(raw, self._source.where, is_json=True), f"parse {self._source.name}"
                )
                self._raw = raw
        except InvalidValue as fault:
            return Answer(None, shortened(str(fault)))
        except TimeoutError:
            return Answer(None, f"{self._source.where} has not answered within the time limit")
        except aiohttp.ClientError as error:
            return Answer(None, f"{self._source.where} cannot be asked: {_reason(error)}")
        return Answer(self._entries)

    async def wait(self, asked: asyncio.Event) -> None:
        """Wait for the refresh interval, or until `asked`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), self._source.refresh_interval)

    async def _read_secrets(self) -> tuple[CIMultiDict[str], Verification]:
        """What is sent, and what verifies the server. Raises InvalidValue."""
        try:
            return await self._secrets()
        except TimeoutError:
            message = f"the secrets or certificates cannot be read within {self._secrets.seconds:g} seconds"
            raise InvalidValue(message, "See whether the file system of their files hangs") from None

    async def _download(self, headers: CIMultiDict[str], context: Verification) -> bytes:
        source = self._source
        connector = aiohttp.TCPConnector(limit=1, force_close=True, resolver=self._resolver, ssl=context)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            url = URL(source.url)
            for _ in range(MOST_REDIRECTS + 1):
                async with session.get(
                    url, headers=headers, allow_redirects=False, server_hostname=source.server_name
                ) as response:
                    if not (source.follow_redirects and response.status in REDIRECTS):
                        return await _body(response, source.where)
                    url = _redirected(url, response)
        raise InvalidValue(f"{source.where} redirects more than {MOST_REDIRECTS} times", "Write the last URL")


def _headers(source: HttpSource) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict(
        {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"ibkr-exporter/{__version__}",
            "X-Prometheus-Refresh-Interval-Seconds": f"{source.refresh_interval:g}",
        }
    )
    if source.basic is not None:
        user, password = (_header_text(secret.read()) for secret in source.basic)
        headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    if source.authorization is not None:
        kind, credentials = source.authorization
        headers["Authorization"] = f"{kind} {_header_text(credentials.read())}"
    for name, secrets in source.headers.items():
        for secret in secrets:
            headers.add(name, _header_text(secret.read()))
    return headers


def _header_text(text: str) -> str:
    if not text.isprintable():
        raise InvalidValue("a secret has a character that HTTP does not allow", "Write it in one line")
    return text


def _context(source: HttpSource) -> Verification:
    """What verifies the server, where there is TLS. Raises InvalidValue naming the file that cannot be used."""
    if not source.url.startswith("https:"):
        return True
    try:
        context = ssl.create_default_context(cafile=source.ca)
        if source.certificate is not None:
            context.load_cert_chain(*source.certificate, password=lambda: b"")
    except (OSError, ValueError) as error:
        files = ", ".join(map(str, [path for path in (source.ca, *(source.certificate or ())) if path]))
        raise InvalidValue(f"{files} cannot be used: {_reason(error)}", "Give PEM files without a passphrase") from None
    if not source.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _body(response: aiohttp.ClientResponse, where: str) -> bytes:
    """The body of a good answer. Raises InvalidValue."""
    if response.status != 200:  # noqa: PLR2004 - OK
        raise InvalidValue(f"{where} answers {response.status}", "Its log says why; it must answer 200")
    content_type = response.headers.get("Content-Type", "")
    if not JSON.fullmatch(content_type.strip()):
        raise InvalidValue(f"{where} answers {content_type or 'no type'}", "Its Content-Type must be application/json")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise InvalidValue(f"{where} answers compressed", "It was asked not to")
    body = bytearray()
    async for piece in response.content.iter_chunked(PIECE):
        body += piece
        if len(body) > LARGEST:
            raise InvalidValue(f"the list has more than {LARGEST} bytes", "Divide it")
    return bytes(body)


def _redirected(url: URL, response: aiohttp.ClientResponse) -> URL:
    """Where the redirect leads. Raises InvalidValue for another host: it would get the credentials."""
    try:
        target = url.join(URL(response.headers.get("Location", "")))
    except ValueError:
        raise InvalidValue("a redirect leads to no URL", "Write the last URL") from None
    if target.origin() != url.origin() or target.user is not None:
        raise InvalidValue(f"it redirects to another host, {target.host}", "Write that URL, if it is trusted")
    return target


def _reason(error: Exception) -> str:
    """Why it failed, without the URL."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    number = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
    return str(number)


class _Resolver(AbstractResolver):
    """Looks names up in threads that do not delay the exit. One that hangs costs one thread, as with the probes."""

    def __init__(self) -> None:
        self._pending: dict[object, asyncio.Future[list[Any]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name."""
        query = host, port, family
        if query not in self._pending:
            lookup = in_daemon_thread(
                lambda: socket.getaddrinfo(*query, socket.SOCK_STREAM, socket.IPPROTO_TCP), f"resolve {host}"
            )
            self._pending[query] = lookup
            lookup.add_done_callback(lambda _: self._pending.pop(query, None))
        answers = await asyncio.shield(self._pending[query])
        return [
            ResolveResult(
                hostname=host, host=str(to[0]), port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
            )
            for kind, _, protocol, _, to in answers
        ]

    async def close(self) -> None:
        """Close nothing: each request opens and closes a session of its own."""
