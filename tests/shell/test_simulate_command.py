"""The simulate command as a process, and its control: by HTTP, from the keyboard, along a timeline, by signals."""

import re
import signal
import socket
import subprocess
import sys
from contextlib import AbstractContextManager

import aiohttp
import pytest

from exporter.simulator.command import mode_rows, run
from exporter.simulator.gateway import Gateway
from exporter.simulator.http_control import control
from exporter.simulator.modes import MODES
from tests.shell.support import PATIENCE, started

PROGRAM = "import sys; from exporter.simulator.command import run; sys.exit(run({}, keyboard=sys.stdin))"


def simulate(parameters: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """The command in a process of its own, its output unbuffered."""
    return started([sys.executable, "-u", "-W", "error", "-c", PROGRAM.format(parameters)], env=None)


def heard(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Read lines until one matches."""
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(pattern, line):
            return match
    assert process.stderr is not None
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    with simulate("port=0") as process:
        port = int(heard(process, r"TWS on 127\.0\.0\.1:(\d+), server version 226")[1])
        heard(process, "mode ok")
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            process.send_signal(number)
            assert client.recv(1) == b""
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_typed_modes_change_it_and_a_wrong_word_is_told() -> None:
    with simulate("port=0, mode='silent'") as process:
        port = int(heard(process, r":(\d+),")[1])
        assert process.stdin is not None
        process.stdin.write("\nrefu")
        process.stdin.flush()
        process.stdin.write("sed\nasleep\n")
        process.stdin.flush()
        heard(process, "mode refused: connection refused")
        heard(process, "no mode is called 'asleep'")
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) != 0
        process.stdin.close()
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_a_timeline_changes_it() -> None:
    with simulate("port=0, script='0s:ok,0.2s:vnc'") as process:
        port = int(heard(process, r":(\d+),")[1])
        heard(process, "mode vnc")
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            assert client.recv(100) == b"RFB 003.008\n"


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"mode": "asleep"}, "no mode is called 'asleep'"),
        ({"script": "silent"}, "'silent' is not of the form 30s:silent"),
        ({"host": "192.0.2.1"}, "simulate: "),
    ],
)
def test_what_is_wrong_with_the_parameters_is_told_and_gives_2(parameters: dict[str, str], complaint: str) -> None:
    complaints: list[str] = []
    assert run(port=0, complain=complaints.append, say=complaints.append, **parameters) == 2  # type: ignore[arg-type]
    assert complaint in complaints[0]


def test_a_port_in_use_gives_2() -> None:
    complaints: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run(port=port, complain=complaints.append) == 2
    assert "in use" in complaints[0]
    assert f"127.0.0.1 port {port}:" in complaints[0]
    assert "--port 0" in complaints[0]


def test_the_list_has_a_row_for_every_mode() -> None:
    rows = mode_rows()
    assert [row[0] for row in rows] == list(MODES)
    assert ("id_in_use", "error 326, then end of stream", "healthy", "client_id_in_use") in rows


async def test_the_control_shows_the_state_and_changes_the_mode() -> None:
    async with (
        Gateway() as gateway,
        control(gateway, 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as web,
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE):
            async with web.post("/mode", params={"mode": "silent"}) as answer:
                state = await answer.json()
        assert (state["mode"], state["acting"], state["port"]) == ("silent", "silent", gateway.port)
        assert state["connections"] == {"opened": 1, "open": 1, "open_most": 1, "open_most_by_client_id": {}}
        async with web.post("/mode", data={"mode": "http"}) as answer:
            assert (await answer.json())["mode"] == "http"
        async with web.get("/") as answer:
            assert (await answer.json())["last"][0]["number"] == 1
        async with web.get("/modes") as answer:
            assert set(await answer.json()) == set(MODES)


@pytest.mark.parametrize("wrong", [{"mode": "asleep"}, {"mood": "ok"}])
async def test_the_control_refuses_a_wrong_mode_with_the_reason(wrong: dict[str, str]) -> None:
    async with (
        Gateway() as gateway,
        control(gateway, 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as web,
    ):
        async with web.post("/mode", data=wrong) as answer:
            assert answer.status == 400
            assert "the modes are ok, refused" in await answer.text()
        assert gateway.mode == "ok"


async def test_the_control_is_on_the_loopback_address_only() -> None:
    async with Gateway() as gateway, control(gateway, 0) as port:
        with socket.socket() as other:
            other.bind(("127.0.0.2", port))  # would fail if it had taken every address
