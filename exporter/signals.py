"""Which signals end a process: SIGTERM always, SIGINT unless the caller ignores it."""

import signal


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end this process; `&` of a shell without job control ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGINT, signal.SIGTERM)


def hang_up_ignored() -> bool:
    """Return whether the caller ignores SIGHUP, as `nohup` does."""
    return hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
