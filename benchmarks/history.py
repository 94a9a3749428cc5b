"""What the full history of a fleet takes: a day of trends and as many reports as are kept, folded without sockets.

Each target gets its reports from the bytes that a gateway sends, parsed for each as a probe does, so that no two share
an object that two probes would not share. Prints the bytes of a target by type, and what the process grew by.
"""

import argparse
import gc
import json
import logging
import random
import sys
from collections import Counter
from types import FunctionType, ModuleType

import structlog
from many_gateways import OPENING, VERSION
from parts import address

from exporter.model import Layer, LayerResult, Mode, Outcome, Report, ServerHello, SessionFacts, Stage, Stamp, Target
from exporter.model.copies import replace
from exporter.protocol.messages import Inbox
from exporter.protocol.notices import apply_message
from exporter.service.states import TargetStates
from exporter.state.falls import KEPT_CONNECTIONS
from exporter.state.target import TargetState
from exporter.state.trend import DAY, WIDTH, Trend
from exporter.state.watch_events import WatchEvent, WatchEventKind

AT = 1_795_219_200.0
SPACING = 60.0  # seconds between two reports
SHARED = (type, FunctionType, ModuleType)
REPORTS = KEPT_CONNECTIONS + 1  # more than reports are kept


def facts(client_id: int) -> SessionFacts:
    """What one session has reported, parsed from its bytes."""
    found = SessionFacts(client_id=client_id)
    for message in Inbox(VERSION).feed(OPENING):
        found = apply_message(found, message)
    return replace(found, clock_offset=random.random())  # noqa: S311 - no secret


def report(target: Target, at: float) -> Report:
    """A healthy report as a probe makes it."""
    times = [random.random() / 100 for _ in range(8)]  # noqa: S311
    stages = (Stage.START_API, Stage.NEXT_VALID_ID, Stage.MANAGED_ACCOUNTS, Stage.CURRENT_TIME)
    return Report(
        target=target.name,
        at=at + times[7],
        seconds=times[0],
        connections=1,
        results=(
            LayerResult(
                layer=Layer.PORT,
                outcome=Outcome.OK,
                seconds=times[1],
                stages=((Stage.RESOLVE, times[2]), (Stage.CONNECT, times[1])),
                stamp=Stamp.KERNEL,
            ),
            LayerResult(
                layer=Layer.HANDSHAKE,
                outcome=Outcome.OK,
                seconds=times[3],
                stages=((Stage.REPLY, times[3]),),
                stamp=Stamp.KERNEL,
                server=ServerHello(VERSION, f"20261121 02:00:{at % 60:02.0f} EST"),
            ),
            LayerResult(
                layer=Layer.SESSION,
                outcome=Outcome.OK,
                seconds=times[4],
                stages=tuple((stage, random.random() / 100) for stage in stages),  # noqa: S311
                stamp=Stamp.KERNEL,
                session=facts(target.probe_ids[0]),
            ),
        ),
    )


def trend(until: float) -> Trend:
    """A day of one target."""
    filled = Trend()
    for start in range(int(until) - DAY, int(until), WIDTH):
        filled = filled.observe(start, random.random() / 100)  # noqa: S311
    return filled


def fill(size: int, *, watched: bool) -> TargetStates:
    """So many targets with a whole history."""
    states = TargetStates()
    for number in range(size):
        ids = (9001, 9002) if watched else (9001,)
        target = Target(f"gateway-{number}", address(number), 4002, Mode.PAPER, client_ids=ids, watch=watched)
        states.put(replace(TargetState(target), trends={"": trend(AT)}))
    for count in range(REPORTS):
        for number in range(size):
            target = states[f"gateway-{number}"].target
            states.record(report(target, AT + SPACING * count))
            if watched and not count:
                event = WatchEvent(WatchEventKind.BEGAN, AT + 1.0, facts(9002), opened=1)
                states.record_watch_event(target.name, event)
    return states


def by_type(states: TargetStates) -> Counter[str]:
    """The bytes of all that is reachable, by type."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[object] = list(states.values())
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, SHARED):
            continue
        seen.add(id(value))
        found[type(value).__name__] += sys.getsizeof(value)
        waiting.extend(gc.get_referents(value))
    return found


def resident() -> float:
    """The memory of this process, MB."""
    with open("/proc/self/status", encoding="ascii") as lines:  # noqa: PTH123
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def main() -> None:
    """Fill, count, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--watched", action="store_true")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    few = by_type(fill(2, watched=arguments.watched))
    gc.collect()
    before = resident()
    states = fill(arguments.size, watched=arguments.watched)
    gc.collect()
    grown = resident() - before
    many = by_type(states)
    rows = {name: round((many[name] - few[name]) / (arguments.size - 2)) for name in many}
    rows = {name: size for name, size in sorted(rows.items(), key=lambda row: -row[1]) if size > 0}
    print(
        json.dumps(
            {"total": sum(rows.values()), "resident": round(1e6 * grown / arguments.size), "by_type": rows}, indent=1
        )
    )


if __name__ == "__main__":
    main()
