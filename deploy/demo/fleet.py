"""The simulated gateways of the demo, all in one process, on fixed ports: those of demo.yaml beside this file.

    fleet.py             every gateway plays its faults, as in `ibkr-exporter demo`
    fleet.py --steady    every gateway is well until told otherwise (POST /mode on its control port, its port plus 1000)

It runs in the exporter's image.
"""

import argparse
import asyncio
import signal
import sys
from contextlib import AsyncExitStack

from exporter.cli.demo import FLEET, SETUP
from exporter.simulator.gateway import Gateway
from exporter.simulator.http_control import control
from exporter.simulator.timeline import play_timeline, read_timeline

FIRST_PORT = 7001
CONTROL_OFFSET = 1000


def main() -> None:
    """Run the fleet until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steady", action="store_true", help="every gateway is well until told otherwise")
    asyncio.run(run(steady=parser.parse_args().steady))


async def run(*, steady: bool) -> None:
    """Every gateway of the fleet, each with its control port on the loopback address."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with AsyncExitStack() as stack:
        players = []
        for port, extra in enumerate(FLEET, FIRST_PORT):
            turns = read_timeline("0s:ok" if steady else extra.timeline)
            gateway = Gateway(turns[0].mode, host="0.0.0.0", port=port, setup=SETUP)  # noqa: S104 - inside a container
            await stack.enter_async_context(gateway)
            await stack.enter_async_context(control(gateway, port + CONTROL_OFFSET))
            players.append(asyncio.create_task(play_timeline(turns, gateway.set_mode), name=f"play {extra.name}"))
            sys.stdout.write(f"{extra.name} on port {port}: {'well' if steady else extra.timeline}\n")
        sys.stdout.flush()
        await ended.wait()
        for player in players:
            player.cancel()
        await asyncio.gather(*players, return_exceptions=True)


if __name__ == "__main__":
    main()
