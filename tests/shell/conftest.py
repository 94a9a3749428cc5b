"""What every test with real sockets and processes gets."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from exporter import log
from tests.shell.clock import TurnedLoop


@pytest.fixture(autouse=True)
def plain_log() -> None:
    """Log as before each test: some of them choose a level."""
    log.configure("warning")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The clock that jumps, for the tests that ask for it; asyncio's own for all others."""
    turned = item.get_closest_marker("turned_clock") and not item.get_closest_marker("real_clock")
    return {"loop": TurnedLoop if turned else asyncio.new_event_loop}
