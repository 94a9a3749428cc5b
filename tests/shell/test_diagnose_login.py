import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.shell.support import PATIENCE

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("IB_", "IBKR_"))}


def test_diagnose_reads_the_launcher_log_of_a_configured_target(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # no program listens
        port = taken.getsockname()[1]
        log, config = tmp_path / "launcher.log", tmp_path / "exporter.yaml"
        log.write_text("2026-08-28 22:30:05.000 INFO  [JTS-Main] - Received CHALLENGE from 203.0.113.7\n")
        target = {"name": "paper", "host": "127.0.0.1", "port": port, "mode": "paper", "launcher_log": str(log)}
        config.write_text(json.dumps({"targets": [target]}))
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from exporter.cli.app import main; main()",
                "diagnose",
                "paper",
                "--json",
                "--config",
                str(config),
            ],
            capture_output=True,
            text=True,
            env=CLEAN,
            timeout=PATIENCE,
            check=False,
        )
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"]) == (1, "port_closed")
    assert told["actions"][0].startswith("Approve the IB Key push")
    assert "203.0.113.7" not in done.stdout + done.stderr
