"""Alertmanager's configuration as it is shipped, the alerts that it gets, and amtool."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "deploy" / "alertmanager"
AMTOOL = shutil.which("amtool")
needs_amtool = pytest.mark.skipif(AMTOOL is None, reason="amtool is not installed; .ci/run installs it")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


CONFIG = read(PLACE / "alertmanager.yml")
RULES = [
    rule
    for path in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
    for group in read(path)["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def amtool(*arguments: str) -> str:
    assert AMTOOL
    done = subprocess.run([AMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
