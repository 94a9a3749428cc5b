"""The steps of a simulated connection: what is sent after which delay, and how the connection ends."""

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """How the gateway ends a connection."""

    CLOSE = "close"  # end of stream, in order; what the client still sends is not answered
    RESET = "reset"
    DROP = "drop"  # close without reading: the client sees end of stream or a reset, as it happens


@dataclass(frozen=True, slots=True)
class Step:
    """Wait `delay` seconds, send `data` so many `times`, then end the connection if there is an `ending`."""

    data: bytes = b""
    delay: float = 0.0
    ending: Ending | None = None
    times: int = 1


Script = tuple[Step, ...]
SILENCE: Script = ()
CLOSE: Script = (Step(ending=Ending.CLOSE),)
RESET: Script = (Step(ending=Ending.RESET),)


def bytewise(script: Script, pause: float) -> Script:
    """The same, one byte at a time."""
    return tuple(
        Step(step.data[at : at + 1], pause, step.ending if at == len(step.data) - 1 else None)
        for step in script
        for at in range(len(step.data))
    )
