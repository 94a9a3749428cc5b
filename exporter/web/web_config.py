"""TLS, basic authentication, headers and the rate limit of the HTTP server, read again when their files change.

The exporter-toolkit reads its web configuration file at each request. Here the files' times are checked every POLL
seconds. A changed file that cannot be used, or hangs, is logged once, and the previous one stays in force. Only the
start decides whether TLS is served at all.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Self

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from exporter.config.errors import ConfigError
from exporter.config.stamps import Stamp, stamps
from exporter.config.web_file import WebFile, read_web_file
from exporter.service.bounded import LONGEST, BoundedCall
from exporter.web.passwords import Passwords
from exporter.web.tls import CurrentContext, server_context

POLL = 2.0  # seconds between two looks at the files
KEPT = "web configuration refused, the running one is kept"
CHALLENGE = {hdrs.WWW_AUTHENTICATE: 'Basic realm="ibkr-exporter", charset="UTF-8"'}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebConfig:
    """The web configuration that is in force. Use it as an async context manager: it then follows the files."""

    def __init__(self, path: Path, poll: float = POLL, limit: float = LONGEST) -> None:
        """Read the file and the certificates. Raises ConfigError with every problem.

        When they change, they may take `limit` seconds to be read.
        """
        self._poll = poll
        self._file, self._context = _load(path)
        self._look = BoundedCall(lambda: _signature(self._file), "look at the web configuration", limit)
        self._read = BoundedCall(lambda: _load_stamped(path), "read the web configuration", limit)
        self._hangs = False
        self._signature = _signature(self._file)
        self._bucket = TokenBucket(self._file.rate_interval, self._file.rate_burst)
        self._passwords = Passwords(self._file.users)
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._following = asyncio.create_task(self._follow(), name="web configuration")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        self._passwords.close()

    def ssl_context(self) -> ssl.SSLContext | None:
        """The context to listen with: each new connection gets the certificates that are in force. None: no TLS."""
        return None if self._context is None else CurrentContext(lambda: self._context)

    @property
    def file(self) -> WebFile:
        """What is in force."""
        return self._file

    @property
    def middleware(self) -> Middleware:
        """Rate limit, client certificate, password and headers, in this order, for every route."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await self._refuse(request) or await handler(request)
            for name, value in self._file.headers.items():
                if value:
                    response.headers[name] = value
                else:
                    response.headers.pop(name, None)
            return response

        return guard

    async def _refuse(self, request: web.Request) -> web.StreamResponse | None:
        """The refusal of a request, or None where it may pass."""
        if not self._bucket.take(asyncio.get_running_loop().time()):
            return web.Response(status=429, text="too many requests\n")
        if self._file.tls is not None and not _san_allowed(request, self._file.tls.sans):
            return web.Response(status=403, text="the client certificate has no name that is allowed here\n")
        if self._file.users and not await self._passwords.match(request.headers.get(hdrs.AUTHORIZATION, "")):
            return web.Response(status=401, text="unauthorized\n", headers=CHALLENGE)
        return None

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            try:
                await self.look()
            except TimeoutError:
                self._report_hanging()
            except Exception:  # noqa: BLE001 - ours; the next change is to be followed all the same
                structlog.get_logger(__name__).exception("web configuration not followed")

    async def look(self) -> None:
        """Read the files again if one has changed. Raises TimeoutError where they hang."""
        signature = await self._look()
        if signature != self._signature:
            before, self._signature = self._signature, signature
            try:
                await self._reload()
            except TimeoutError:
                self._signature = before
                raise
        self._hangs = False

    def _report_hanging(self) -> None:
        if not self._hangs:
            seconds = f"{self._look.seconds:g} seconds"
            problem = f"{self._file.path}: this file, or a certificate, cannot be read within {seconds}"
            structlog.get_logger(__name__).error(KEPT, problems=[problem])
        self._hangs = True

    async def _reload(self) -> None:
        log = structlog.get_logger(__name__)
        try:
            file, context, after = await self._read()
        except ConfigError as error:
            log.error(KEPT, problems=[str(problem) for problem in error.problems])  # noqa: TRY400 - no fault of ours
            return
        if (context is None) != (self._context is None):
            log.error(KEPT, problems=["TLS on or off takes a restart"])
            return
        if (file.rate_interval, file.rate_burst) != (self._file.rate_interval, self._file.rate_burst):
            self._bucket = TokenBucket(file.rate_interval, file.rate_burst)
        self._file, self._context = file, context
        self._passwords.replace(file.users)
        self._signature = {path: self._signature.get(path, stamp) for path, stamp in after.items()}
        log.info("web configuration reloaded", file=str(file.path))


class TokenBucket:
    """Permits a request each `interval` seconds, and `burst` at once. An interval of 0 permits all."""

    def __init__(self, interval: float, burst: int) -> None:
        self._interval = interval
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take a token at loop time `now`; False: there is none."""
        if self._interval <= 0:
            return True
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) / self._interval)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _san_allowed(request: web.Request, allowed: frozenset[str]) -> bool:
    if not allowed:
        return True
    certificate = request.get_extra_info("peercert") or {}
    return any(value in allowed for _, value in certificate.get("subjectAltName", ()))


def _load(path: Path) -> tuple[WebFile, ssl.SSLContext | None]:
    file = read_web_file(path)
    return file, None if file.tls is None else server_context(file.tls, path)


def _load_stamped(path: Path) -> tuple[WebFile, ssl.SSLContext | None, Mapping[Path, Stamp]]:
    file, context = _load(path)
    return file, context, _signature(file)


def _signature(file: WebFile) -> Mapping[Path, Stamp]:
    return stamps(file.paths)
