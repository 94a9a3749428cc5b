"""Maintenance windows from what is configured: the time zones are loaded here, so that the pure packages do no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import time, timedelta
from difflib import get_close_matches
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from exporter.config.checks import InvalidValue
from exporter.maintenance import IBKR_WINDOWS, RESTART, WEEK, Entry, Region, Window

# IANA has them, with the offset of winter all year: a window in "EST" would be an hour off in summer.
WITHOUT_SUMMER = {"EST": "America/New_York", "MST": "America/Denver", "HST": "Pacific/Honolulu"}
EXAMPLE = "Write the IANA name of a place, such as America/New_York"
NO_ZONES = "Install the package tzdata, or write maintenance: []"


@dataclass(frozen=True, slots=True)
class Calendar:
    """The windows that targets choose from by their region."""

    entries: tuple[tuple[Region | None, Window], ...]

    def of(self, region: Region, restart: Window | None = None) -> tuple[Window, ...]:
        """The windows of a target: those of its region, those of all, and that of its own restart."""
        chosen = tuple(window for where, window in self.entries if where in (None, region))
        return chosen if restart is None else (*chosen, restart)


def load_zone(name: str) -> ZoneInfo:
    """The time zone. Raises InvalidValue."""
    if name in WITHOUT_SUMMER:
        raise InvalidValue(f'"{name}" is a time zone without summer time', f"Write {WITHOUT_SUMMER[name]}")
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # no name of a zone, a directory of zones, unknown
        near = get_close_matches(name, _zone_names(), n=1)
        remedy = f'Did you mean "{near[0]}"?' if near else EXAMPLE
        raise InvalidValue(f'"{name}" is not a time zone', remedy) from None


@cache
def _zone_names() -> list[str]:
    """All zones of this system. To look opens each of their 600 files: once will do for a list of misspelt names."""
    return sorted(available_timezones())


def parse_time(text: str) -> time:
    """A time of day from `23:45`."""
    return time.fromisoformat(text)


def restart_window(at: str, timezone: str, seconds: float) -> Window:
    """A gateway's own restart, every day."""
    return Window(RESTART, frozenset(WEEK), parse_time(at), timedelta(seconds=seconds), load_zone(timezone))


def calendar(entries: Iterable[Entry] = IBKR_WINDOWS) -> Calendar:
    """The windows ready for use; IBKR's own by default. Raises InvalidValue where a time zone is unknown."""
    return Calendar(
        tuple(
            (entry.region, Window(entry.name, frozenset(entry.days), entry.start, entry.end, load_zone(entry.zone)))
            for entry in entries
        )
    )


def ibkr_windows(region: Region = Region.NORTH_AMERICA) -> tuple[Window, ...]:
    """Return IBKR's windows, for a target without configuration; no window on a system without time zones."""
    try:
        return calendar().of(region)
    except InvalidValue:
        return ()
