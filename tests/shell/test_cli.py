"""The commands as processes: what they print where, their exit codes, signals, and how quickly they are there."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from exporter import __version__
from exporter.cli.app import app
from exporter.simulator.gateway import Gateway
from exporter.simulator.modes import MODES
from tests.shell.support import CLEAN, PATIENCE, free_port, get, started, until, wait_until

COMMAND = [sys.executable, "-c", "from exporter.cli.app import main; main()"]
FIELDS = ["target", "host", "port", "at", "verdict", "headline", "evidence", "actions", "runbook", "server_version"]


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=CLEAN | environment,
        timeout=PATIENCE,
        check=False,
    )


async def run_beside(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The same, while the simulator of this process goes on."""
    return await asyncio.to_thread(run, *arguments)


def read(*arguments: str, **environment: str) -> Result:
    """Run a command that only prints, without a process of its own."""
    unset = dict.fromkeys(os.environ.keys() - CLEAN.keys())
    return CliRunner().invoke(app, arguments, env={**unset, **CLEAN, **environment})


def serving(*arguments: str, **environment: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start the command, to be stopped by the test."""
    return started([*COMMAND, *arguments], env=CLEAN | environment)


# --- diagnose


@pytest.mark.parametrize(
    ("mode", "code"),
    [("ok", 0), ("slow", 0), ("silent", 1), ("relay", 1), ("http", 1), ("refused", 1), ("too_old", 1), ("redirect", 1)],
)
async def test_diagnose_prints_one_json_object_and_the_right_exit_code(mode: str, code: int) -> None:
    limit = "2" if mode == "silent" else "60"  # the others answer, however late on a busy machine
    async with Gateway(mode) as gateway:
        ran = await run_beside("diagnose", f"127.0.0.1:{gateway.port}", "--json", "--timeout", limit)
    assert ran.returncode == code, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    assert list(found)[: len(FIELDS)] == FIELDS
    assert found["verdict"] == found["runbook"] == MODES[mode].verdict
    assert found["evidence"]
    assert bool(found["actions"]) is (mode != "ok")
    assert [layer["layer"] for layer in found["layers"]][:2] == ["port", "handshake"]
    assert all({"layer", "client", "outcome", "seconds", "stage", "detail"} <= set(layer) for layer in found["layers"])
    if mode == "silent":
        handshake = found["layers"][1]
        assert handshake["outcome"] == "timeout"
        assert handshake["seconds"] < 4.9  # the target's own deadline is 5


async def test_diagnose_prints_a_block_for_a_bug_report_and_nothing_else() -> None:
    async with Gateway("silent") as gateway:
        ran = await run_beside(
            "diagnose", f"127.0.0.1:{gateway.port}", "--report", "--clients", "none", "--timeout", "1"
        )
    assert ran.returncode == 1
    assert ran.stdout.startswith("Exporter: ibkr-exporter ")
    assert "Verdict:  api_silent." in ran.stdout
    assert "| handshake | own socket | FAIL timeout (silence) |" in ran.stdout
    assert "Required actions" not in ran.stdout


async def test_diagnose_prints_a_table_for_people() -> None:
    async with Gateway("silent") as gateway:
        ran = await run_beside("diagnose", f"127.0.0.1:{gateway.port}", "--timeout", "0.5")
    assert ran.returncode == 1
    for text in ("TCP connect", "✓ ok", "API handshake", "✗ timeout", "Verdict: api_silent", "Required actions"):
        assert text in ran.stdout
    assert ran.stderr == ""


async def test_diagnose_takes_the_one_target_of_the_environment_and_keeps_off_the_programs_id() -> None:
    async with Gateway("ok") as gateway:
        ran = await asyncio.to_thread(
            run, "diagnose", "--json", IB_HOST="127.0.0.1", IB_PORT=str(gateway.port), IB_CLIENT_ID="9001"
        )
        ids = {record.client_id for record in gateway.recorder}
    assert ran.returncode == 0, ran.stderr
    assert 9001 not in ids


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["diagnose"], "nothing to watch is configured"),
        (["diagnose", "tws"], "HOST:PORT"),
        (["diagnose", "127.0.0.1:0"], "not a port"),
        (["diagnose", "127.0.0.1:99999"], "not a port"),
        (["diagnose", "http://127.0.0.1:7497"], "is a URL"),
        (["diagnose", "127.0.0.1:7497", "--timeout", "0"], "--timeout"),
        (["diagnose", "--config", "no-such-file.yaml"], "no-such-file.yaml"),
        (["serve", "--config", "no-such-file.yaml"], "no-such-file.yaml"),
        (["serve"], "nothing to watch is configured"),
        (["check-config", "."], "is a directory"),
        (["simulate", "--mode", "nonsense", "--port", "0"], "nonsense"),
        (["metrics", "--format", "xml"], "--format"),
        (["demo", "--listen", "nowhere"], "HOST:PORT"),
        (["simulate", "--port", "0", "--control", "99999"], "--control"),
        (["simulate", "--port", "0", "--host", "no-such-host.invalid"], "cannot listen on no-such-host.invalid"),
    ],
)
def test_wrong_usage_says_what_to_do_and_exits_with_2(arguments: list[str], said: str) -> None:
    ran = read(*arguments)
    assert ran.exit_code == 2, ran.stderr
    assert said in re.sub(r"[\s│]+", " ", ran.stderr)
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_a_broken_configuration_lists_every_error_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("targets:\n  - {name: a, host: 127.0.0.1, prt: 7497}\n  - {name: a, host: h, port: 99999}\n")
    ran = read("check-config", str(file))
    assert ran.exit_code == 2
    lines = ran.stderr.splitlines()
    assert len(lines) >= 3
    assert all(line.startswith(f"{file}:") for line in lines)
    assert "Traceback" not in ran.stderr


LISTS = (
    "clients: {}\ntargets: [{name: own, host: h, port: 1}]\nfile_sd_configs: [{files: [lists/*.json, lists/b.yaml]}]\n"
)


def test_the_lists_of_targets_that_a_configuration_names_are_checked_with_it(tmp_path: Path) -> None:
    file, lists = tmp_path / "exporter.yaml", tmp_path / "lists"
    file.write_text(LISTS + "http_sd_configs: [{url: 'http://127.0.0.1:1/targets?token=hunter2'}]\n")
    lists.mkdir()
    (lists / "a.json").write_text('[{"targets": ["10.0.0.1:1", "10.0.0.2:2"]}, {"targets": []}]')
    good = read("check-config", str(file))
    assert (good.exit_code, good.stdout.splitlines()) == (
        0,
        [
            f"{file}: file_sd_configs[0]: there is no file {lists}/b.yaml",
            f"{file}: http_sd_configs[0]: not asked: http://127.0.0.1:1/targets",
            f"{file}: good: 1 target, 0 clients, 2 targets in 1 list",
        ],
    )
    bad = ["10.0.0.1:0", "10.0.0.9:9", "10.0.0.9:9", "169.254.169.254:80", "h:1"]
    labels = {"__param_acount": "DU1234567", "host": "x"}
    groups = [{"targets": bad[:1]}, {"targets": bad[1:2]}, {"targets": bad[2:], "labels": labels}]
    (lists / "a.json").write_text(json.dumps(groups))
    (lists / "b.yaml").write_text("- targets: [a:1\n")
    ran = read("check-config", str(file))
    assert (ran.exit_code, ran.stdout) == (2, "")
    places = [": ".join(line.split(": ")[:2]) for line in ran.stderr.splitlines()]
    assert {place.removeprefix(f"{tmp_path}/") for place in places} == {
        "lists/b.yaml: line 2",
        "lists/a.json: [0].targets[0]",
        "lists/a.json: [2].targets[0] __param_acount",
        "lists/a.json: [2].targets[0] host",
        "lists/a.json: [2].targets[1]",
        "lists/a.json: [2].targets[2] __param_acount",
        "lists/a.json: [2].targets[2] host",
        "exporter.yaml: file_sd_configs[0]",
    }


def test_check_config_takes_the_file_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "exporter.yaml"
    file.write_text("clients: {}\ntargets: [{name: own, host: h, port: 1}]\n")
    ran = run("check-config", IBKR_EXPORTER_CONFIG=str(file))
    assert (ran.returncode, ran.stdout) == (0, f"{file}: good: 1 target, 0 clients\n")


@pytest.mark.parametrize(
    ("words", "completed"),
    [("ibkr-exporter di", {"diagnose"}), ("ibkr-exporter serve --web.c", {"--web.config.file"})],
)
def test_a_shell_completes_commands_and_options(words: str, completed: set[str]) -> None:
    asked = {"_IBKR_EXPORTER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command = [str(Path(sys.executable).with_name("ibkr-exporter"))]
    ran = subprocess.run(command, env=CLEAN | asked, capture_output=True, text=True, check=False)
    assert set(ran.stdout.split()) == completed


def test_a_list_may_name_any_library_where_the_configuration_names_no_clients(tmp_path: Path) -> None:
    (tmp_path / "exporter.yaml").write_text("file_sd_configs: [{files: [a.yaml]}]\n")
    list_ = tmp_path / "a.yaml"
    list_.write_text("[{targets: ['10.0.0.1:1'], labels: {__param_clients: ib_async}}]")
    assert read("check-config", str(tmp_path / "exporter.yaml")).exit_code == 0
    list_.write_text("[{targets: ['10.0.0.1:1'], labels: {__param_clients: ib_asink}}]")
    assert 'there is no client "ib_asink"' in read("check-config", str(tmp_path / "exporter.yaml")).stderr


# --- serve


def config_for(tmp_path: Path, gateway_port: int, listen: int, extra: str = "") -> Path:
    file = tmp_path / "exporter.yaml"
    target = f"{{name: paper, host: 127.0.0.1, port: {gateway_port}, mode: paper, interval: 1s, deadline: 0.5s"
    file.write_text(f"web: {{listen: '127.0.0.1:{listen}'}}\ntargets:\n  - {target}, slow_after: 0.4s{extra}}}\n")
    return file


async def test_serve_shows_its_first_verdict_at_once_and_ends_in_order(tmp_path: Path) -> None:
    listen = free_port()
    async with Gateway("ok") as gateway:
        with serving("serve", "--config", str(config_for(tmp_path, gateway.port, listen))) as process:
            body = ""
            async with asyncio.timeout(PATIENCE):
                while 'verdict="healthy"} 1' not in body:
                    body = await asyncio.to_thread(get, f"http://127.0.0.1:{listen}/metrics")
            process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(process.wait, PATIENCE)
            assert process.stderr is not None
            log = process.stderr.read()
        assert code == 0
        assert "verdict changed" in log
        await until(lambda: not gateway.recorder.open_now)


async def test_a_reload_takes_a_good_file_and_keeps_running_on_a_bad_one(tmp_path: Path) -> None:
    listen = free_port()
    reloaded = "ibkr_exporter_config_last_reload_successful"
    async with Gateway("ok") as gateway:
        file = config_for(tmp_path, gateway.port, listen)
        with serving("serve", "--config", str(file)) as process:
            url = f"http://127.0.0.1:{listen}"
            await asyncio.to_thread(get, f"{url}/-/ready")
            good = file.read_text()
            file.write_text("targets: [{name: paper")
            process.send_signal(signal.SIGHUP)
            await _until_shown(url, f"{reloaded} 0")
            assert 'ibkr_target_info{target="paper"' in await asyncio.to_thread(get, f"{url}/metrics")
            file.write_text(good.replace("name: paper", "name: renamed"))
            request = urllib.request.Request(f"{url}/-/reload", method="POST")  # noqa: S310 - our own server
            assert (await asyncio.to_thread(urllib.request.urlopen, request)).status == 200
            await _until_shown(url, f"{reloaded} 1")
            await _until_shown(url, 'ibkr_up{target="renamed"} 1')


def test_a_port_that_is_taken_is_a_clear_message(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = taken.getsockname()[1]
        ran = run("serve", "--config", str(config_for(tmp_path, 1, listen)))
    assert ran.returncode == 1
    assert "Address already in use" in ran.stderr
    assert "web.listen" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_distinguished_from_a_taken_port(host: str) -> None:
    ran = run("demo", "--no-libraries", "--listen", f"{host}:19497")
    assert ran.returncode == 1
    assert re.match(rf"ibkr-exporter: cannot listen on {host} port 19497: [A-Z][a-z ]+\. Give the demo", ran.stderr)


def test_a_taken_port_is_avoided_in_the_demo_by_the_demos_own_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = run("demo", "--no-libraries", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert ran.returncode == 1
    assert "Address already in use" in ran.stderr
    assert "--listen" in ran.stderr
    assert ran.stderr.count("127.0.0.1") == 3  # the address itself, and how to give another, twice
    assert "web.listen" not in ran.stderr
    assert "Traceback" not in ran.stderr


async def test_serve_takes_its_target_from_the_environment() -> None:
    listen = free_port()
    async with Gateway("silent") as gateway:
        environment = {
            "IB_HOST": "127.0.0.1",
            "IB_PORT": str(gateway.port),
            "IB_CLIENT_ID": "1",
            "IB_ACCOUNT_ID": "DU1234567",
            "IBKR_EXPORTER_LISTEN": f"127.0.0.1:{listen}",
        }
        with serving("serve", **environment):
            body = await asyncio.to_thread(get, f"http://127.0.0.1:{listen}/metrics")
        assert f'port="{gateway.port}"' in body


def test_json_logs_are_one_object_a_line(tmp_path: Path) -> None:
    listen = free_port()
    file = config_for(tmp_path, 1, listen)
    patient = file.read_text().replace("interval: 1s, deadline: 0.5s", "interval: 60s, deadline: 50s")
    file.write_text(patient + "log: {format: json, level: debug}\n")
    with serving("serve", "--config", str(file)) as process:
        wait_until(lambda: "port_closed" in get(f"http://127.0.0.1:{listen}/api/v1/status"))
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
        assert process.stderr is not None
        events = [json.loads(line) for line in process.stderr.read().splitlines()]
    changes = [event for event in events if event["event"] == "verdict changed"]
    assert [(change["target"], change["verdict"], change["before"]) for change in changes] == [
        ("paper", "port_closed", "unknown")
    ]
    assert any(event["event"] == "probed" and event["level"] == "debug" for event in events)


def test_the_configuration_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "exporter.yaml"
    file.write_text("targetz: []\n")
    ran = run("serve", IBKR_EXPORTER_CONFIG=str(file))
    assert ran.returncode == 2
    assert 'targetz: unknown key. Did you mean "targets"?' in ran.stderr


def test_serve_listens_where_the_command_says_before_the_environment() -> None:
    port = free_port()
    listen = f"127.0.0.1:{port}"
    with serving("serve", "--listen", listen, IB_PORT="1", IBKR_EXPORTER_LISTEN="127.0.0.1:1"):
        assert get(f"http://{listen}/-/healthy") == "OK\n"
    ran = run("serve", "--listen", "nowhere", IB_PORT="1")
    assert (ran.returncode, '"nowhere" is not an address to listen on' in ran.stderr) == (2, True)


def test_the_shell_completes_commands() -> None:
    script = str(Path(sys.executable).with_name("ibkr-exporter"))
    words = {"_IBKR_EXPORTER_COMPLETE": "complete_bash", "COMP_WORDS": "ibkr-exporter di", "COMP_CWORD": "1"}
    ran = subprocess.run([script], capture_output=True, text=True, env=CLEAN | words, timeout=PATIENCE, check=False)
    assert ran.stdout.split() == ["diagnose"]


# --- demo, metrics, simulate


@pytest.mark.slow
def test_the_demo_shows_ten_failing_gateways_and_ends_on_ctrl_c() -> None:
    listen = free_port()
    seen: dict[str, set[str]] = {}
    with serving("demo", "--no-libraries", "--listen", f"127.0.0.1:{listen}") as process:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and len(_ill(seen)) < 10:
            status = json.loads(get(f"http://127.0.0.1:{listen}/api/v1/status"))
            for target in status["targets"]:
                seen.setdefault(target["target"], set()).add(target["verdict"])
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert len(_ill(seen)) >= 10, seen
    assert len(set().union(*_ill(seen).values())) >= 8, seen


def _ill(seen: dict[str, set[str]]) -> dict[str, set[str]]:
    ill = {name: verdicts - {"unknown", "healthy"} for name, verdicts in seen.items()}
    return {name: verdicts for name, verdicts in ill.items() if verdicts}


def test_the_catalogue_is_printed_as_markdown_and_as_json() -> None:
    assert "| `ibkr_up` | gauge |" in read("metrics").stdout
    names = [row["name"] for row in json.loads(read("metrics", "--format", "json").stdout)]
    assert "ibkr_handshake_duration_seconds" in names


@pytest.mark.parametrize("arguments", [["--version"], ["--version", "serve"]])
def test_the_version_is_printed_without_any_command(arguments: list[str]) -> None:
    ran = read(*arguments)
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, f"ibkr-exporter {__version__}\n", "")


def test_every_option_that_the_list_of_modes_names_is_there() -> None:
    named = set(re.findall(r"--[a-z-]+", read("simulate", "--list").stdout))
    assert len(named) >= 4
    assert named <= set(re.findall(r"--[a-z-]+", read("simulate", "--help", COLUMNS="200").stdout))


def test_every_mode_of_the_simulator_is_listed_apart_from_its_verdict() -> None:
    listed = [line.split()[0] for line in read("simulate", "--list").stdout.splitlines()]
    assert listed == ["mode", *MODES, "*"]


def test_a_simulated_gateway_is_a_process_that_ends_in_order() -> None:
    port = free_port()
    with serving("simulate", "--port", str(port), "--mode", "ok") as process:
        wait_until(lambda: accepts(port))
        assert run("diagnose", f"127.0.0.1:{port}").returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def _until_shown(url: str, text: str) -> None:
    await asyncio.to_thread(wait_until, lambda: text in get(f"{url}/metrics"))


# --- what a review found


async def test_a_diagnosis_by_address_keeps_off_every_id_that_a_program_has() -> None:
    async with Gateway("ok") as gateway:
        endpoint = f"127.0.0.1:{gateway.port}"
        await asyncio.to_thread(run, "diagnose", endpoint, "--clients", "none", IB_CLIENT_ID="9001")
        environment = {"IB_HOST": "127.0.0.1", "IB_PORT": str(gateway.port), "IB_CLIENT_ID": "9001"}
        localhost = f"localhost:{gateway.port}"
        await asyncio.to_thread(run, "diagnose", localhost, "--clients", "none", **environment)
        ids = {record.client_id for record in gateway.recorder if record.client_id is not None}
    assert ids
    assert 9001 not in ids


async def test_a_reader_that_leaves_early_changes_nothing_about_the_exit_code() -> None:
    async with Gateway("ok") as gateway:
        command = f'"{sys.executable}" -c "from exporter.cli.app import main; main()" diagnose 127.0.0.1:{gateway.port} --json'
        for form in (command, command.removesuffix("--json")):
            script = f"set -o pipefail; {form} --clients none | true; exit ${{PIPESTATUS[0]}}"
            ran = await asyncio.to_thread(
                subprocess.run, ["bash", "-c", script], capture_output=True, env=CLEAN, check=False
            )
            assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
async def test_an_answer_that_cannot_be_written_is_our_fault() -> None:
    async with Gateway("ok") as gateway:
        command = f'"{sys.executable}" -c "from exporter.cli.app import main; main()" diagnose 127.0.0.1:{gateway.port} --json'
        ran = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-c", f"{command} --clients none >/dev/full"],
            capture_output=True,
            env=CLEAN,
            check=False,
        )
    assert ran.returncode == 3
    assert b"could not be written" in ran.stderr
    assert b"Traceback" not in ran.stderr


def shell(line: str) -> "subprocess.CompletedProcess[str]":
    """A line for bash, in which $X is the command."""
    command = f'X="{sys.executable} -m exporter"; set -o pipefail; {line}'
    return subprocess.run(
        ["bash", "-c", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=CLEAN,
        timeout=PATIENCE,
        check=False,
    )


PRINTING = [
    "metrics",
    "metrics --format json",
    "check-config deploy/ibkr-exporter.yaml",
    "simulate --list",
    "clients list",
]


@pytest.mark.parametrize("command", PRINTING)
def test_what_is_printed_to_a_reader_who_leaves_early_is_no_failure(command: str) -> None:
    ran = shell(f"$X {command} | true; exit ${{PIPESTATUS[0]}}")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", PRINTING)
def test_what_cannot_be_printed_is_reported_and_is_a_failure(command: str) -> None:
    ran = shell(f"$X {command} >/dev/full")
    assert ran.returncode == 3
    assert ran.stderr == "ibkr-exporter: the answer could not be written: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_process_without_standard_streams_does_its_work(closed: str) -> None:
    for arguments, code in (("diagnose 127.0.0.1:1 --clients none", 1), ("metrics", 0), ("diagnose", 2)):
        ran = shell(f"$X {arguments} {closed}")
        assert (ran.returncode, ran.stdout) == (code, "")
        assert "Traceback" not in ran.stderr
