"""What a client sends to a gateway that does not answer: read for the record alone. Bytes to messages, no I/O.

A library that is wrong about the state of its connection may send its requests to a silent gateway, or after the end
of the session. The wire audit sees those too.
"""

from collections.abc import Iterator

from exporter.protocol.wire import RAW_IDS_FROM, split_frame
from exporter.simulator import messages
from exporter.simulator.messages import Message


class PassiveReader:
    """Reads frames without knowing which version the client believes in: a text begins with a digit, a raw id never."""

    def __init__(self, *, greeted: bool) -> None:
        """`greeted`: the hello has been read already."""
        self._greeted = greeted
        self._held = b""
        self._lost = False

    def read(self, data: bytes) -> Iterator[Message | None]:
        """The messages that these bytes complete; None for one that cannot be read.

        What cannot even be cut into frames is another protocol's, and not read any further.
        """
        if self._lost:
            return
        self._held += data
        try:
            while (payload := self._next()) is not None:
                yield _read(payload)
        except ValueError:
            self._lost = True
            self._held = b""

    def _next(self) -> bytes | None:
        if not self._greeted:
            read = messages.read_hello(self._held)
            if read is None:
                return None
            self._greeted, self._held = True, read[1]
        split = split_frame(self._held, messages.MAX_REQUEST)
        if split is None:
            return None
        payload, self._held = split
        return payload


def _read(payload: bytes) -> Message | None:
    try:
        return messages.read_message(payload, 0 if payload[:1].isdigit() else RAW_IDS_FROM)
    except ValueError:
        return None
