import dataclasses

import pytest

from exporter.model.copies import replace
from tests.core.states import HANDSHAKE_OK, TRADING, grown, report


def test_a_copy_with_changes_is_that_of_the_standard_library() -> None:
    state = grown(TRADING)
    for value, changes in ((state, {"connections": 7}), (report(TRADING), {"seconds": 1.0, "connections": 2})):
        assert replace(value, **changes) == dataclasses.replace(value, **changes)
    assert replace(HANDSHAKE_OK) == HANDSHAKE_OK
    assert replace(HANDSHAKE_OK) is not HANDSHAKE_OK


def test_a_copy_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="no field 'secconds'"):
        replace(HANDSHAKE_OK, secconds=1.0)  # type: ignore[call-arg]
