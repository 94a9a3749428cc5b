from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from exporter.clients.conflicts import InstalledPackages, find_conflicts, read_packages
from exporter.clients.libraries import Library

IBAPI = Library("ibapi", Path("ibapi_driver.py"), (3, 8), (3, 14))
IB_ASYNC = Library("ib_async", Path("ib_async_driver.py"), (3, 10), (3, 13))
NAUTILUS = Library("nautilus_trader", Path("nautilus_trader_driver.py"), (3, 11), (3, 14))


def look(
    distributions: Mapping[str, str],
    owners: Mapping[str, Sequence[str]] | None = None,
    *,
    python: tuple[int, int, int] = (3, 12, 1),
    requires: Sequence[str] = (),
    protobuf_code: bool = False,
) -> InstalledPackages:
    return InstalledPackages(python, distributions, owners or {}, {"nautilus-trader": requires}, protobuf_code)


def test_a_sound_environment_has_no_conflicts() -> None:
    sound = look({"ibapi-latest": "10.51.1", "protobuf": "7.36.2"}, {"ibapi": ["ibapi-latest"]}, protobuf_code=True)
    assert find_conflicts(sound, IBAPI, "python") == ()


def test_two_owners_of_ibapi_are_named_and_the_remedy_leaves_the_newer_one() -> None:
    both = look(
        {"ibapi": "9.81.1.post1", "ibapi-latest": "10.51.1", "protobuf": "7"}, {"ibapi": ["ibapi", "ibapi-latest"]}
    )
    (conflict,) = find_conflicts(both, IBAPI, "/bot/bin/python")
    assert conflict.text == "ibapi and ibapi-latest are both installed and overwrite each other's package `ibapi`"
    assert conflict.remedy == (
        "/bot/bin/python -m pip uninstall -y ibapi ibapi-latest && /bot/bin/python -m pip install ibapi-latest==10.51.1"
    )


def test_nautilus_trader_keeps_the_ibapi_that_it_was_made_for() -> None:
    mixed = look(
        {"ibapi": "9.81.1.post1", "nautilus-ibapi": "10.45.1", "nautilus-trader": "1.231.0", "protobuf": "5.29.6"},
        {"ibapi": ["ibapi", "nautilus-ibapi"]},
        requires=["nautilus-ibapi (==10.45.1)"],
    )
    (conflict,) = find_conflicts(mixed, NAUTILUS, "python")
    assert conflict.remedy.endswith("install nautilus-ibapi==10.45.1")


def test_a_missing_protobuf_is_named_although_the_distribution_does_not_declare_it() -> None:
    bare = look({"nautilus-ibapi": "10.46.1"}, {"ibapi": ["nautilus-ibapi"]}, protobuf_code=True)
    (conflict,) = find_conflicts(bare, IBAPI, "python")
    assert conflict.text == "nautilus-ibapi needs protobuf, which is missing and which it may not declare"
    assert conflict.remedy == "python -m pip install 'protobuf>=5.29.5'"


@pytest.mark.parametrize(("version", "kind"), [((3, 14, 0), "new"), ((3, 9, 18), "old")])
def test_a_python_outside_the_range_is_named_with_the_range(version: tuple[int, int, int], kind: str) -> None:
    (conflict,) = find_conflicts(look({"ib-async": "2.1.0"}, python=version), IB_ASYNC, "python")
    assert conflict.text == f"Python 3.{version[1]} is too {kind} for ib_async, which needs 3.10 to 3.13"
    assert "3.13" in conflict.remedy


def test_ib_async_beside_ib_insync_loses_its_eventkit() -> None:
    both = look(
        {"ib-async": "2.1.0", "ib-insync": "0.9.86", "eventkit": "1.0.3", "aeventkit": "2.1.0"},
        {"eventkit": ["aeventkit", "eventkit"]},
    )
    (conflict,) = find_conflicts(both, IB_ASYNC, "python")
    assert conflict.remedy.endswith("install aeventkit==2.1.0")


@pytest.mark.parametrize(
    ("library", "wanted"),
    [(IBAPI, "ibapi-latest protobuf"), (IB_ASYNC, "ib_async"), (NAUTILUS, "'nautilus_trader[ib]'")],
)
def test_a_library_that_is_not_there_is_told_with_the_way_to_install_it(library: Library, wanted: str) -> None:
    (conflict,) = find_conflicts(look({}), library, "python")
    assert conflict.text == f"{library.name} is not installed in it"
    assert conflict.remedy == f"python -m pip install {wanted}"


def test_nautilus_trader_without_its_extra_is_told() -> None:
    (conflict,) = find_conflicts(look({"nautilus-trader": "1.231.0"}), NAUTILUS, "python")
    assert "without its extra `ib`" in conflict.text
    assert conflict.remedy == "python -m pip install 'nautilus_trader[ib]==1.231.0'"


def test_nautilus_trader_with_another_edition_of_ibapi_is_told_both_editions() -> None:
    other = look(
        {"nautilus-trader": "1.231.0", "ibapi-latest": "10.51.1", "protobuf": "7"},
        {"ibapi": ["ibapi-latest"]},
        requires=["nautilus-ibapi==10.45.1"],
        protobuf_code=True,
    )
    (conflict,) = find_conflicts(other, NAUTILUS, "python")
    assert (
        conflict.text
        == "nautilus_trader 1.231.0 was made for nautilus-ibapi==10.45.1, and there is ibapi-latest 10.51.1"
    )


def test_what_the_script_says_is_read_whole() -> None:
    said = {
        "python": [3, 12, 1],
        "distributions": {"ibapi": "9.81.1"},
        "owners": {"ibapi": ["ibapi"]},
        "requires": {},
        "protobuf_code": False,
    }
    assert read_packages(said) == InstalledPackages(
        (3, 12, 1), {"ibapi": "9.81.1"}, {"ibapi": ["ibapi"]}, {}, protobuf_code=False
    )
