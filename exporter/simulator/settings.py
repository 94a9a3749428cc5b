"""What the simulated gateway is: its version, accounts, farms and clock. What it does wrong is in modes/."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from exporter.protocol.wire import Request


class FarmCodes(Enum):
    """A kind of data farm, with the codes that announce it as broken and as working (docs/facts.md: codes)."""

    MARKET = (2103, 2104, "Market data farm connection is {}:{}")
    HISTORICAL = (2105, 2106, "HMDS data farm connection is {}:{}")
    DEFINITIONS = (2157, 2158, "Sec-def data farm connection is {}:{}")


@dataclass(frozen=True, slots=True)
class SimulatedFarm:
    """One of IBKR's data farms; clients get its state in a notice."""

    kind: FarmCodes
    name: str

    def notice(self, *, broken: bool) -> tuple[int, str]:
        """The code and the text of the notice, the farm's name after the last colon."""
        code_broken, code_working, text = self.kind.value
        return (code_broken if broken else code_working), text.format("broken" if broken else "OK", self.name)


FARMS = (
    SimulatedFarm(FarmCodes.MARKET, "usfarm.nj"),
    SimulatedFarm(FarmCodes.MARKET, "usfarm"),
    SimulatedFarm(FarmCodes.HISTORICAL, "euhmds"),
    SimulatedFarm(FarmCodes.HISTORICAL, "fundfarm"),
    SimulatedFarm(FarmCodes.HISTORICAL, "ushmds"),
    SimulatedFarm(FarmCodes.DEFINITIONS, "secdefil"),
)


@dataclass(frozen=True, slots=True)
class Holding:
    """A stock in the account: what positions, orders and executions are about."""

    symbol: str = "IBM"
    contract_id: int = 8314
    exchange: str = "NYSE"
    position: str = "100"
    price: float = 232.5
    cost: float = 190.25


def _unix_time() -> float:
    """By the clock that the process has now: a test may have turned it since this module was imported."""
    return time.time()


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The simulated gateway. Durations and offsets are in seconds.

    The hello's time text is `clock()` moved by `utc_offset` with `zone_text` behind it, whatever that says: real
    gateways send zone names of any kind. `clock_offset` counts in the mode `clock_off` only, `slow` in `slow`,
    `freeze_after` in `freeze_after`, `flap_period` and `flap_mode` in `flapping`. `thinking` gives the seconds that the
    next request for the time takes.
    """

    server_version: int = 226
    accounts: tuple[str, ...] = ("DU1234567",)
    other_accounts: tuple[str, ...] = ("DU7654321",)  # in the mode `wrong_account`
    taken_client_ids: frozenset[int] = frozenset()  # refused with 326, as if other programs used them
    next_order_id: int = 1
    connections: int = 1  # served at a time, in the mode `one_connection`
    slow: float = 2.0
    byte_pause: float = 0.01  # between the bytes of the reply, in the mode `bytewise`
    split_pause: float = 0.3
    freeze_after: float = 60.0
    flap_period: float = 15.0
    flap_mode: str = "refused"
    farms: tuple[SimulatedFarm, ...] = FARMS
    broken_farm: str = "usfarm"
    zone_text: str = "EST"
    utc_offset: float = -5 * 3600.0
    clock_offset: float = 90.0
    redirect_to: str = "127.0.0.1:4000"
    holdings: tuple[Holding, ...] = (Holding(),)
    balance: str = "1000000.00"
    api_settings: tuple[tuple[int, int | str], ...] = (
        (1, 0),
        (8, 4002),
        (18, 7),
        (26, 0),
        (27, 1),
        (35, 0),
    )  # by number
    trusted_addresses: tuple[str, ...] = ("127.0.0.1",)
    permitted: frozenset[int] = frozenset(Request)  # messages that do not count as forbidden
    clock: Callable[[], float] = _unix_time
    thinking: Callable[[], float] = float

    def time_text(self, now: float) -> str:
        """The second field of the reply to the hello, for example `20231021 13:28:15 EST`."""
        local = datetime.fromtimestamp(now + self.utc_offset, UTC)
        return f"{local:%Y%m%d %H:%M:%S} {self.zone_text}"
