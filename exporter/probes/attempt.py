"""What the probes of one tick share: the target, the one connection, the clock and the resolver."""

from collections.abc import Callable
from dataclasses import dataclass

from exporter.model import Target
from exporter.probes.connection import Connection
from exporter.probes.names import Resolver


@dataclass(slots=True)
class Attempt:
    """One tick of one target, handed from layer to layer. `clock` is monotonic, in seconds."""

    target: Target
    connection: Connection
    resolver: Resolver
    clock: Callable[[], float]
