"""From the lines of a driver to the result of a probe. No processes here, no clock.

    {"stage": "connected", "seconds": 0.012, "server_version": 176, "exchange": [["sent", "hello", 0.001, 1], ...]}
    {"end": "timeout", "stage": "ready", "cause": "silence", "detail": "...", "code": null, "seconds": 14.2}
    {"request": "positions"}                               sent within the account download
    {"closed": true}

The lines of a driver that was killed show how far it got: it hung in the next stage.
"""

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from exporter.model import (
    DOWNLOAD_STAGES,
    Cause,
    Direction,
    Exchanged,
    Hello,
    Layer,
    LayerResult,
    Outcome,
    ServerHello,
    Stage,
)

STAGES = (Stage.IMPORTED, Stage.CONNECTED, Stage.READY, Stage.TIME, Stage.ACCOUNTS, Stage.CONTRACT)
# Where a probe ended is named by what was going on there: `diagnose --json` calls the library's connect so.
ENDED_IN = {Stage.CONNECTED: Stage.CONNECT}
MAX_TEXT = 400
LAST_LINES = 3  # of what a library printed, in evidence
MAX_NAME = 40
MAX_EXCHANGED = 16

Line = Mapping[str, Any]
Word = TypeVar("Word", Outcome, Stage, Cause, Direction)


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a probe's process ended: killed by us at the deadline, or by itself with a wait status (None: unknown).

    `imported`: the library was imported before the process was forked.
    """

    killed: bool
    status: int | None = None
    imported: bool = True


def read_line(raw: bytes) -> Line | None:
    """One line as an object; None for anything else that a library may have written there."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def find_end(lines: Sequence[Line]) -> Line | None:
    """The line that ends a probe, if it came."""
    return next((line for line in lines if isinstance(line.get("end"), str)), None)


def read_result(
    client: str, lines: Sequence[Line], elapsed: float, exit_status: ExitStatus, printed: str
) -> LayerResult:
    """The result of a probe that took `elapsed` seconds, from what its process wrote before it ended or was killed.

    Whatever happens before the import is done says nothing about the target.
    """
    stages = tuple(_stages(lines))
    version = next((line["server_version"] for line in lines if isinstance(line.get("server_version"), int)), None)
    end = find_end(lines)
    unavailable_text = next((line["unavailable"] for line in lines if "unavailable" in line), None)
    missing = _requested(lines) or _next_stage(stages, imported=exit_status.imported)
    outcome, stage, cause, detail = _ending(end, unavailable_text, exit_status, missing, printed)
    seconds = end.get("seconds") if end is not None else elapsed
    code = end.get("code") if end is not None else None
    if outcome is Outcome.OK and not detail:
        accounts = next((line["accounts"] for line in lines if isinstance(line.get("accounts"), int)), 0)
        downloaded = ", account downloaded" if any(name in DOWNLOAD_STAGES for name, _ in stages) else ""
        detail = f"{accounts} managed account{'s' if accounts != 1 else ''}{downloaded}, EUR.USD qualified"
    return LayerResult(
        layer=Layer.CLIENT,
        outcome=outcome,
        seconds=float(seconds) if isinstance(seconds, int | float) else elapsed,
        stage=None if outcome is Outcome.OK else ENDED_IN.get(stage, stage),
        cause=cause,
        detail=detail[:MAX_TEXT],
        stages=stages,
        server=ServerHello(version, "") if version is not None else None,
        client=client,
        code=code if isinstance(code, int) else None,
        exchange=_exchange(lines),
        hello=_hello(end),
    )


def unavailable(client: str, detail: str, stage: Stage | None = None) -> LayerResult:
    """A probe that could not be done, which says nothing about the target."""
    return LayerResult(
        layer=Layer.CLIENT, outcome=Outcome.UNAVAILABLE, stage=stage, detail=detail[:MAX_TEXT], client=client
    )


def describe_status(status: int | None) -> str:
    """A wait status in words."""
    if status is None:
        return "ended"
    if status & 0x7F:
        number = status & 0x7F
        name = next((each.name for each in signal.Signals if each.value == number), f"signal {number}")
        return f"killed by {name}"
    return f"exited with {status >> 8}"


def last_lines(printed: str) -> str:
    """The last lines that a library printed, for evidence."""
    return " | ".join([line.strip() for line in printed.splitlines() if line.strip()][-LAST_LINES:])


def _ending(
    end: Line | None, unavailable_text: object, exit_status: ExitStatus, missing: Stage, printed: str
) -> tuple[Outcome, Stage, Cause | None, str]:
    if end is not None:
        outcome = _word(Outcome, end["end"]) or Outcome.CRASHED
        return (
            outcome,
            _word(Stage, end.get("stage")) or missing,
            _word(Cause, end.get("cause")),
            str(end.get("detail") or ""),
        )
    if unavailable_text is not None:
        return Outcome.UNAVAILABLE, Stage.IMPORTED, None, str(unavailable_text)
    if exit_status.killed and exit_status.status in (None, signal.SIGKILL):
        outcome, detail = Outcome.TIMEOUT, "it hung and was killed at the deadline"
    elif exit_status.status == signal.SIGKILL:  # no library does that to itself
        outcome, detail = Outcome.UNAVAILABLE, "killed by SIGKILL, and not by us: is there enough memory?"
    else:
        text = last_lines(printed)
        outcome, detail = Outcome.CRASHED, describe_status(exit_status.status) + (f"; it said: {text}" if text else "")
    return Outcome.UNAVAILABLE if missing is Stage.IMPORTED else outcome, missing, None, detail


def _stages(lines: Sequence[Line]) -> list[tuple[Stage, float]]:
    reached = []
    for line in lines:
        stage, seconds = _word(Stage, line.get("stage")), line.get("seconds")
        if stage in (*STAGES, *DOWNLOAD_STAGES) and "end" not in line and isinstance(seconds, int | float):
            reached.append((stage, float(seconds)))
    return reached


def _hello(end: Line | None) -> Hello | None:
    match end:
        case {"hello": [int(minimum), int(maximum)]}:
            return Hello(minimum, maximum)
    return None


def _exchange(lines: Sequence[Line]) -> tuple[Exchanged, ...]:
    """The messages of the latest line that lists them: a probe that was killed has no end line."""
    latest: list[object] = next(
        (line["exchange"] for line in reversed(lines) if isinstance(line.get("exchange"), list)), []
    )
    return tuple(exchanged for entry in latest[-MAX_EXCHANGED:] if (exchanged := _exchanged(entry)) is not None)


def _exchanged(entry: object) -> Exchanged | None:
    match entry:
        case [str(direction), str(name), int() | float() as seconds, int(count)]:
            way = _word(Direction, direction)
            return Exchanged(way, name[:MAX_NAME], float(seconds), count) if way else None
    return None


def _requested(lines: Sequence[Line]) -> Stage | None:
    """The request of the account download that the library sent last, unless a later stage was reached."""
    if any(line.get("stage") == Stage.CONTRACT for line in lines):
        return None
    return next((_word(Stage, line["request"]) for line in reversed(lines) if "request" in line), None)


def _next_stage(stages: Sequence[tuple[Stage, float]], *, imported: bool) -> Stage:
    reached = {stage for stage, _ in stages}
    return next((stage for stage in STAGES[imported:] if stage not in reached), Stage.CLOSE)


def _word(words: type[Word], text: object) -> Word | None:
    try:
        return words(str(text))
    except ValueError:
        return None
