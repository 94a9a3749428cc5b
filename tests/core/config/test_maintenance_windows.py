from datetime import time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from exporter.config import from_environment, load, target_for_endpoint
from exporter.config.checks import InvalidValue
from exporter.config.maintenance_windows import calendar, ibkr_windows, load_zone
from exporter.maintenance import WEEK, Day, Region, Window, names
from exporter.model import Target

GOOD = Path(__file__).parents[2] / "configs" / "good"
ONE = "targets:\n  - {name: a, host: 127.0.0.1, port: 7497%s}\n"
COMMON = ("weekend", "weekly_login")


def targets(tmp_path: Path, text: str) -> tuple[Target, ...]:
    path = tmp_path / "exporter.yaml"
    path.write_text(text, "utf-8")
    return load(path).targets


@pytest.mark.parametrize("region", list(Region))
def test_by_default_a_target_has_ibkrs_windows_of_its_region(tmp_path: Path, region: Region) -> None:
    [target] = targets(tmp_path, ONE % f", region: {region}")
    assert names(target.windows) == (region.value, *COMMON)
    assert target.windows == ibkr_windows(region)


def test_a_target_without_a_region_counts_as_north_american_and_expects_no_restart(tmp_path: Path) -> None:
    [target] = targets(tmp_path, ONE % "")
    assert names(target.windows) == ("north_america", *COMMON)


def test_what_is_written_replaces_ibkrs_windows_and_reaches_the_targets_of_its_region() -> None:
    plain, far = load(GOOD / "maintenance.yaml").targets
    tokyo, utc = ZoneInfo("Asia/Tokyo"), ZoneInfo("UTC")
    weekends = Window("nightly", frozenset({Day.SATURDAY, Day.SUNDAY}), time(12), time(13), utc)
    assert plain.windows == (weekends, Window("restart", frozenset(WEEK), time(5), timedelta(minutes=5), utc))
    assert far.windows == (
        Window("nightly", frozenset(WEEK), time(23, 50), time(0, 10), tokyo),
        weekends,
        Window("restart", frozenset(WEEK), time(23, 45), timedelta(seconds=90), tokyo),
    )


def test_an_empty_list_means_no_windows() -> None:
    assert load(GOOD / "no_maintenance.yaml").targets[0].windows == ()


def test_a_region_of_its_own_keeps_the_restart_of_the_defaults_and_the_other_way_round(tmp_path: Path) -> None:
    defaults = "defaults: {region: europe, restart: {time: 05:00, timezone: UTC}}\n"
    [moved] = targets(tmp_path, ONE % ", region: asia_pacific" + defaults)
    assert names(moved.windows) == ("asia_pacific", *COMMON, "restart")
    [restarted] = targets(tmp_path, ONE % ", restart: {time: 06:00, timezone: UTC}" + defaults)
    assert names(restarted.windows) == ("europe", *COMMON, "restart")
    assert restarted.windows[-1].start == time(6)


def test_targets_with_the_same_windows_are_equal_after_a_reload(tmp_path: Path) -> None:
    text = ONE % ", restart: {time: 23:45, timezone: America/New_York}"
    assert targets(tmp_path, text) == targets(tmp_path, text)


def test_without_a_file_ibkrs_windows_apply(tmp_path: Path) -> None:
    expected = ("north_america", *COMMON)
    assert names(target_for_endpoint("127.0.0.1", 7497).windows) == expected
    assert names(from_environment({"IB_PORT": "7497"}).targets[0].windows) == expected
    path = tmp_path / "exporter.yaml"
    path.write_text("maintenance: []\n" + ONE % "", "utf-8")
    assert target_for_endpoint("127.0.0.1", 7497, load(path).defaults).windows == ()


@pytest.mark.parametrize(
    "name", ["", "Nowhere", "../../etc/passwd", "/etc/localtime", "America", "a\0b", "x" * 300, "EST"]
)
def test_what_is_no_time_zone_is_unfit(name: str) -> None:
    with pytest.raises(InvalidValue):
        load_zone(name)


def test_ibkrs_own_windows_load() -> None:
    assert len(calendar().entries) == 6
