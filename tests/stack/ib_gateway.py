"""Stands in for an IB Gateway image: a simulated gateway on 127.0.0.1:4002, and a relay to it on 4004 as socat is one.

It accepts first and connects on afterwards, so that its port is open with no gateway behind it. `touch /tmp/no-relay` ends
the relay, removing the file brings it back. The gateway's mode is changed on its control port, 5002.
"""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

from exporter.simulator.gateway import Gateway
from exporter.simulator.http_control import control

RELAY, GATEWAY, CONTROL = 4004, 4002, 5002
SWITCH = Path("/tmp/no-relay")  # noqa: S108 - inside a container of its own


async def main() -> None:
    """Run until the process is ended."""
    # as a gateway does at its start, in the directory that it is told
    shutil.copyfile("/srv/launcher.log", Path(os.environ["TWS_SETTINGS_PATH"], "launcher.log"))
    gateway = Gateway("ok", host="127.0.0.1", port=GATEWAY)
    async with gateway, control(gateway, CONTROL):
        while True:
            listener = await asyncio.start_server(carry, "0.0.0.0", RELAY)
            await until(there=True)
            listener.close()  # what it carries goes on, as a forked socat does
            await until(there=False)


async def until(*, there: bool) -> None:
    """Wait for the switch to be there, or gone."""
    while await asyncio.to_thread(SWITCH.exists) is not there:  # noqa: ASYNC110 - a file has no event
        await asyncio.sleep(0.2)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Both ways until either ends."""
    with contextlib.suppress(OSError):
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", GATEWAY)
        await asyncio.wait(
            [asyncio.ensure_future(copy(reader, inner_writer)), asyncio.ensure_future(copy(inner_reader, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        inner_writer.close()
    writer.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes one way, until the end of the stream."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


if __name__ == "__main__":
    asyncio.run(main())
