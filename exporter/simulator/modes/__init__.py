"""What the simulated gateway can do: the table of its modes.

A connection has up to five moments, and a mode says what happens at each. What a mode does not name goes as in `ok`:

    port      is the port listening at all?
    accept    the connection was accepted, nothing was sent yet
    hello     the whole hello was received
    start     the whole startApi was received
    requests  anything after that

A mode counts at the moment at which something happens, so a change of mode reaches live sessions too.
No I/O here: gateway.py and connection.py play what the table says.
"""

from collections.abc import Mapping
from types import MappingProxyType

from exporter.model import Verdict
from exporter.simulator.modes.behaviour import GatewayMode
from exporter.simulator.modes.handshake import HANDSHAKE_MODES
from exporter.simulator.modes.session import SESSION_MODES

_OK = GatewayMode("ok", "everything works", Verdict.HEALTHY)
_CHANGING = (
    GatewayMode(
        "freeze_after", "works for --freeze-after seconds, then is `silent`", Verdict.API_SILENT, changing=True
    ),
    GatewayMode(
        "flapping", "`ok` and `refused` in turn, --flap-period seconds each", Verdict.PORT_CLOSED, changing=True
    ),
)

MODES: Mapping[str, GatewayMode] = MappingProxyType(
    {mode.name: mode for mode in (_OK, *HANDSHAKE_MODES, *SESSION_MODES, *_CHANGING)}
)


def find_mode(name: str) -> GatewayMode:
    """The mode of that name; hyphens count as underscores. Raises ValueError that names the nearest thing to do."""
    mode = MODES.get(name.strip().lower().replace("-", "_"))
    if mode is None:
        msg = f"no mode is called {name!r}; the modes are {', '.join(MODES)}"
        raise ValueError(msg)
    return mode
