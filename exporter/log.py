"""Logging: one line per change of verdict at info, one per probe at debug, to standard error, for people or as JSON."""

import logging
import sys
from contextlib import suppress
from io import StringIO
from typing import TYPE_CHECKING, TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from exporter.text import printable

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo, Processor


LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


class Tolerant:
    """A stream whose errors are ignored: a full disk or a closed pipe must stop no probe.

    None is the standard error of a process that was started without one.
    """

    def __init__(self, stream: TextIO | None) -> None:
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


class Quoted:
    """Text with its control characters escaped; structlog writes a value's repr, which quotes no second time."""

    def __init__(self, text: str) -> None:
        self._repr = repr(text)

    def __repr__(self) -> str:
        return self._repr


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
            _escape,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr is not None and sys.stderr.isatty(),
                exception_formatter=_write_traceback,
                pad_event_to=0,
            ),
        ]
    )
    stream = cast("TextIO", Tolerant(sys.stderr))
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    _take_over(shared, render, stream)


def _take_over(shared: list["Processor"], render: list["Processor"], stream: TextIO) -> None:
    """Write what asyncio and aiohttp log in our form, not as bare text among JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render]
        )
    )
    handler.set_name(__name__)
    root = logging.getLogger()
    for earlier in [each for each in root.handlers if each.name == __name__]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    server = logging.getLogger("aiohttp.server")
    server.removeFilter(_is_ours)
    server.addFilter(_is_ours)


def _escape(_: object, __: str, event: "EventDict") -> "EventDict":
    """Escape control characters: no text from a peer may begin a line of its own or command a terminal."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = printable(value) if key == "event" else Quoted(value)
    return event


def _write_traceback(stream: TextIO, exc_info: "ExcInfo") -> None:
    """Below the line, indented: the text of an error may have lines that look like ours."""
    whole = StringIO()
    structlog.dev.plain_traceback(whole, exc_info)
    stream.writelines(f"\n    {printable(line)}" for line in whole.getvalue().strip("\n").split("\n"))


def _is_ours(record: logging.LogRecord) -> bool:
    """Leave out what a client did wrong (a request that is no HTTP, a line too long): it got its 400."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__module__ != "aiohttp.http_exceptions"
