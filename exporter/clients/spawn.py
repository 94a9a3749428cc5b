"""A new process for each probe, for systems that cannot fork. Each costs an import; the promises are the same."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from exporter.clients.forkserver import GRACE, UnusableError, environment
from exporter.clients.libraries import RUNNER, Library
from exporter.clients.output import ProbeOutput

POSIX = not sys.platform.startswith("win")


class OutputProtocol(asyncio.SubprocessProtocol):
    """Hand on standard output as the driver's lines, and standard error as printed output."""

    def __init__(self, output: ProbeOutput) -> None:
        self.output = output
        self.exited = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Bytes of one of the streams."""
        (self.output.splitter if fd == 1 else self.output.printed).feed(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """The end of one of the streams."""
        del exc
        if fd == 1:
            self.output.over.set()

    def process_exited(self) -> None:
        """The process has ended; a child of it may still hold the streams."""
        self.exited.set()
        asyncio.get_running_loop().call_later(0.1, self.output.over.set)  # its last lines may still be in the pipe


async def spawn_probe(
    python: str, library: Library, request: Mapping[str, Any], until: float
) -> tuple[ProbeOutput, bool, int | None]:
    """Run one probe in a new process, until shortly after the loop's clock is at `until`.

    Returns its output, whether it was killed, and its wait status. Raises UnusableError if it does not start.
    """
    command = [python, "-I", str(RUNNER), str(library.driver), "--once"]
    return await spawn(command, json.dumps(request).encode() + b"\n", until)


async def spawn(command: Sequence[str], stdin: bytes, until: float) -> tuple[ProbeOutput, bool, int | None]:
    """Run a command as `spawn_probe` does; its lines are JSON objects. All that it started in its group is killed."""
    output = ProbeOutput()
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: OutputProtocol(output), *command, start_new_session=POSIX, env=environment()
        )
    except OSError as error:
        msg = f"{command[0]} does not start: {error.strerror or error}"
        raise UnusableError(msg) from None
    try:
        pipe = transport.get_pipe_transport(0)
        if isinstance(pipe, asyncio.WriteTransport):
            pipe.write(stdin)
            pipe.write_eof()
        over = await output.wait(until)
    finally:
        _kill(transport)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await protocol.exited.wait()
        returned = transport.get_returncode()
        transport.close()
    status = None if returned is None else -returned if returned < 0 else returned << 8
    return output, not over, status


def _kill(transport: asyncio.SubprocessTransport) -> None:
    """Kill the process and, on POSIX, its process group."""
    with contextlib.suppress(OSError):
        if POSIX:  # transport.kill() may take the status away from asyncio before Python 3.12
            os.killpg(transport.get_pid(), signal.SIGKILL)
        else:
            transport.kill()
