"""What the probes of one tick share: the target, the one connection, the clock and the resolver."""

from collections.abc import Callable
from dataclasses import dataclass

from exporter.model import ServerHello, Target
from exporter.probes.connection import Connection
from exporter.probes.resolver import Resolver


@dataclass(slots=True)
class ProbeContext:
    """One tick of one target, handed from layer to layer. `clock` is monotonic, in seconds.

    `server` is the gateway's reply to the hello. `opened_before` counts the TCP connects of earlier connections;
    only a client id in use leads to a second connection.
    """

    target: Target
    connection: Connection
    resolver: Resolver
    clock: Callable[[], float]
    server: ServerHello | None = None
    opened_before: int = 0

    @property
    def opened(self) -> int:
        """The TCP connects that were started in this attempt."""
        return self.opened_before + self.connection.opened

    async def renew(self) -> None:
        """Close the connection in order and take a new one, unopened, with the same deadline."""
        before = self.connection
        await before.close()
        self.opened_before += before.opened
        self.connection = Connection(before.deadline)
