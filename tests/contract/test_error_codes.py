"""The drivers run in foreign interpreters and import nothing of the exporter: what they repeat must stay equal."""

from exporter.clients.drivers import failures as driver
from exporter.protocol import error_codes

OF_THE_LIBRARIES = {504}  # "not connected": a library may report it where a wire session cannot


def test_the_codes_that_end_a_session_are_the_same_for_the_wire_and_for_the_libraries() -> None:
    assert set(driver.FATAL) == set(error_codes.FATAL) - OF_THE_LIBRARIES
