"""From a host to addresses. A resolver that hangs costs one thread for its name and delays no other probe."""

import asyncio
import socket
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from exporter.config.addresses import is_forbidden
from exporter.model import AddressFamily, Cause, Target
from exporter.probes.threads import in_daemon_thread

FAMILIES = {
    AddressFamily.ANY: socket.AF_UNSPEC,
    AddressFamily.IPV4: socket.AF_INET,
    AddressFamily.IPV6: socket.AF_INET6,
}
SocketAddress = tuple[str, int] | tuple[str, int, int, int]
Query = tuple[str, int, int]  # host, port, address family


class Address(NamedTuple):
    """One address to connect to."""

    family: int
    sockaddr: SocketAddress


class UnresolvedError(Exception):
    """The name has no address that we could use; `cause` tells an unknown name from a resolver without an answer."""

    def __init__(self, cause: Cause, text: str) -> None:
        super().__init__(text)
        self.cause = cause


LookUp = Callable[[Query], list[Address]]  # raises UnresolvedError


class Resolver:
    """Looks names up, each in a thread of its own, never the same name twice at a time.

    getaddrinfo cannot be cancelled. A probe that gives up leaves the thread behind; the next tick joins that same
    lookup, so a resolver that hangs for an hour costs one thread for the name.
    """

    def __init__(self, look_up: LookUp | None = None) -> None:
        self._look_up = look_up or look_up_name
        self._pending: dict[Query, asyncio.Future[list[Address]]] = {}

    def literal(self, target: Target) -> list[Address] | None:
        """The target's address where its host is an IP address; None for a name. Asks no resolver."""
        return _literal(_query(target))

    async def resolve(self, target: Target) -> list[Address]:
        """The addresses of the target's name, in the system's order of preference. Raises UnresolvedError.

        A discovered target's name gives no address that a list may not name either.
        """
        query = _query(target)
        if query not in self._pending:
            lookup = in_daemon_thread(lambda: self._look_up(query), f"resolve {query[0]}")
            self._pending[query] = lookup
            lookup.add_done_callback(lambda _: self._pending.pop(query, None))
        addresses = list(await asyncio.shield(self._pending[query]))
        if not target.discovered:
            return addresses
        permitted = [address for address in addresses if not _is_forbidden(address)]
        if not permitted:
            raise UnresolvedError(Cause.NAME_UNKNOWN, f"{addresses[0].sockaddr[0]} is no address of a gateway")
        return permitted


def _is_forbidden(address: Address) -> bool:
    return is_forbidden(ip_address(str(address.sockaddr[0]).partition("%")[0]))


def _query(target: Target) -> Query:
    return target.host, target.port, FAMILIES[target.address_family]


@lru_cache(maxsize=16_384)  # more than a fleet has targets: `/probe` may be asked for any address of its allow list
def _literal(query: Query) -> list[Address] | None:
    try:
        return look_up_name(query, socket.AI_NUMERICHOST)
    except UnresolvedError:
        return None


def look_up_name(query: Query, flags: int = 0) -> list[Address]:
    """Ask the system's resolver. Raises UnresolvedError, and OSError for what is our own machine's fault."""
    host, port, family = query
    try:
        answers = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, socket.IPPROTO_TCP, flags)
    except socket.gaierror as error:
        temporary = error.errno == socket.EAI_AGAIN
        cause = Cause.NAME_TIMEOUT if temporary else Cause.NAME_UNKNOWN
        raise UnresolvedError(cause, error.strerror or str(error)) from None
    except UnicodeError as error:  # a label that is empty or too long
        raise UnresolvedError(Cause.NAME_UNKNOWN, f"not a valid host name: {error}") from None
    return [Address(kind, sockaddr) for kind, _, _, _, sockaddr in answers]  # type: ignore[arg-type]
