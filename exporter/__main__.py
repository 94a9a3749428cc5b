"""python -m exporter: what a signal does until the command installs its own handlers.

    serve, demo, simulate     exit code 0, as later
    every other command       128 and the signal's number, after its connections are closed; never 0: that is an answer

SIGHUP reloads the configuration of `serve`; before it is read, there is nothing to reload.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

from exporter.signals import ending_signals

STAYING = frozenset({"serve", "demo", "simulate"})


def main() -> None:
    """Install the first signal handlers, then import and run the command line."""
    _open_closed_streams()
    stays = STAYING.intersection(sys.argv[1:2])
    for number in ending_signals():
        signal.signal(number, _exit_cleanly if stays else _exit_by_signal)
    if stays == {"serve"} and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, _ignore)
    from exporter.cli.app import main as run  # noqa: PLC0415 - takes a few tenths of a second

    try:
        run()
    finally:
        if stays:  # a second Ctrl-C comes too late to change anything
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)


def _open_closed_streams() -> None:
    """Open the null device in place of standard streams that are closed (`>&-`).

    Else the next file or connection would get their numbers, and prints would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(number, True)  # noqa: FBT003 - positional only
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _exit_cleanly(number: int, _: FrameType | None) -> None:
    _print(f"ended by {signal.Signals(number).name} before it had begun")
    raise SystemExit(0)


def _exit_by_signal(number: int, _: FrameType | None) -> None:
    for handled in (signal.SIGINT, signal.SIGTERM):
        signal.signal(handled, signal.SIG_DFL)
    _print(f"ended by {signal.Signals(number).name}")
    raise SystemExit(128 + number)


def _ignore(_: int, __: FrameType | None) -> None:
    pass


def _print(text: str) -> None:
    """Write past Python's own buffers: a signal may interrupt a write to them."""
    with suppress(OSError):  # a closed stream must not keep the process from ending
        os.write(2, f"ibkr-exporter: {text}\n".encode())


if __name__ == "__main__":
    main()
