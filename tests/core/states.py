"""Reports and states by the dozen, for tests of what is made from them."""

from exporter.history import TargetState, fold
from exporter.model import (
    Cause,
    Farm,
    FarmKind,
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
from exporter.verdict import judge

T0 = 1_795_226_400.0  # unix seconds
TARGET = Target("paper", "127.0.0.1", 7497, Mode.PAPER)

PORT_OK = LayerResult(
    Layer.PORT, Outcome.OK, 0.00031, stages=((Stage.RESOLVE, 0.0), (Stage.CONNECT, 0.00031)), stamp=Stamp.KERNEL
)
HANDSHAKE_OK = LayerResult(
    Layer.HANDSHAKE,
    Outcome.OK,
    0.0042,
    stages=((Stage.REPLY, 0.0042),),
    stamp=Stamp.KERNEL,
    server=ServerHello(226, "20261121 02:00:00 EST"),
)
SESSION_OK = LayerResult(
    Layer.SESSION,
    Outcome.OK,
    0.0063,
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
NOT_REACHED = LayerResult(Layer.HANDSHAKE, Outcome.SKIPPED)

HEALTHY = (PORT_OK, HANDSHAKE_OK)
TRADING = (*HEALTHY, SESSION_OK)


def port_failed(cause: Cause, outcome: Outcome = Outcome.REFUSED) -> tuple[LayerResult, ...]:
    """The results of a tick that got no connection."""
    return (LayerResult(Layer.PORT, outcome, 0.001, Stage.CONNECT, cause), NOT_REACHED)


def handshake_failed(cause: Cause, outcome: Outcome = Outcome.TIMEOUT) -> tuple[LayerResult, ...]:
    """The results of a tick that got a connection and no answer that counts."""
    return (PORT_OK, LayerResult(Layer.HANDSHAKE, outcome, 5.0, Stage.REPLY, cause))


def report(
    results: tuple[LayerResult, ...], at: float = T0, target: Target = TARGET, fault: str | None = None
) -> Report:
    """A report of one tick."""
    return Report(target.name, at, 0.005, results, connections=1, fault=fault)


def grown(*ticks: tuple[LayerResult, ...], target: Target = TARGET) -> TargetState:
    """The state after one tick of each of these results, an interval apart."""
    state = TargetState(target)
    for number, results in enumerate(ticks):
        made = report(results, T0 + number * target.interval, target)
        state = fold(state, made, judge(made, target))
    return state
