"""Reports and states by the dozen, for tests of what is made from them."""

from dataclasses import replace
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
    Verdict,
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


# --- states as `fold` makes them, one for each verdict that the wire can give

NOW = T0 + 20


def no_port(
    outcome: Outcome, cause: Cause, seconds: float, stage: Stage = Stage.CONNECT, detail: str = ""
) -> tuple[LayerResult, ...]:
    return (LayerResult(layer=Layer.PORT, outcome=outcome, seconds=seconds, stage=stage, cause=cause, detail=detail),)


def no_reply(outcome: Outcome, cause: Cause, seconds: float, detail: str = "") -> tuple[LayerResult, ...]:
    return PORT_OK, LayerResult(
        layer=Layer.HANDSHAKE,
        outcome=outcome,
        seconds=seconds,
        stage=Stage.REPLY,
        cause=cause,
        detail=detail,
        stages=((Stage.HELLO, 0.00003),),
    )


# How each verdict that the wire gives comes about.
CASES: dict[Verdict, tuple[LayerResult, ...]] = {
    Verdict.NAME_UNRESOLVED: no_port(
        Outcome.UNAVAILABLE, Cause.NAME_UNKNOWN, 0.02, Stage.RESOLVE, "Name or service not known"
    ),
    Verdict.UNREACHABLE: no_port(Outcome.TIMEOUT, Cause.CONNECT_TIMEOUT, 5.0),
    Verdict.PORT_CLOSED: no_port(Outcome.REFUSED, Cause.CONNECT_REFUSED, 0.0001),
    Verdict.CLOSED_BEFORE_HANDSHAKE: no_reply(Outcome.CLOSED, Cause.EOF, 0.0007),
    Verdict.API_SILENT: no_reply(Outcome.TIMEOUT, Cause.SILENCE, 5.0),
    Verdict.NOT_TWS_API: no_reply(Outcome.GARBLED, Cause.HTTP, 0.001, 'it said "HTTP/1.1 400 Bad Request\\r\\n"'),
    Verdict.SERVER_REDIRECT: no_reply(Outcome.REJECTED, Cause.REDIRECT, 0.001, 'sent us to "gw2.example:7497"'),
    Verdict.SERVER_TOO_OLD: no_reply(
        Outcome.REJECTED, Cause.TOO_OLD, 0.001, "server version 76, and we offered 100 to 226"
    ),
    Verdict.SESSION_REFUSED: no_reply(Outcome.REJECTED, Cause.API_ERROR, 0.001, "error 507: Bad Message Length"),
    Verdict.SLOW: (PORT_OK, replace(HANDSHAKE_OK, seconds=2.31)),
    Verdict.HEALTHY: HEALTHY,
}


def target(name: str, port: int = 7497) -> Target:
    return Target(name, "127.0.0.1", port, Mode.PAPER)


def report_of(name: str, results: tuple[LayerResult, ...], at: float = NOW - 5, fault: str | None = None) -> Report:
    seconds = sum(result.seconds or 0.0 for result in results)
    return replace(report(results, at, target(name), fault), seconds=seconds, connections=len(results) and 1)


def after(state: TargetState, *past: tuple[float, tuple[LayerResult, ...]]) -> TargetState:
    """The state after reports at so many seconds before NOW."""
    for ago, results in past:
        made = report_of(state.target.name, results, NOW - ago)
        state = fold(state, made, judge(made, state.target))
    return state


def in_verdict(verdict: Verdict, name: str | None = None) -> TargetState:
    """A state that has been healthy for an hour and then came to this verdict (or never was probed)."""
    state = TargetState(target(name or verdict.value))
    if verdict is Verdict.UNKNOWN:
        return state
    state = after(state, *((ago, CASES[Verdict.HEALTHY]) for ago in (4000, 3985, 3970)))
    if verdict is Verdict.PROBE_BROKEN:
        broken = report_of(state.target.name, (), fault="OSError: [Errno 24] Too many open files")
        return fold(state, broken, judge(broken, state.target))
    return after(state, *((ago, CASES[verdict]) for ago in (725, 20, 5)))


def every_verdict() -> list[TargetState]:
    return [in_verdict(verdict) for verdict in (*CASES, Verdict.PROBE_BROKEN, Verdict.UNKNOWN)]
