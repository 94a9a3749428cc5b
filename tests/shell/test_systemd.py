"""What systemd hears of `serve` (sd_notify), and what systemd-analyze says of the units."""

import asyncio
import json
import os
import plistlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.clients.environments import VARIABLE, default_root
from exporter.model import Mode, Report, Target, Verdict
from exporter.service.schedule import LATE
from exporter.service.service import Service
from exporter.service.supervision import status_line, supervised
from exporter.simulator.gateway import Gateway
from exporter.state.exporter import ExporterState
from exporter.systemd import Notifier
from tests.shell.clients_real import CLIENTS, make_client
from tests.shell.support import CLEAN, PATIENCE, free_port, started, until, wait_until

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
CLOSED = Target("closed", "127.0.0.1", 1, Mode.PAPER, 30.0, 0.5)  # refuses every connection


class Systemd:
    """The socket that systemd listens on, and the messages that came."""

    def __init__(self, listening: socket.socket, address: str) -> None:
        self._listening = listening
        self.environ = {"NOTIFY_SOCKET": address}
        self.heard: list[dict[str, str]] = []

    def hears(self, key: str, **fields: str) -> bool:
        """Whether such a message has come by now."""
        try:
            while True:
                lines = self._listening.recv(4096).decode().split("\n")
                self.heard.append(dict(line.split("=", 1) for line in lines))
        except BlockingIOError:
            wanted = {key: "1", **fields}.items()
            return any(wanted <= message.items() for message in self.heard)


@contextmanager
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        address = str(tmp_path / "notify")
        listening.bind(address)
        listening.setblocking(False)  # noqa: FBT003 - positional only
        yield Systemd(listening, address)


def test_serve_reports_that_it_is_ready_lives_reloads_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "exporter.yaml"
    file.write_text(
        f"web: {{listen: '127.0.0.1:{free_port()}'}}\ntargets:\n  - {{name: a, host: 127.0.0.1, port: 1, clients: []}}\n"
    )
    with systemd(tmp_path) as heard:
        environ = {**CLEAN, **heard.environ, "WATCHDOG_USEC": "200000"}
        command = [sys.executable, "-m", "exporter", "serve", "--config", str(file)]
        with started(command, env=environ) as process:
            wait_until(lambda: heard.hears("READY"))
            wait_until(lambda: heard.hears("WATCHDOG", STATUS="1 gateways: 0 connectable, 1 not, 0 not yet probed"))
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            heard.heard.clear()
            file.write_text("targets: 5\n")
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: heard.hears("RELOADING"))
            wait_until(lambda: heard.hears("READY"))
            kept = "1 gateways: 0 connectable, 1 not, 0 not yet probed; the changed configuration was refused"
            assert heard.hears("READY", STATUS=kept)
            reload = next(message for message in heard.heard if "RELOADING" in message)
            assert before <= int(reload["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            process.terminate()
            assert process.wait(PATIENCE) == 0
            assert heard.hears("STOPPING")


def test_a_child_inherits_nothing_to_speak_to_systemd_with() -> None:
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}

    assert Notifier(environ).watchdog == 30.0
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "30000000"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"},
    ],
)
def test_a_watchdog_that_is_not_for_this_process_is_not_fed(environ: dict[str, str]) -> None:
    assert Notifier(environ).watchdog is None


def test_an_abstract_socket_hears_too_and_a_status_is_one_line() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0ibkr-exporter-test-{os.getpid()}")
        Notifier({"NOTIFY_SOCKET": f"@ibkr-exporter-test-{os.getpid()}"}).ready("a\nREADY=0  b")
        assert listening.recv(4096) == b"READY=1\nSTATUS=a READY=0 b"


def test_a_socket_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("well")


async def test_a_schedule_that_is_late_does_not_tick() -> None:
    loop = asyncio.get_running_loop()
    async with Service(ExporterState("test", "3")) as service:
        assert service.ticking(loop.time())
        await service.apply([CLOSED])
        assert service.ticking(loop.time())
        assert service.ticking(loop.time() + LATE / 2)
        assert not service.ticking(loop.time() + CLOSED.interval + LATE + 1)


class Broken(BaseException):
    """Ends a target's loop: no handler of ours catches it."""


async def test_a_watchdog_is_not_fed_once_the_schedule_has_ended(tmp_path: Path) -> None:
    works = True

    def judge(_: Report, __: Target) -> Verdict:
        if not works:
            raise Broken
        return Verdict.PORT_CLOSED

    target = Target("closed", "127.0.0.1", 1, Mode.PAPER, 0.05, 0.04)
    with systemd(tmp_path) as heard:
        notifier = Notifier({**heard.environ, "WATCHDOG_USEC": "20000"})
        async with Service(ExporterState("test", "3"), judge=judge) as service:
            await service.apply([target])
            await service.wait_for(lambda: service.states["closed"].last is not None)
            async with supervised(service, notifier):
                await until(lambda: heard.hears("WATCHDOG"))
                works = False
                await until(lambda: not service.ticking(asyncio.get_running_loop().time()))
                heard.hears("WATCHDOG")
                heard.heard.clear()
                await until(lambda: heard.hears("STATUS", STATUS="the schedule stands still"))
                assert not any("WATCHDOG" in message for message in heard.heard[1:])


async def test_the_status_counts_gateways() -> None:
    async with Service(ExporterState("test", "3")) as service:
        await service.apply([CLOSED])
        await service.wait_for(lambda: service.states["closed"].last is not None)
        assert status_line(service) == "1 gateways: 0 connectable, 1 not, 0 not yet probed"


# --- the units

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", *arguments, "--no-pager"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@needs_analyze
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/ibkr-exporter/bin/ibkr-exporter", sys.executable)  # it must exist
        (tmp_path / unit.name).write_text(text)
    ran = analyze("verify", *sorted(str(path) for path in tmp_path.iterdir()))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@needs_analyze
@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda path: path.name)
def test_the_units_expose_little(unit: Path) -> None:
    ran = analyze("security", "--offline=true", "--threshold=15", str(unit))  # tenths: at most 1.5 of 10
    assert ran.returncode == 0, ran.stdout


def command_of_service() -> list[str]:
    unit = (UNITS / "ibkr-exporter.service").read_text()
    (command,) = (line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart="))
    return command.split()


def command_of_windows() -> list[str]:
    service = ET.parse(ROOT / "deploy/windows/ibkr-exporter.xml").getroot()  # noqa: S314 - our own file
    return (service.findtext("arguments") or "").split()


def command_of_macos() -> list[str]:
    daemon = plistlib.loads((ROOT / "deploy/macos/ibkr-exporter.plist").read_bytes())
    arguments: list[str] = daemon["ProgramArguments"]
    return arguments


@pytest.mark.parametrize("command", [command_of_service, command_of_windows, command_of_macos])
def test_every_recipe_serves_a_configuration_file(command: Callable[[], list[str]]) -> None:
    assert command()[-3:-1] == ["serve", "--config"]
    assert command()[-1].endswith("ibkr-exporter.yaml")


def sandboxed(*command: str) -> list[str]:
    script = str(Path(__file__).with_name("sandbox.py"))
    return [sys.executable, script, str(UNITS / "ibkr-exporter.service"), sys.executable, *command]


REFUSED = """
import os, socket
for attempt in (lambda: os.nice(1), lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), os.getuid):
    try:
        attempt()
        print("permitted")
    except PermissionError:
        print("refused")
"""


@needs_analyze
def test_the_sandbox_of_the_tests_refuses_what_the_unit_refuses() -> None:
    ran = subprocess.run(sandboxed("-c", REFUSED), capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ran.stdout.split() == ["refused", "refused", "permitted"]


@needs_analyze
@pytest.mark.slow
async def test_what_the_unit_permits_is_enough_for_every_library() -> None:
    for name in CLIENTS:
        make_client(name)  # without it skip, in CI fail
    async with Gateway("ok") as gateway:
        command = sandboxed("-m", "exporter", "diagnose", f"127.0.0.1:{gateway.port}", "--json")
        environ = {**CLEAN, VARIABLE: str(default_root())}
        ran = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, env=environ, timeout=PATIENCE, check=False
        )
    layers = json.loads(ran.stdout)["layers"]
    tried = {layer["client"]: layer["outcome"] for layer in layers if layer["layer"] == "client"}
    assert (ran.returncode, tried) == (0, dict.fromkeys(CLIENTS, "ok")), ran.stdout
