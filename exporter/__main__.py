"""The process from its first moment: what a signal does before a command has its own way to end.

    serve, demo, simulate     an end in order, like later on: exit code 0
    every other command       128 and the signal's number, after its connections are closed; never 0, which would be an
                              answer

A hang-up (SIGHUP) is for `serve` to reload its configuration, which it is about to read. A second signal while the
first is being obeyed is not waited for.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

STAYING = frozenset({"serve", "demo", "simulate"})


def main() -> None:
    """Run the command line; the whole of it is imported only after there is an answer to signals."""
    _open_closed_streams()
    stays = STAYING.intersection(sys.argv[1:2])
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as behind `nohup` or `&` of a shell without jobs
            signal.signal(number, _end_in_order if stays else _end)
    if stays == {"serve"} and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, _stay)
    from exporter.cli.app import main as run  # noqa: PLC0415 - takes a few tenths of a second

    try:
        run()
    finally:
        if stays:  # whoever presses Ctrl-C twice has been obeyed by now
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)


def _open_closed_streams() -> None:
    """Give a process that was started without standard streams (`>&-`) some that lead nowhere.

    Else the next file or connection that is opened would get their numbers, and whoever writes there write into it.
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


def _end_in_order(number: int, _: FrameType | None) -> None:
    _say(f"ended by {signal.Signals(number).name} before it had begun")
    raise SystemExit(0)


def _end(number: int, _: FrameType | None) -> None:
    for known in (signal.SIGINT, signal.SIGTERM):
        signal.signal(known, signal.SIG_DFL)
    _say(f"ended by {signal.Signals(number).name}")
    raise SystemExit(128 + number)


def _stay(_: int, __: FrameType | None) -> None:
    """Nothing has been read yet that could be read again."""


def _say(text: str) -> None:
    """Past Python's own buffers: a signal may come while they are being written."""
    with suppress(OSError):  # nobody can hear it, and it ends all the same
        os.write(2, f"ibkr-exporter: {text}\n".encode())


if __name__ == "__main__":
    main()
