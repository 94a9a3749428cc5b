"""A simulated TWS or IB Gateway on a real port, with a mode that says how it works or fails.

    async with Gateway("ok") as gateway:
        ...connect to gateway.port...
        await gateway.set_mode("silent")
        gateway.recorder.last()[0].ids  # what the last client sent

Every mode is a row of modes/; the gateway's version, accounts and clock are in its GatewaySettings.
"""

import asyncio
from typing import Self

from exporter.simulator.connection import ClientConnection, SharedState
from exporter.simulator.listener import Listener
from exporter.simulator.modes import MODES, find_mode
from exporter.simulator.modes.behaviour import GatewayMode, PortBehaviour
from exporter.simulator.recorder import KEPT_CONNECTIONS, Recorder
from exporter.simulator.settings import GatewaySettings
from exporter.simulator.steps import Ending

DEFAULT_SETUP = GatewaySettings()


class Gateway:
    """One simulated gateway. Not started, or stopped, it has no port; it may be started again."""

    def __init__(
        self,
        mode: str = "ok",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        setup: GatewaySettings = DEFAULT_SETUP,
        kept: int = KEPT_CONNECTIONS,
    ) -> None:
        """Nothing is opened yet. `kept` bounds the connection records. Raises ValueError for an unknown mode."""
        self.host = host
        self.setup = setup
        self.recorder = Recorder(kept, setup.permitted)
        self._requested = find_mode(mode)
        find_mode(setup.flap_mode)
        self._wanted_port = port
        self._shared: SharedState | None = None
        self._listener: Listener | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port, also while it refuses connections. Raises RuntimeError before the start."""
        if self._listener is None:
            msg = "the gateway is not started"
            raise RuntimeError(msg)
        return self._listener.port

    @property
    def mode(self) -> str:
        """The mode that was asked for."""
        return self._requested.name

    @property
    def acting(self) -> str:
        """The mode that is played at the moment: another than the one asked for if that changes by itself."""
        return self._shared.mode.name if self._shared is not None else self._requested.name

    async def start(self) -> None:
        """Take the port and begin to play. Raises OSError if the port is in use."""
        loop = asyncio.get_running_loop()
        shared = SharedState(self.setup, self._requested, loop, self.recorder)
        self._listener = Listener(
            loop, self.host, self._wanted_port, lambda sock, peer: ClientConnection(shared, sock, peer)
        )
        self._shared = shared
        try:
            await self.set_mode(self._requested.name)
        except ValueError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End every connection and give the port back."""
        self._stop_timer()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._shared is not None:
            for connection in tuple(self._shared.connections):
                connection.socket.end(Ending.DROP)
            self._shared = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def set_mode(self, name: str) -> None:
        """Play another mode from now on, to live connections too. Raises ValueError for a mode that cannot be played.

        When this returns, the port is as the mode wants it. Before the start it sets the first mode.
        """
        mode = find_mode(name)
        if self._listener is None:
            self._requested = mode
            return
        self._stop_timer()
        self._act(MODES["ok"] if mode.changing else mode)
        self._requested = mode
        if mode.name == "freeze_after":
            self._after(self.setup.freeze_after, MODES["silent"])
        elif mode.name == "flapping":
            self._after(self.setup.flap_period, find_mode(self.setup.flap_mode))

    def _act(self, mode: GatewayMode) -> None:
        """Play this mode: first the port, so that no connection is accepted in the mode before."""
        if self._listener is None or self._shared is None:
            return
        if mode.port is PortBehaviour.OPEN:
            self._listener.open()
        elif mode.port is PortBehaviour.FULL:
            self._listener.fill()
        else:
            self._listener.refuse()
        self._shared.change(mode)

    def _after(self, seconds: float, mode: GatewayMode) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._turn, mode)

    def _turn(self, mode: GatewayMode) -> None:
        """The moment at which a mode changes by itself; flapping turns back later."""
        before = self.acting
        self._act(mode)
        if self._requested.name == "flapping":
            self._after(self.setup.flap_period, MODES[before])

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
