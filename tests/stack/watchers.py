"""Small stacks, each with a gateway that can be frozen, of which a part is killed: each scenario in a thread of its own."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from deploy.pager.pager import page
from tests.stack.containers import compose, free_ports, messages, query, signal_gateways, wait_for

SERVICES = ("exporter", "prometheus", "alertmanager", "pager", "pausing")
PORTS = ("EXPORTER_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "PAGER_PORT")
FROZEN = 7101
PAGED = 90.0  # seconds for a page, on a machine with other work


@dataclass(slots=True)
class Told:
    """Seconds from the kill to the message about it, the ends that were sent before it, and what came when it was back.

    `named` is how long it took until a message said that the exporter starts again and again.
    """

    seconds: float
    ends: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    named: float = 0.0


class Watchers:
    """The scenarios under way; each result is there when it is over."""

    def __init__(self) -> None:
        """Start them."""
        pool = ThreadPoolExecutor(max_workers=4)
        self.prometheus: Future[Told] = pool.submit(in_stack, "prometheus", partial(kill, "prometheus"))
        self.alertmanager: Future[Told] = pool.submit(in_stack, "alertmanager", partial(kill, "alertmanager"))
        self.exporter: Future[Told] = pool.submit(in_stack, "exporter", kill_exporter)
        self.restarting: Future[Told] = pool.submit(in_stack, "restarting", crash_loop)
        pool.shutdown(wait=False)


class Stack:
    """One small stack, in a Compose project of its own."""

    def __init__(self, name: str) -> None:
        """Nothing is started."""
        self.files = (
            "--project-name",
            f"ibkr-watch-{name}",
            "-f",
            "compose.yaml",
            "-f",
            "tests/stack/compose.watcher.yaml",
        )
        self.ports = free_ports(*PORTS)
        self.pager = f"http://127.0.0.1:{self.ports['PAGER_PORT']}"
        self.prometheus = f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}"

    def compose(self, *arguments: str) -> str:
        """Run Compose on it."""
        done = compose(*arguments, files=self.files, **self.ports)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def signal(self, command: str) -> None:
        """Freeze the gateway, or let it go on."""
        signal_gateways(command, [FROZEN], files=self.files, **self.ports)

    def messages(self, since: float, alert: str, status: str = "firing") -> list[dict[str, Any]]:
        """The messages with this alert since a moment."""
        return [
            message
            for message in messages(self.pager)
            if message["at"] > since
            and message["status"] == status
            and any(each["labels"]["alertname"] == alert for each in message["alerts"])
        ]

    def healthy(self) -> bool:
        """Whether its three gateways are."""
        found = query('sum(ibkr_verdict{verdict="healthy"})', prometheus=self.prometheus)
        return bool(found) and found[0]["value"][1] == "3"


def in_stack(name: str, scenario: Any) -> Told:
    """Bring a stack up, wait until all is well, play the scenario, and take it down."""
    stack = Stack(name)
    try:
        stack.compose("up", "--detach", "--wait", "--pull", "never", *SERVICES)
        wait_for("all healthy", stack.healthy, 180)
        time.sleep(45)  # the watches have their sessions, and the dead man's switch its first watchdog
        told: Told = scenario(stack)
        return told
    finally:
        compose("down", "--volumes", "--timeout", "5", files=stack.files, **stack.ports)


def freeze(stack: Stack) -> None:
    """Freeze the gateway, and wait for its page."""
    began = time.time()
    stack.signal("stop")
    wait_for("the page", partial(stack.messages, began, "IbkrHandshakeTimeout"), PAGED)


def kill(service: str, stack: Stack) -> Told:
    """Kill Prometheus or Alertmanager while a gateway is frozen: the dead man's switch is who tells."""
    freeze(stack)
    killed = time.time()
    stack.compose("kill", service)
    alarm = wait_for("the dead man's switch", partial(stack.messages, killed, "WatchdogStopped"), 900)[0]
    ends = [page(each) for each in stack.messages(killed, "IbkrHandshakeTimeout", "resolved")]
    return Told(alarm["at"] - killed, ends)


def kill_exporter(stack: Stack) -> Told:
    """Kill the exporter while a gateway is frozen; let the gateway recover, and then start it again."""
    freeze(stack)
    killed = time.time()
    stack.compose("kill", "exporter")
    alarm = wait_for("the page about the exporter", partial(stack.messages, killed, "IbkrExporterDown"), 180)[0]
    time.sleep(120)
    stack.signal("cont")
    ends = [page(each) for each in stack.messages(killed, "IbkrHandshakeTimeout", "resolved")]
    started = time.time()
    stack.compose("start", "exporter")
    over = partial(stack.messages, started, "IbkrHandshakeTimeout", "resolved")
    return Told(alarm["at"] - killed, ends, [each["status"] for each in wait_for("the end", over, 240)])


def crash_loop(stack: Stack) -> Told:
    """The exporter is up for six seconds and down for twenty-four, over and over.

    Where no scrape falls into its first lives it is simply down, and that is the first page.
    """
    began = time.time()
    while not (named := stack.messages(began, "IbkrExporterRestarting")) and time.time() - began < 900:
        stack.compose("kill", "exporter")
        time.sleep(24)
        stack.compose("start", "exporter")
        time.sleep(6)
    took = [each["at"] - began for each in [*named, *stack.messages(began, "IbkrExporterDown")]]
    return Told(min(took, default=float("inf")), named=named[0]["at"] - began if named else float("inf"))
