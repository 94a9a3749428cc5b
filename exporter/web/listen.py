"""The sockets that HTTP is served on: the configured addresses, or what systemd passes (sd_listen_fds(3))."""

import errno
import os
import socket
from collections.abc import Iterable, MutableMapping
from contextlib import ExitStack

from exporter.config import Config, Listen

BACKLOG = 128  # connections that wait to be accepted
FIRST_PASSED = 3  # SD_LISTEN_FDS_START
PASSED = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

ADVICE = "set web.listen (or IBKR_EXPORTER_LISTEN) to another address"
NO_SOCKETS = "Start the .socket unit, without a shell between systemd and the exporter, or remove web.systemd_socket"


class ListenError(Exception):
    """No socket to serve on can be had; the text says which, why and what to do."""


def open_sockets(config: Config, advice: str = ADVICE) -> list[socket.socket]:
    """The sockets to serve on, listening. Raises ListenError, which gives the `advice` where a port is taken."""
    return passed_sockets(os.environ) if config.systemd_socket else listening_sockets(config.listen, advice)


def listening_sockets(addresses: Iterable[Listen], advice: str = ADVICE) -> list[socket.socket]:
    """A socket for each address: all of them, or ListenError."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(_listening(each.host, each.port, advice)) for each in addresses]
        opened.pop_all()
    return sockets


def passed_sockets(environ: MutableMapping[str, str], first: int = FIRST_PASSED) -> list[socket.socket]:
    """The sockets that systemd passed to this process. Raises ListenError if there are none.

    The variables are removed from `environ`, so that no child takes them for its own.
    """
    pid, count, names = (environ.pop(name, "") for name in PASSED)
    if pid != str(os.getpid()) or not count.isdecimal() or int(count) < 1:
        msg = f"systemd passed no sockets to this process. {NO_SOCKETS}"
        raise ListenError(msg)
    with ExitStack() as opened:
        sockets = []
        for number, name in zip(range(first, first + int(count)), _names(names, int(count)), strict=True):
            os.set_inheritable(number, False)  # noqa: FBT003 - positional only
            passed = opened.enter_context(socket.socket(fileno=number))
            if not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                msg = f"the socket {name} that systemd passed does not listen. Write ListenStream= and Accept=no"
                raise ListenError(msg)
            sockets.append(passed)
        opened.pop_all()
    return sockets


def url_of(listening: socket.socket, scheme: str, prefix: str) -> str:
    """The URL of the status page on this socket; for a Unix socket its path."""
    name = listening.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name.decode() if isinstance(name, bytes) else name}"
    host, port = name[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{prefix}/"


def _names(text: str, count: int) -> list[str]:
    names = text.split(":") if text else []
    return names if len(names) == count else [str(number) for number in range(1, count + 1)]


def _listening(host: str, port: int, advice: str) -> socket.socket:
    everywhere = host in ("", "::") and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if everywhere or ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=everywhere)
    except (OSError, OverflowError) as error:
        number = error.errno or 0 if isinstance(error, OSError) else 0
        text = getattr(error, "strerror", None) or str(error)
        reason = os.strerror(number) if number > 0 else text.partition(" (")[0]  # Python adds the address that we name
        remedy = f"Is another exporter running? Stop it, or {advice}"
        if number != errno.EADDRINUSE:
            remedy = advice[0].upper() + advice[1:]
        msg = f"cannot listen on {host} port {port}: {reason}. {remedy}"
        raise ListenError(msg) from None
