"""What every test gets: where CI=true, a skipped test is a failed one.

A test that needs promtool or another interpreter skips where a contributor lacks it. In CI nothing may be lacking:
there a skip would be a check that never runs.
"""

import gc
import os
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from exporter import log
from exporter.clients.environments import VARIABLE
from exporter.probes import timestamps

REPOSITORY = Path(__file__).resolve().parent.parent
WHOLE = ("tests/core/", "tests/contract/", "tests/shell/test_environments.py")
OF_THE_TERMINAL = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "TERMINAL_WIDTH", "GITHUB_ACTIONS")
STRICT = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where CI is set; an expected failure (xfail) stays what it is."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.stash[STRICT]:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and in CI nothing may be missing: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skips itself, as pytest.importorskip does."""
    report = yield
    if report.skipped and collector.config.stash[STRICT]:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped, and in CI nothing may be missing: {_reason(report)}"
    return report


# The same examples in each run, and none that fails because the machine is busy. `make test-core` takes the first few.
hypothesis.settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("quick", hypothesis.settings.get_profile("suite"), max_examples=10)

# tests/stack: the first three share one stack, the others begin their own.
STACKS = {
    "stack_loop": "one",
    "stack_pages": "one",
    "stack_panels": "one",
    "stack_pair": "pair",
    "stack_watchers": "watchers",
}


def pytest_configure(config: pytest.Config) -> None:
    """Read the environment once, and keep out of it what the caller's terminal and home directory would change."""
    for name in (*OF_THE_TERMINAL, "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    sys.dont_write_bytecode = False  # compiled anew at each start, the suite takes a third longer
    os.environ.setdefault(VARIABLE, str(REPOSITORY / "build" / "clients"))
    hypothesis.settings.load_profile(config.getoption("--hypothesis-profile") or "suite")
    config.stash[STRICT] = os.environ.get("CI", "").lower() not in ("", "0", "false")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests first: so several at a time end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Leave all that is imported and collected out of later collections of garbage, which cost a tenth of tests/core."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give what belongs together to one worker, each piece to the next that is free."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # noqa: PLC0415 - it may be missing

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return piece_of(nodeid)

    return Scheduling(config, log)


def piece_of(nodeid: str) -> str:
    """A class, a file of quick tests or of tests that share what is dear to make; else each test alone.

    By the name, not by a mark: pytest-xdist 3.8 does not see its own marks in pytest 9.2.
    """
    path, *names = nodeid.partition("[")[0].split("::")
    if path.startswith(WHOLE):
        return path
    if path.startswith("tests/stack/"):
        return STACKS.get(Path(path).stem, "short")
    return nodeid if len(names) < 2 else f"{path}::{names[0]}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    longrepr = report.longrepr
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


@pytest.fixture(autouse=True, scope="session")
def plain_log() -> None:
    """Log as the commands do: structlog's own default draws tracebacks for seconds."""
    log.configure("warning")


@pytest.fixture(autouse=True, scope="session")
def stamped() -> Iterator[None]:
    """The kernel's receive stamps, from the first test on: it switches them on some time after the first request."""
    with timestamps.keep_enabled() as keeper:
        if timestamps.AVAILABLE:
            keeper.bind(("127.0.0.1", 0))
            keeper.settimeout(5.0)
            for _ in range(500):
                keeper.sendto(b"when?", keeper.getsockname())
                if timestamps.receive(keeper, 16)[1] is not None:
                    break
                time.sleep(0.01)
            else:
                pytest.fail("this kernel gives no receive stamps")
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY
