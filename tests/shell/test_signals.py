"""Signals that come early: while the process still imports itself, before a command has its own way to end."""

import re
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.shell.support import CLEAN, PATIENCE, free_port, get, started
from tests.shell.test_cli import config_for

# Starts the command line, and sends itself a signal at the moment when this module is about to be imported.
SENDER = """
import os, sys

class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Sender())
sys.argv = ["ibkr-exporter", *{arguments!r}]
from exporter.__main__ import main
main()
"""
PROGRAM = [sys.executable, "-u", "-m", "exporter"]
EARLY = ["exporter.cli.app", "exporter.config.endpoint", "typer"]


def signalled(number: signal.Signals, module: str, *arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
    script = SENDER.format(module=module, number=int(number), arguments=arguments)
    return started([sys.executable, "-c", script])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", [*EARLY, "exporter.web.server", "exporter.web.app"])
def test_serve_that_is_ended_before_it_serves_ends_in_order(
    number: signal.Signals, module: str, tmp_path: Path
) -> None:
    file = config_for(tmp_path, 1, free_port())
    with signalled(number, module, "serve", "--config", str(file)) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, f"ibkr-exporter: ended by {number.name} before it had begun\n")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("exporter.cli.demo", ["demo", "--no-libraries", "--listen", "127.0.0.1:0"]),
        ("exporter.simulator.command", ["simulate", "--port", "0"]),
    ],
)
def test_the_demo_and_the_simulator_do_the_same(module: str, arguments: list[str]) -> None:
    with signalled(signal.SIGTERM, module, *arguments) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "ibkr-exporter: ended by SIGTERM before it had begun\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", [*EARLY, "exporter.cli.diagnose", "exporter.cli.report"])  # the last as it prints
def test_a_diagnosis_that_is_ended_says_so_and_never_exits_like_an_answer(number: signal.Signals, module: str) -> None:
    with signalled(number, module, "diagnose", "127.0.0.1:1", "--clients", "none") as process:
        printed, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, printed) == (128 + number, "")
    assert said == f"ibkr-exporter: ended by {number.name}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_diagnosis_that_is_ended_and_cannot_say_so_exits_the_same_way() -> None:
    script = SENDER.format(
        module="exporter.cli.diagnose", number=int(signal.SIGTERM), arguments=("diagnose", "127.0.0.1:1")
    )
    with open("/dev/full", "w") as full:  # noqa: PTH123 - no file
        ran = subprocess.run([sys.executable, "-c", script], stderr=full, env=CLEAN, timeout=PATIENCE, check=False)
    assert ran.returncode == 128 + signal.SIGTERM


def test_a_hang_up_while_serve_starts_is_no_reason_to_end(tmp_path: Path) -> None:
    listen = free_port()
    file = config_for(tmp_path, 1, listen)
    with signalled(signal.SIGHUP, "exporter.web.server", "serve", "--config", str(file)) as process:
        try:
            assert get(f"http://127.0.0.1:{listen}/-/ready") == "OK\n"
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_a_demo_whose_terminal_is_closed_ends() -> None:
    listen = free_port()
    with started([*PROGRAM, "demo", "--no-libraries", "--listen", f"127.0.0.1:{listen}"]) as process:
        get(f"http://127.0.0.1:{listen}/-/ready")
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_a_serve_whose_caller_ignores_interrupts_goes_on_after_one_and_ends_by_sigterm(tmp_path: Path) -> None:
    listen = free_port()
    file = config_for(tmp_path, 1, listen)
    with started([*PROGRAM, "serve", "--config", str(file)], signal.SIG_IGN) as process:
        get(f"http://127.0.0.1:{listen}/-/ready")
        process.send_signal(signal.SIGINT)
        for _ in range(3):
            assert get(f"http://127.0.0.1:{listen}/-/ready") == "OK\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_a_simulator_whose_caller_ignores_interrupts_goes_on_after_one_and_ends_by_sigterm() -> None:
    with started([*PROGRAM, "simulate", "--port", "0", "--control", "0"], signal.SIG_IGN) as process:
        assert process.stdout is not None
        url = next(found[1] for line in process.stdout if (found := re.match(r"control on (\S+)", line)))
        process.send_signal(signal.SIGINT)
        for _ in range(3):
            assert get(url)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
