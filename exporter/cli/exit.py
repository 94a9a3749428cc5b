"""How every command reads its configuration, runs, prints and ends.

Exit codes: 0 all is well; 1 the target is not healthy, or the port is taken; 2 usage or configuration; 3 the probe
itself is at fault.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

import typer

from exporter.config import ConfigError

UNHEALTHY, USAGE, BROKEN = 1, 2, 3
RICH_BROKEN_PIPE = 1  # the exit code that rich uses when the reader of its output is gone

T = TypeVar("T")


def read_or_fail(load: Callable[[], T]) -> T:
    """Return what is read of a configuration; print every problem of a refused one and end the command."""
    try:
        return load()
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(USAGE) from None


def run_coroutine(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end. On Windows with select(): the default loop there cannot wait for bare sockets."""
    loop = asyncio.SelectorEventLoop if sys.platform == "win32" else None
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextmanager
def output(code: int) -> Iterator[None]:
    """Print in this context. A reader that is gone leaves the exit code as it is; a full disk ends with BROKEN."""
    try:
        yield
        sys.stdout.flush()
    except SystemExit as ended:
        if ended.code != RICH_BROKEN_PIPE:  # a signal
            raise
        raise typer.Exit(code) from None
    except OSError as error:
        with suppress(OSError):  # else the interpreter flushes at its end and prints a traceback
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(code) from None
        fail(f"the answer could not be written: {error.strerror}", BROKEN)


def fail(message: str, code: int) -> NoReturn:
    """End the command with a message on standard error."""
    typer.echo(f"ibkr-exporter: {message}", err=True)
    raise typer.Exit(code)
