"""The alert rules' own unit tests, by promtool."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = sorted((Path(__file__).parents[2] / "deploy" / "prometheus" / "tests").glob("*.yml"))


@pytest.mark.slow
@pytest.mark.timeout(1200)  # half a minute of processor time for the longest file; a busy machine gives little
@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.stem))
def test_the_rules_pass_their_unit_tests(path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; .ci/run installs it, and runs this")
    done = subprocess.run(
        [promtool, "test", "rules", path.name],
        cwd=path.parent,
        env={**os.environ, "GOGC": "800"},  # a fifth of its time is spent on collecting garbage
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
