from dataclasses import replace
from datetime import time, timedelta
from zoneinfo import ZoneInfo

import pytest

from exporter.config.maintenance_windows import ibkr_windows
from exporter.maintenance import RESTART, WEEK, Window
from exporter.protocol.settings import GatewayConfig, SettingsAnswer
from exporter.verdict.gateway_settings import remarks
from tests.core.states import T0, TARGET

TARGETS_OWN = replace(TARGET, windows=ibkr_windows())


def restart(hour: int, minute: int) -> Window:
    return Window(RESTART, frozenset(WEEK), time(hour, minute), timedelta(minutes=10), ZoneInfo("America/New_York"))


def said(text: str, *windows: Window) -> list[str]:
    answer = SettingsAnswer(T0, 1, GatewayConfig({}, exit_time=text, exit_kind="Auto restart"), asked=True)
    return list(remarks(answer, replace(TARGETS_OWN, windows=(*TARGETS_OWN.windows, *windows))))


@pytest.mark.parametrize(
    ("text", "at"), [("11:45 PM", "23:45"), ("23:45", "23:45"), ("12:05 am", "00:05"), ("12:05 PM", "12:05")]
)
def test_a_restart_that_is_not_configured_is_named_beside_the_windows_of_ibkr(text: str, at: str) -> None:
    [line] = said(text)
    assert line == (
        f"By its settings: Auto restart at {text} of its own clock, whose time zone it does not tell: "
        f'write restart: {{at: "{at}", timezone: ...}} for the target.'
    )


@pytest.mark.parametrize("text", ["late", "25:00", "13:00 PM", "0:30 AM"])
def test_a_time_that_is_none_is_shown_as_it_came_and_compared_with_nothing(text: str) -> None:
    assert f'at: "{text}"' in said(text)[0]
    assert said(text, restart(23, 45)) == []


def test_a_restart_at_the_configured_time_says_nothing_and_one_at_another_time_does() -> None:
    assert said("11:45 PM", restart(23, 45)) == []
    assert said("11:30 PM", restart(23, 45)) == [
        "By its settings: Auto restart at 11:30 PM of its own clock; the target's restart is at 23:45."
    ]
