"""Logging: one line per change of verdict at info, one per probe at debug, to standard error, for people or as JSON."""

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer

if TYPE_CHECKING:
    from structlog.typing import Processor


LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


class Tolerant:
    """A log that is written to as long as it takes anything: a full disk or a closed pipe must stop no probe."""

    def __init__(self, stream: TextIO | None) -> None:
        """Write to this; None, where the process was started without standard error, is written to in vain."""
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or lose the line."""
        if self._stream is not None:
            with suppress(OSError, ValueError):  # ValueError: it is closed
                self._stream.write(text)

    def flush(self) -> None:
        """Flush, or lose the lines."""
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()


def configure(level: str = "info", style: str = "console") -> None:
    """Set structlog up for the process. `level` is a key of LEVELS, `style` console or json.

    Tracebacks come without local variables: a target's hold its account number.
    """
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor] = (
        [TRACEBACKS, structlog.processors.JSONRenderer()]
        if style == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr is not None and sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,
                pad_event_to=0,
            )
        ]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Tolerant(sys.stderr))),
        cache_logger_on_first_use=True,
    )
