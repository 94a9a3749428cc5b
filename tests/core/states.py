"""Reports and states by the dozen, for tests of what is made from them."""

from typing import Any

from exporter.model import (
    Cause,
    Farm,
    FarmKind,
    InstalledVersion,
    Layer,
    LayerResult,
    Mode,
    Outcome,
    Report,
    ServerHello,
    SessionFacts,
    Stage,
    Stamp,
    Target,
)
from exporter.state.fold_client import fold_client
from exporter.state.target import TargetState, fold
from exporter.verdict.client_blame import ClientProbe
from exporter.verdict.rules import judge

T0 = 1_795_226_400.0  # unix seconds
TARGET = Target("paper", "127.0.0.1", 7497, Mode.PAPER)

PORT_OK = LayerResult(
    layer=Layer.PORT,
    outcome=Outcome.OK,
    seconds=0.00031,
    stages=((Stage.RESOLVE, 0.0), (Stage.CONNECT, 0.00031)),
    stamp=Stamp.KERNEL,
)
HANDSHAKE_OK = LayerResult(
    layer=Layer.HANDSHAKE,
    outcome=Outcome.OK,
    seconds=0.0042,
    stages=((Stage.REPLY, 0.0042),),
    stamp=Stamp.KERNEL,
    server=ServerHello(226, "20261121 02:00:00 EST"),
)
SESSION_OK = LayerResult(
    layer=Layer.SESSION,
    outcome=Outcome.OK,
    seconds=0.0063,
    stages=(
        (Stage.START_API, 0.0021),
        (Stage.MANAGED_ACCOUNTS, 0.0021),
        (Stage.NEXT_VALID_ID, 0.0022),
        (Stage.CURRENT_TIME, 0.0041),
    ),
    stamp=Stamp.KERNEL,
    session=SessionFacts(
        client_id=9001,
        accounts=("DU1234567", "DU7654321"),
        next_valid_id=217,
        clock_offset=-0.25,
        upstream=True,
        farms=(
            Farm(FarmKind.DEFINITIONS, "secdefil", connected=True),
            Farm(FarmKind.HISTORICAL, "ushmds", connected=True),
            Farm(FarmKind.MARKET, "usfarm", connected=True),
        ),
        conflicts=1,
    ),
)
INSYNC = InstalledVersion("ib_insync", "0.9.86", "3.13.0")
NAUTILUS = InstalledVersion("nautilus_trader", "1.220.0", "3.12.4")
CLIENT_OK = LayerResult(
    layer=Layer.CLIENT,
    outcome=Outcome.OK,
    seconds=0.043,
    detail="1 managed account, EUR.USD qualified",
    stages=((Stage.CONNECTED, 0.011), (Stage.READY, 0.004), (Stage.TIME, 0.002), (Stage.CONTRACT, 0.026)),
    server=ServerHello(176, ""),
    client="ib_insync",
    installed=INSYNC,
)
CLIENT_HUNG = LayerResult(
    layer=Layer.CLIENT,
    outcome=Outcome.TIMEOUT,
    seconds=15.0,
    stage=Stage.CONNECT,
    cause=None,
    detail="the whole reply to the hello arrived, and the library still waits for it",
    client="nautilus",
    installed=NAUTILUS,
)
NOT_REACHED = LayerResult(layer=Layer.HANDSHAKE, outcome=Outcome.SKIPPED)

HEALTHY = (PORT_OK, HANDSHAKE_OK)
TRADING = (*HEALTHY, SESSION_OK)


def port_failed(cause: Cause, outcome: Outcome = Outcome.REFUSED) -> tuple[LayerResult, ...]:
    """The results of a tick that got no connection."""
    return (
        LayerResult(layer=Layer.PORT, outcome=outcome, seconds=0.001, stage=Stage.CONNECT, cause=cause),
        NOT_REACHED,
    )


def handshake_failed(cause: Cause, outcome: Outcome = Outcome.TIMEOUT) -> tuple[LayerResult, ...]:
    """The results of a tick that got a connection and no answer that counts."""
    return (PORT_OK, LayerResult(layer=Layer.HANDSHAKE, outcome=outcome, seconds=5.0, stage=Stage.REPLY, cause=cause))


def report(
    results: tuple[LayerResult, ...], at: float = T0, target: Target = TARGET, fault: str | None = None
) -> Report:
    """A report of one tick."""
    return Report(target=target.name, at=at, seconds=0.005, results=results, connections=1, fault=fault)


def trial(result: LayerResult, at: float = T0 + 5.0, interval: float = 60.0, **more: Any) -> ClientProbe:
    """A client's result, from a try between two answers of the gateway."""
    return ClientProbe.of(result, at, interval, before=report(HEALTHY, at - 1.0), connections=1, **more)


def tried(state: TargetState, *results: LayerResult, at: float = T0 + 5.0) -> TargetState:
    """The state after these clients were tried."""
    for result in results:
        state = fold_client(state, trial(result, at))
    return state


def grown(*ticks: tuple[LayerResult, ...], target: Target = TARGET) -> TargetState:
    """The state after one tick of each of these results, an interval apart."""
    state = TargetState(target)
    for number, results in enumerate(ticks):
        made = report(results, T0 + number * target.interval, target)
        state = fold(state, made, judge(made, target))
    return state
