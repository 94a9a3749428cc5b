"""Simulated gateways that can be paused, each in a process of its own: a stopped process answers nothing, and all when it goes on.

    pausing.py serve PORT...          until SIGTERM
    pausing.py stop|cont PORT...      SIGSTOP or SIGCONT to these; prints the unix time
    pausing.py pause SECONDS PORT...  both, with so much time between them

A frozen gateway is one that is paused for long. The kernel goes on to accept connections for it, as it does for a real one.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from exporter.simulator.gateway import Gateway

PIDS = Path(os.environ.get("PAUSING_PIDS", "/tmp"))  # noqa: S108 - in a container of its own
SIGNALS = {"stop": signal.SIGSTOP, "cont": signal.SIGCONT}


def main() -> None:
    """Serve, or send a signal."""
    command, *ports = sys.argv[1:]
    if command == "serve":
        serve([int(port) for port in ports])
    elif command == "pause":
        seconds, *ports = ports
        send("stop", ports)
        time.sleep(float(seconds))
        send("cont", ports)
    else:
        send(command, ports)
        sys.stdout.write(f"{time.time()}\n")


def send(command: str, ports: list[str]) -> None:
    """A signal to the gateways on these ports."""
    for port in ports:
        os.kill(int((PIDS / f"{port}.pid").read_text()), SIGNALS[command])


def serve(ports: list[int]) -> None:
    """A child for each port; all end with this process."""
    children = []
    for port in ports:
        child = os.fork()
        if child == 0:
            asyncio.run(run(port))
            os._exit(0)
        (PIDS / f"{port}.pid").write_text(str(child))
        children.append(child)

    def end(*_: object) -> None:
        for child in children:
            os.kill(child, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    while True:
        signal.pause()


async def run(port: int) -> None:
    """One gateway, until the process is ended."""
    async with Gateway("ok", host="0.0.0.0", port=port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
