"""How long each part of a diagnosis may take.

    the wire works     CONVINCING seconds, or PATIENT times what the wire took: then a timeout counts against it
    with a download    its own deadline: requests are a second apart
    the wire fails     a share of FAILING_BUDGET, enough to fail like the wire did; the failure is blamed on no library
    with a limit       the wire gets half of it, the libraries share the rest

A library that would get less than LEAST is not probed.
"""

import asyncio
import math

from exporter.model import ClientSpec, Report, Target
from exporter.verdict.client_blame import CONVINCING, PATIENT, upstream_lost, wire_ok

FAILING_BUDGET = 4.0  # seconds for all libraries together on a gateway that failed our own probe; LEAST for each
WIRE_SHARE = 0.5  # of the limit
OWN_SHARE = 0.25  # of a library's time under a limit: for our handshake before it, and as much for the wire after it
LEAST = 0.5  # seconds


class TimeBudget:
    """The time of one diagnosis, which begins now; without a limit each part has its own deadline alone."""

    def __init__(self, target: Target, clients: int, limit: float | None) -> None:
        self._target = target
        self._clients = clients
        self.until = None if limit is None else asyncio.get_running_loop().time() + limit
        self.wire = None if limit is None else limit * (WIRE_SHARE if clients else 1.0)

    def left(self) -> float:
        """Seconds until the limit, negative after it; infinity without one."""
        return math.inf if self.until is None else self.until - asyncio.get_running_loop().time()

    def at_most(self, deadline: float) -> float:
        """The deadline, or what is left."""
        return min(deadline, max(self.left(), 0.0))

    def of_client(self, spec: ClientSpec, wire: Report, unprobed: int) -> tuple[float, float]:
        """Seconds for a client, and for each of our own probes beside it, where so many clients share what is left."""
        share = self.left() / unprobed
        own = min(self._target.deadline, share * OWN_SHARE)
        if failing(wire):
            full = min(self._target.deadline, max(LEAST, FAILING_BUDGET / self._clients))
            return min(spec.deadline, full, share - own), own
        full = spec.deadline if spec.download else min(spec.deadline, max(CONVINCING, 1.5 * PATIENT * wire.seconds))
        return min(full, share - 2 * own), own


def failing(wire: Report) -> bool:
    """Return whether the wire failed or the gateway has lost IBKR's servers: then no library is blamed."""
    return not wire_ok(wire) or upstream_lost(wire)
