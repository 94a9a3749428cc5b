"""The stack for all tests of this directory that ask for it: up once, healthy, gone at the end.

Files that share it, or are short, go to one worker (tests/conftest.py), each with the stacks that it starts.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.stack import containers
from tests.stack.containers import compose
from tests.stack.scenarios import Scenarios

TARGETS = [each["name"] for each in yaml.safe_load((Path(__file__).parent / "exporter.yaml").read_text())["targets"]]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenarios]:
    """compose.yaml with the steady fleet, all services healthy, and the scenarios under way."""
    compose("down", "--volumes", "--timeout", "5")
    fill_last_trading_day(tmp_path_factory.mktemp("history") / "history.om")
    started = time.monotonic()
    try:
        done = compose("up", "--detach", "--wait", "--pull", "never", *containers.SERVICES)
        assert done.returncode == 0, done.stdout + compose("logs", "--tail", "40").stdout
        print(f"\nall healthy after {time.monotonic() - started:.1f} s: {', '.join(containers.SERVICES)}")
        yield Scenarios()
    finally:
        compose("down", "--volumes", "--timeout", "10")


def fill_last_trading_day(file: Path) -> None:
    """Put the last trading day before today into Prometheus' storage, made up: on a weekend CI would have none.

    Only what the recording rules themselves write within trading hours; the rules over 30 days then work on it.
    """
    day = datetime.now(UTC).replace(hour=15, minute=0, second=0, microsecond=0) - timedelta(days=1)
    while day.weekday() > 4:
        day -= timedelta(days=1)
    families: dict[str, float] = {}
    for ratio, burn in (("availability", "error_budget"), ("servers_availability", "servers_budget")):
        families |= {
            f"target:ibkr_{ratio}_trading:sum1h": 119.76,
            f"target:ibkr_{ratio}_trading:count1h": 120.0,
            f"target:ibkr_{burn}:burn_rate1h": 0.4,
            f"target:ibkr_{burn}:burn_rate1d": 0.4,
        }
    lines = []
    for name, value in families.items():
        lines.append(f"# TYPE {name} gauge")
        for target in TARGETS:
            labels = f'{{job="ibkr",instance="exporter:9497",target="{target}"}}'
            lines += [f"{name}{labels} {value} {int(day.timestamp()) + 60 * minute}" for minute in range(300)]
    file.write_text("\n".join([*lines, "# EOF", ""]))
    file.chmod(0o644)
    for parent in list(file.parents)[:3]:
        parent.chmod(0o755)  # the container's user must get there
    mount = ("--volume", f"{file}:/history.om:ro")
    promtool = ("--entrypoint", "promtool", "prometheus")
    done = compose(
        "run",
        "--rm",
        "--no-deps",
        *mount,
        *promtool,
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "/history.om",
        "/prometheus",
    )
    assert done.returncode == 0, done.stdout
