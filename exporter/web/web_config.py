"""TLS, basic authentication, headers and the rate limit of the HTTP server, read again when their files change.

The exporter-toolkit reads its web configuration file at each request. Here the files' times are checked every POLL
seconds. A changed file that cannot be used, or hangs, is logged once, and the previous one stays in force. Only the
start decides whether TLS is served at all.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import bcrypt
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from exporter.config.errors import ConfigError, Problem
from exporter.config.stamps import Stamp, stamps
from exporter.config.web_file import TlsFiles, WebFile, read_web_file
from exporter.service.bounded import LONGEST, BoundedCall

POLL = 2.0  # seconds between two looks at the files
KEPT = "web configuration refused, the running one is kept"
REMEMBERED = 256  # passwords that were right; a bcrypt comparison takes some 70 ms of CPU
CHALLENGE = {hdrs.WWW_AUTHENTICATE: 'Basic realm="ibkr-exporter", charset="UTF-8"'}
TLS_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

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


class CurrentContext(ssl.SSLContext):
    """A context that hands each connection to another one, which may be replaced while the server listens."""

    _current: Callable[[], ssl.SSLContext | None]

    def __new__(cls, current: Callable[[], ssl.SSLContext | None]) -> Self:
        """Make one whose `current` gives the context in force; None: this one."""
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._current = current
        return self

    def __init__(self, _: object) -> None:
        """All is done by __new__."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection with the context that is in force."""
        context = self._current()
        return super().wrap_bio(*args, **kwargs) if context is None else context.wrap_bio(*args, **kwargs)


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


class Passwords:
    """Compares passwords with bcrypt hashes in one thread, and remembers what was right, as a keyed digest only.

    An unknown user costs as much time as a wrong password.
    """

    def __init__(self, users: Mapping[str, bytes], compare: Callable[[bytes, bytes], bool] | None = None) -> None:
        self._compare = compare or _compare
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}
        self.replace(users)

    def replace(self, users: Mapping[str, bytes]) -> None:
        """Compare with these from now on."""
        self._users = users
        self._right.clear()
        costs = [int(hashed[4:6]) for hashed in users.values()]
        # No password is known that has this hash. To make it takes no hashing, which would hold the event loop.
        self._decoy = bcrypt.gensalt(max(costs)) + secrets.token_hex(16)[:31].encode() if costs else b""

    def close(self) -> None:
        """End the thread that compares passwords."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def match(self, header: str) -> bool:
        """Whether an Authorization header names a user and the right password."""
        credentials = _credentials(header)
        if credentials is None:
            return False
        user, password = credentials
        hashed = self._users.get(user, self._decoy)
        digest = hmac.digest(self._key, b"\0".join((user.encode(), password, hashed)), hashlib.sha256)
        if digest in self._right:
            return True
        right = await asyncio.get_running_loop().run_in_executor(self._executor, self._compare, password, hashed)
        if not right or self._users.get(user) != hashed:
            return False
        if len(self._right) >= REMEMBERED:
            self._right.clear()
        self._right[digest] = None
        return True


def _compare(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:  # longer than bcrypt's 72 bytes, or with a NUL byte
        return False


def _credentials(header: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _san_allowed(request: web.Request, allowed: frozenset[str]) -> bool:
    if not allowed:
        return True
    certificate = request.get_extra_info("peercert") or {}
    return any(value in allowed for _, value in certificate.get("subjectAltName", ()))


def _load(path: Path) -> tuple[WebFile, ssl.SSLContext | None]:
    file = read_web_file(path)
    return file, None if file.tls is None else _context(file.tls, path)


def _load_stamped(path: Path) -> tuple[WebFile, ssl.SSLContext | None, Mapping[Path, Stamp]]:
    file, context = _load(path)
    return file, context, _signature(file)


def _context(tls: TlsFiles, path: Path) -> ssl.SSLContext:
    """Make a server's context. Raises ConfigError naming the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = TLS_VERSIONS[tls.minimum], TLS_VERSIONS[tls.maximum]
    if tls.ciphers:
        context.set_ciphers(":".join(tls.ciphers))
    if not tls.server_preference:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    remedy = "Give PEM files that the exporter may read, and the key without a passphrase"
    try:
        # A key with a passphrase would be asked for on the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
    except (OSError, ValueError) as error:
        message = f"the certificate {tls.certificate} and its key {tls.key} cannot be used: {_reason(error)}"
        raise ConfigError([Problem(str(path), None, None, "tls_server_config", message, remedy)]) from None
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except (OSError, ValueError) as error:
            message = f"{tls.client_ca} cannot be used: {_reason(error)}"
            place = "tls_server_config.client_ca_file"
            raise ConfigError([Problem(str(path), None, None, place, message, remedy)]) from None
        context.verify_mode = ssl.CERT_REQUIRED if tls.client_certificate_required else ssl.CERT_OPTIONAL
    return context


def _reason(error: OSError | ValueError) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason)


def _signature(file: WebFile) -> Mapping[Path, Stamp]:
    return stamps(file.paths)
