"""What happens to the gateways of tests/stack/pauses.yaml and fleet.yaml: each scenario in a thread of its own."""

import itertools
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.stack.containers import of_job, query, signal_gateways, wait_for

WATCHED, UNWATCHED = (7101, 7102, 7103), (7111, 7112, 7113)
FROZEN = {
    "frozen-watched-0": 7121,
    "frozen-watched-1": 7122,
    "frozen-watched-2": 7123,
    "frozen-unwatched-0": 7131,
    "frozen-unwatched-1": 7132,
}
FLEET = tuple(range(7201, 7217))
WELL = FLEET[14]  # the last but one stays well; the last is in its restart window
LENGTHS = (3.0, 4.25, 5.5, 6.75, 8.0)
TARGETS = {"pauses": 23, "fleet": 16}
SETTLED = 60.0  # seconds until each target has been probed, and its watch has a session
OVER = 150.0  # seconds from the last recovery to the last message that may come
PATIENCE = 90.0  # seconds for a page: a late one is a figure, not a time-out


@dataclass(frozen=True, slots=True)
class Freeze:
    """One freeze: from its beginning to its page, in seconds, and all that was sent about it."""

    target: str
    took: float
    told: list[str]


@dataclass(slots=True)
class Pages:
    """A scenario's end: what was sent about it."""

    began: float
    pauses: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)


class Scenarios:
    """The scenarios under way; each result is there when it is over."""

    def __init__(self) -> None:
        """Start them."""
        pool = ThreadPoolExecutor(max_workers=len(FROZEN) + 3)
        self.pauses: Future[Pages] = pool.submit(pause_often)
        self.fleet: Future[Pages] = pool.submit(freeze_fleet)
        freezes = [pool.submit(freeze_twice, name, port) for name, port in FROZEN.items()]
        self.freezes: Future[list[Freeze]] = pool.submit(lambda: [one for each in freezes for one in each.result()])
        pool.shutdown(wait=False)


def healthy(job: str) -> bool:
    """Whether every target of a job is healthy."""
    found = query(f'sum(ibkr_verdict{{job="{job}", verdict="healthy"}})')
    return bool(found) and int(float(found[0]["value"][1])) == TARGETS[job]


def settle(job: str) -> None:
    """Wait until all is well, and the watches have their sessions."""
    wait_for(f"all of {job} healthy", lambda: healthy(job), 180)
    time.sleep(SETTLED)


def pause_often() -> Pages:
    """Five pauses of each of three watched gateways and three that are not: thirty."""
    settle("pauses")
    done, phase = Pages(time.time()), random.Random(1)  # noqa: S311 - a phase, no secret
    for length, ports in itertools.product(LENGTHS, (WATCHED, UNWATCHED)):
        time.sleep(phase.uniform(3.0, 18.0))  # another phase of the clocks, and a watch that has come back or not
        signal_gateways("pause", ports, str(length))
        done.pauses += len(ports)
    time.sleep(45)
    done.messages = [each for each in of_job("pauses") if "paused" in each["commonLabels"].get("target", "")]
    return done


def freeze_twice(name: str, port: int) -> list[Freeze]:
    """Freeze one gateway until its page, let it recover until the end is told, and once more."""
    settle("pauses")
    freezes: list[Freeze] = []
    phase = random.Random(name)  # noqa: S311 - as above
    for _ in range(2):
        time.sleep(phase.uniform(0.0, 20.0))
        began = float(signal_gateways("stop", [port]))
        page = wait_for(f"the page for {name}", partial(about, name, began), PATIENCE)[0]
        signal_gateways("cont", [port])
        wait_for(f"the end for {name}", partial(ended, name, began), OVER)
        time.sleep(5)
        freezes.append(Freeze(name, page["at"] - began, [each["status"] for each in about(name, began)]))
    return freezes


def about(name: str, since: float) -> list[dict[str, Any]]:
    """The messages about one of them."""
    return [each for each in of_job("pauses", since) if each["commonLabels"].get("target") == name]


def ended(name: str, since: float) -> bool:
    """Whether more than the page has come."""
    return len(about(name, since)) > 1


def freeze_fleet() -> Pages:
    """Freeze all but one at once, and let them recover one by one, two seconds apart."""
    settle("fleet")
    frozen = [port for port in FLEET if port != WELL]
    done = Pages(float(signal_gateways("stop", frozen)))
    time.sleep(60)
    for port in frozen:
        signal_gateways("cont", [port])
        time.sleep(2)
    time.sleep(OVER)
    done.messages = of_job("fleet", done.began - 5)
    return done
