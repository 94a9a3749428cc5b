"""From a host to addresses. A resolver that hangs costs one thread for its name, and nobody else a probe."""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import NamedTuple

from exporter.model import AddressFamily, Cause, Target

FAMILIES = {
    AddressFamily.ANY: socket.AF_UNSPEC,
    AddressFamily.IPV4: socket.AF_INET,
    AddressFamily.IPV6: socket.AF_INET6,
}
MOST_LITERALS = 4096  # kept; `/probe` may be asked for any address of its allow list
SocketAddress = tuple[str, int] | tuple[str, int, int, int]
Question = tuple[str, int, int]


class Address(NamedTuple):
    """One address to connect to."""

    family: int
    sockaddr: SocketAddress


class UnresolvedError(Exception):
    """The name has no address that we could use; `cause` tells an unknown name from a resolver without an answer."""

    def __init__(self, cause: Cause, text: str) -> None:
        """Keep the cause beside the text."""
        super().__init__(text)
        self.cause = cause


class Resolver:
    """Looks names up, each in a thread of its own, never the same question twice at a time.

    getaddrinfo cannot be cancelled. A probe that gives up leaves the thread behind; the next tick joins that same
    lookup instead of starting another, so there are never more threads than names. What fails on our side (no file
    descriptor left for the resolver) is raised to whoever asks, and the next question asks anew.
    """

    def __init__(self) -> None:
        """Start with nothing under way."""
        self._pending: dict[Question, asyncio.Future[list[Address]]] = {}
        self._literals: dict[Question, list[Address] | None] = {}

    def literal(self, target: Target) -> list[Address] | None:
        """The target's address where its host is an IP address already, with nobody asked."""
        question = _question(target)
        if question not in self._literals:
            if len(self._literals) >= MOST_LITERALS:
                self._literals.clear()
            found = _look_up(question, socket.AI_NUMERICHOST)
            self._literals[question] = found if isinstance(found, list) else None
        return self._literals[question]

    async def resolve(self, target: Target) -> list[Address]:
        """The addresses of the target's name, in the system's order of preference. Raises UnresolvedError."""
        question = _question(target)
        if question not in self._pending:
            self._pending[question] = self._start(question)
        return list(await asyncio.shield(self._pending[question]))

    def _start(self, question: Question) -> asyncio.Future[list[Address]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address]] = loop.create_future()

        def settle(found: list[Address] | Exception) -> None:
            self._pending.pop(question, None)
            if isinstance(found, list):
                answer.set_result(found)
            else:
                answer.set_exception(found)
                answer.exception()  # retrieved: nobody may be waiting any more, and that is no fault

        def look_up() -> None:
            found: list[Address] | Exception
            try:
                found = _look_up(question, 0)
            except Exception as error:  # noqa: BLE001 - it belongs to the probe that asked, not to this thread
                found = error
            with suppress(RuntimeError):  # the loop is closed, and nobody asks any more
                loop.call_soon_threadsafe(settle, found)

        # A daemon: a resolver that hangs must not keep the process from ending.
        threading.Thread(target=look_up, name=f"resolve {question[0]}", daemon=True).start()
        return answer


def _question(target: Target) -> Question:
    return target.host, target.port, FAMILIES[target.address_family]


def _look_up(question: Question, flags: int) -> list[Address] | UnresolvedError:
    host, port, family = question
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, socket.IPPROTO_TCP, flags)
    except socket.gaierror as error:
        silent = error.errno == socket.EAI_AGAIN
        return UnresolvedError(Cause.NAME_TIMEOUT if silent else Cause.NAME_UNKNOWN, error.strerror or str(error))
    except UnicodeError as error:  # a label that is empty or too long
        return UnresolvedError(Cause.NAME_UNKNOWN, f"not a valid host name: {error}")
    return [Address(kind, sockaddr) for kind, _, _, _, sockaddr in found]  # type: ignore[arg-type]
