"""Basic authentication: passwords are compared with bcrypt hashes, off the event loop."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt

REMEMBERED = 256  # passwords that were right; a bcrypt comparison takes some 70 ms of CPU


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
