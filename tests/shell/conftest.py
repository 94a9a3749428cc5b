"""What every test with real sockets and processes gets."""

import pytest

from tests.shell import support


@pytest.fixture(autouse=True)
def contention() -> None:
    """Count from here on how long processes wait for a core."""
    support.mark_start()
