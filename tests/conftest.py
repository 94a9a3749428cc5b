"""What every test gets: where CI=true, a skipped test is a failed one.

A test that needs promtool or another interpreter skips where a contributor lacks it. In CI nothing may be lacking:
there a skip would be a check that never runs.
"""

import os
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from exporter import log
from exporter.clients.environments import VARIABLE
from exporter.probes import timestamps

REPOSITORY = Path(__file__).resolve().parent.parent
QUICK = REPOSITORY / "tests" / "core"
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


# The same examples in each run, and none that fails because the machine is busy.
hypothesis.settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)


def pytest_configure(config: pytest.Config) -> None:
    """Read the environment once, and keep out of it what the caller's terminal and home directory would change."""
    for name in (*OF_THE_TERMINAL, "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    sys.dont_write_bytecode = False  # compiled anew at each start, the suite takes a third longer
    os.environ.setdefault(VARIABLE, str(REPOSITORY / "build" / "clients"))
    hypothesis.settings.load_profile("suite")
    config.stash[STRICT] = os.environ.get("CI", "").lower() not in ("", "0", "false")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests first and give each quick file to one worker: so several at a time end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if item.path.is_relative_to(QUICK):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    longrepr = report.longrepr
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


@pytest.fixture(autouse=True)
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
