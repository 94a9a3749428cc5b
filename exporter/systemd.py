"""Messages of this process to systemd (sd_notify(3)); none where systemd does not ask.

READY=1                        it serves
WATCHDOG=1                     it lives; due within the `watchdog` seconds that the unit says (WatchdogSec=)
RELOADING=1, then READY=1      a reload, with the moment of its beginning
STOPPING=1                     it ends
STATUS=                        one line for `systemctl status`
"""

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

ASKING = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Sends messages to systemd's socket. What cannot be sent is dropped."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Take the variables out of `environ`, so that no child speaks for this process."""
        address, usec, pid = (environ.pop(name, "") for name in ASKING)
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        ours = pid in ("", str(os.getpid())) and usec.isdecimal() and bool(address)
        self.watchdog = int(usec) / 1e6 if ours and int(usec) else None  # seconds; None: systemd expects no WATCHDOG=1

    def __bool__(self) -> bool:
        """Whether systemd asks for messages."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Report that it serves, after the start or after a reload."""
        self._send("READY=1", _status(status))

    def alive(self, status: str) -> None:
        """Report that it lives."""
        self._send("WATCHDOG=1", _status(status))

    def reloading(self) -> None:
        """Report that a reload has begun; ready() ends it."""
        if self:
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Report that it ends."""
        self._send("STOPPING=1", _status("ending"))

    def status(self, status: str) -> None:
        """Send a line for `systemctl status`."""
        self._send(_status(status))

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)  # noqa: FBT003 - positional only
            sending.sendto("\n".join(lines).encode(), self._address)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
