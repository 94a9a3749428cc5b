"""`docker compose up` with a wrong setting: a clear message, and never a traceback."""

import subprocess
from functools import partial

import pytest

from tests.stack.containers import DOCKER, compose, free_ports, wait_for

BASE = ("--project-name", "ibkr-mistakes", "-f", "compose.yaml")
BESIDE = (*BASE, "-f", "deploy/compose.ib-gateway.yaml")
STARTED = 60.0  # seconds: a container's start takes one or two, on a busy machine many
PORT = free_ports("EXPORTER_PORT")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"IB_PORT": ""}, ("IB_PORT", "7497")),
        ({"IB_PORT": "seven"}, ("IB_PORT", "seven")),
        ({"IB_PORT": "70000"}, ("IB_PORT", "70000")),
        ({"IB_CLIENT_ID": "bot"}, ("IB_CLIENT_ID", "bot")),
        ({"EXPORTER_ARGS": "--config /etc/ibkr-exporter/none.yaml"}, ("none.yaml", "no such file")),
        ({"EXPORTER_ARGS": "--config /test/no-ids.yaml"}, ("no-ids.yaml", "watch", "client_ids")),
        ({"EXPORTER_ARGS": "--confg x"}, ("--confg",)),
    ],
    ids=lambda value: " ".join(f"{key}={text}" for key, text in value.items()) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_named_and_nothing_is_torn_open(environment: dict[str, str], said: tuple[str, ...]) -> None:
    files: tuple[str, ...] = BASE
    if "no-ids" in environment.get("EXPORTER_ARGS", ""):
        files = (*BASE, "-f", "tests/stack/compose.no-ids.yaml")
    try:
        up = compose("up", "--detach", "--no-deps", "--pull", "never", "exporter", files=files, **PORT, **environment)
        assert up.returncode == 0, up.stdout
        log = wait_for("a log with all of it", partial(log_with, said, files, environment), STARTED)
        wait_for("an end with status 2", ended, STARTED)
    finally:
        compose("down", "--volumes", "--timeout", "2", files=files, **PORT, **environment)
    assert "Traceback" not in log


def log_with(said: tuple[str, ...], files: tuple[str, ...], environment: dict[str, str]) -> str:
    """The exporter's log once it has every one of these words."""
    log = compose("logs", "--no-log-prefix", "exporter", files=files, **PORT, **environment).stdout
    return log if all(word in log for word in said) else ""


def ended() -> bool:
    """The exporter has ended with status 2, or is about to be started again after that."""
    shown = ["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "ibkr-mistakes-exporter-1"]
    state = subprocess.run([DOCKER, *shown], capture_output=True, text=True, check=False).stdout.split()
    return state in (["exited", "2"], ["restarting", "2"])


def test_a_port_that_is_taken_is_said_by_compose_itself() -> None:
    import socket  # noqa: PLC0415 - only here

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        try:
            done = compose("up", "--detach", "--no-deps", "--pull", "never", "exporter", files=BASE, EXPORTER_PORT=port)
        finally:
            compose("down", "--volumes", files=BASE, EXPORTER_PORT=port)
    assert done.returncode != 0
    assert port in done.stdout
    assert "already in use" in done.stdout


def test_the_demo_needs_no_settings_and_is_sound() -> None:
    done = compose("config", "--quiet", files=("--env-file", "deploy/demo.env"))
    assert done.returncode == 0, done.stdout
    assert done.stdout == "", "a warning of Compose, such as a variable that is not set"


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_the_files_beside_an_ib_gateway_are_sound_and_their_configurations_too(mode: str) -> None:
    settings = {"TWS_USERID": "trader", "TRADING_MODE": mode}
    done = compose("config", "--quiet", files=(*BESIDE, "-f", "deploy/compose.ib-gateway.vnc.yaml"), **settings)
    assert done.returncode == 0, done.stdout
    assert done.stdout == ""
    for name in ("ib-gateway", "inside"):
        check = ("check-config", f"/etc/ibkr-exporter/{name}-{mode}.yaml")
        done = compose("run", "--rm", "--no-deps", "exporter", *check, files=BASE, **settings)
        assert done.returncode == 0, done.stdout


def test_a_gateway_without_a_user_is_refused_by_name() -> None:
    done = compose("config", "--quiet", files=BESIDE, TWS_USERID="")
    assert done.returncode != 0
    assert "TWS_USERID" in done.stdout
    assert ".env.example" in done.stdout
