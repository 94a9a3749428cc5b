"""A script of modes over time, in one line: `0s:ok,30s:silent,2m:ok,3m:repeat`.

Each entry is a moment, counted from the start, and a mode; `repeat` begins again. Shared by the command and the demo.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from exporter.simulator.modes import find_mode

REPEAT = "repeat"
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_ENTRY = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|)\s*:\s*([\w-]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ModeChange:
    """At so many seconds from the start, this mode; `repeat` instead of one begins again."""

    at: float
    mode: str


def read_timeline(text: str) -> tuple[ModeChange, ...]:
    """The turns of a timeline. Raises ValueError that names the entry which is wrong."""
    turns: list[ModeChange] = []
    for entry in text.split(","):
        match = _ENTRY.fullmatch(entry.strip())
        if match is None:
            msg = f"{entry.strip()!r} is not of the form 30s:silent"
            raise ValueError(msg)
        at = float(match[1]) * _SECONDS[match[2]]
        mode = REPEAT if match[3] == REPEAT else find_mode(match[3]).name
        if turns and (at <= turns[-1].at or turns[-1].mode == REPEAT):
            msg = f"{entry.strip()!r} does not come after {turns[-1].at:g}s:{turns[-1].mode}"
            raise ValueError(msg)
        turns.append(ModeChange(at, mode))
    if turns[0].mode == REPEAT:
        msg = "a timeline cannot start with repeat"
        raise ValueError(msg)
    return tuple(turns)


async def play_timeline(
    changes: Sequence[ModeChange],
    set_mode: Callable[[str], Awaitable[None]],
    *,
    now: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Set each mode at its moment; returns after the last, or never if the timeline repeats. `now` is in seconds."""
    now = now or asyncio.get_running_loop().time
    start = now()
    while changes:
        for change in changes:
            await sleep(max(0.0, start + change.at - now()))
            if change.mode == REPEAT:
                start += change.at
                break
            await set_mode(change.mode)
        else:
            return
