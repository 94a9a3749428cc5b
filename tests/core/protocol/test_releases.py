import pytest

from exporter.protocol.releases import RELEASES, release_of


@pytest.mark.parametrize(
    ("version", "announced", "release"),
    [
        (226, 226, "10.50 or newer"),
        (225, 226, "10.47"),
        (223, 226, "10.45"),
        (223, 223, "10.45 or newer"),
        (224, 226, "after 10.45"),
        (200, 226, "after 10.30"),
        (176, 176, "9.81 or newer"),
        (151, 226, "before 9.81"),
        (20, 226, "before 9.81"),
    ],
)
def test_a_server_version_tells_the_release(version: int, announced: int, release: str) -> None:
    assert release_of(version, announced) == release


def test_the_table_is_in_order() -> None:
    assert list(RELEASES) == sorted(RELEASES)
