"""`ibkr-exporter simulate`: one simulated gateway in a process of its own, changed from the keyboard or by HTTP.

The command line is read elsewhere; here are plain parameters and plain rows.
"""

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TextIO

from exporter.signals import ending_signals
from exporter.simulator.gateway import DEFAULT_SETUP, Gateway
from exporter.simulator.http_control import LOOPBACK, control
from exporter.simulator.modes import MODES
from exporter.simulator.settings import GatewaySettings
from exporter.simulator.timeline import ModeChange, play_timeline, read_timeline

if sys.platform != "win32":
    import resource

KEYBOARD_MOST = 1024  # bytes at a time
MANY_DESCRIPTORS = 65_536
USAGE = 2  # exit code for a wrong parameter or a port that is in use

TAKEN = frozenset({errno.EADDRINUSE, errno.EACCES})

Say = Callable[[str], object]


def mode_rows() -> list[tuple[str, str, str, str]]:
    """The table of modes for `--list`: name, what a client sees, verdict of the handshake alone, of all layers."""
    return [(mode.name, mode.sees, mode.handshake_verdict, mode.verdict) for mode in MODES.values()]


def run(
    *,
    port: int,
    mode: str = "ok",
    host: str = "127.0.0.1",
    setup: GatewaySettings = DEFAULT_SETUP,
    control_port: int | None = None,
    script: str | None = None,
    keyboard: TextIO | None = None,
    say: Say = print,
    complain: Say | None = None,
) -> int:
    """Simulate until SIGINT or SIGTERM; returns the exit code.

    `script` is a timeline (`0s:ok,30s:silent`). `control_port` opens the control on the loopback address; 0 takes a
    free port. Lines from `keyboard` (standard input, if that is a terminal) are modes. What is wrong with the
    parameters goes to `complain`, by default to standard error, and gives 2.
    """
    complain = complain or (lambda text: sys.stderr.write(f"{text}\n"))
    try:
        turns = read_timeline(script) if script is not None else ()
        gateway = Gateway(mode, host=host, port=port, setup=setup)
        _raise_descriptor_limit()
        # Windows' own event loop cannot watch bare sockets
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop if sys.platform == "win32" else None) as runner:
            runner.run(simulate(gateway, turns=turns, control_port=control_port, keyboard=keyboard, say=say))
    except KeyboardInterrupt:  # only where the event loop cannot take signals
        return 0
    except (ValueError, BrokenPipeError) as error:  # a broken pipe: the reader of the output has gone
        complain(f"simulate: {error}")
        return USAGE
    except OSError as error:
        control = "" if control_port is None else f" (control: port {control_port})"
        reason = error.strerror or str(error)
        remedy = ". Another port is free: --port 0" if error.errno in TAKEN else ""
        complain(f"simulate: cannot listen on {host} port {port}{control}: {reason}{remedy}")
        return USAGE
    return 0


async def simulate(
    gateway: Gateway,
    *,
    turns: Sequence[ModeChange] = (),
    control_port: int | None = None,
    keyboard: TextIO | None = None,
    say: Say = print,
) -> None:
    """Run a gateway until the process is told to end. Raises OSError if a port is in use."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in ending_signals():
        with contextlib.suppress(NotImplementedError):  # Windows: KeyboardInterrupt ends the run
            loop.add_signal_handler(number, ended.set)

    async def change(name: str) -> None:
        try:
            await gateway.set_mode(name)
        except ValueError as error:
            say(str(error))
        else:
            say(f"mode {gateway.mode}: {MODES[gateway.mode].sees}")

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(gateway)
        host = f"[{gateway.host}]" if ":" in gateway.host else gateway.host
        say(f"a simulated TWS on {host}:{gateway.port}, server version {gateway.setup.server_version}")
        say(f"mode {gateway.mode}: {MODES[gateway.mode].sees}")
        if control_port is not None:
            opened = await stack.enter_async_context(control(gateway, control_port))
            say(f"control on http://{LOOPBACK}:{opened}/ (POST /mode?mode=silent)")
        tasks = [loop.create_task(play_timeline(turns, change))]
        if keyboard is not None:
            say("type a mode and press Enter to change it")
            tasks.append(loop.create_task(_obey(keyboard, change)))
        try:
            await ended.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _obey(keyboard: TextIO, change: Callable[[str], Awaitable[None]]) -> None:
    """Take each line for a mode, until the end of the file.

    The file stays in blocking mode, for where it is a terminal the output is the same file.
    """
    loop = asyncio.get_running_loop()
    read: asyncio.Queue[bytes] = asyncio.Queue()
    number = keyboard.fileno()
    loop.add_reader(number, lambda: read.put_nowait(os.read(number, KEYBOARD_MOST)))
    typed = b""
    try:
        while data := await read.get():
            *lines, typed = (typed + data).split(b"\n")
            for line in lines:
                if line.strip():
                    await change(line.decode("latin-1"))
            typed = typed[-KEYBOARD_MOST:]
    finally:
        loop.remove_reader(number)


def _raise_descriptor_limit() -> None:
    """As many open connections as the system permits; the usual limit of 1024 is too low for a bench."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MANY_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MANY_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
