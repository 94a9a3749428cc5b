"""States as `fold` makes them, one for each verdict that the wire can give."""

from dataclasses import replace

from exporter.model import Cause, Layer, LayerResult, Mode, Outcome, Report, ServerHello, Stage, Stamp, Target, Verdict
from exporter.state.target import TargetState, fold
from exporter.verdict.rules import judge

NOW = 1795226420.0  # 2026-11-21T02:00:20Z

PORT = LayerResult(
    layer=Layer.PORT,
    outcome=Outcome.OK,
    seconds=0.00031,
    detail="127.0.0.1",
    stages=((Stage.RESOLVE, 0.00004), (Stage.CONNECT, 0.00027)),
)
HANDSHAKE = LayerResult(
    layer=Layer.HANDSHAKE,
    outcome=Outcome.OK,
    seconds=0.0042,
    stages=((Stage.HELLO, 0.00003), (Stage.REPLY, 0.0042)),
    stamp=Stamp.KERNEL,
    server=ServerHello(226, "20261121 02:00:00 Greenwich Mean Time"),
)


def no_port(
    outcome: Outcome, cause: Cause, seconds: float, stage: Stage = Stage.CONNECT, detail: str = ""
) -> tuple[LayerResult, ...]:
    return (LayerResult(layer=Layer.PORT, outcome=outcome, seconds=seconds, stage=stage, cause=cause, detail=detail),)


def no_reply(outcome: Outcome, cause: Cause, seconds: float, detail: str = "") -> tuple[LayerResult, ...]:
    return PORT, LayerResult(
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
    Verdict.SLOW: (PORT, replace(HANDSHAKE, seconds=2.31)),
    Verdict.HEALTHY: (PORT, HANDSHAKE),
}


def target(name: str, port: int = 7497) -> Target:
    return Target(name, "127.0.0.1", port, Mode.PAPER)


def report(name: str, results: tuple[LayerResult, ...], at: float = NOW - 5, fault: str | None = None) -> Report:
    return Report(
        target=name,
        at=at,
        seconds=sum(result.seconds or 0.0 for result in results),
        results=results,
        connections=len(results) and 1,
        fault=fault,
    )


def after(state: TargetState, *past: tuple[float, tuple[LayerResult, ...]]) -> TargetState:
    """The state after reports at so many seconds before NOW."""
    for ago, results in past:
        made = report(state.target.name, results, NOW - ago)
        state = fold(state, made, judge(made, state.target))
    return state


def in_verdict(verdict: Verdict, name: str | None = None) -> TargetState:
    """A state that has been healthy for an hour and then came to this verdict (or never was probed)."""
    state = TargetState(target(name or verdict.value))
    if verdict is Verdict.UNKNOWN:
        return state
    state = after(state, *((ago, CASES[Verdict.HEALTHY]) for ago in (4000, 3985, 3970)))
    if verdict is Verdict.PROBE_BROKEN:
        broken = report(state.target.name, (), fault="OSError: [Errno 24] Too many open files")
        return fold(state, broken, judge(broken, state.target))
    return after(state, *((ago, CASES[verdict]) for ago in (725, 20, 5)))


def every_verdict() -> list[TargetState]:
    return [in_verdict(verdict) for verdict in (*CASES, Verdict.PROBE_BROKEN, Verdict.UNKNOWN)]
