"""Durations, times and foreign text, written for people. Pure: `at` is always a parameter."""

from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3600, 86400


def duration(seconds: float) -> str:
    """Format a measured time: 0.31 ms, 12 ms, 5.0 s."""
    if seconds < 0.01:  # noqa: PLR2004 - below ten milliseconds the fractions matter
        return f"{seconds * 1000:.2f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"  # noqa: PLR2004 - never 1000 ms


def elapsed(seconds: float) -> str:
    """Format how long something has lasted: 12 s, 5 min, 3 h 20 min, 2 d 4 h. Negative times count as 0 s."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min" + (f" {whole % MINUTE} s" if whole < 10 * MINUTE and whole % MINUTE else "")
    if whole < DAY:
        return f"{whole // HOUR} h" + (f" {whole % HOUR // MINUTE} min" if whole % HOUR // MINUTE else "")
    return f"{whole // DAY} d" + (f" {whole % DAY // HOUR} h" if whole % DAY // HOUR else "")


def utc(at: float) -> str:
    """Format a unix time for people: 2026-11-21 02:00:00 UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def rfc3339(at: float) -> str:
    """Format a unix time for machines, in UTC, to the second: 2026-11-21T02:00:00Z."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def joined(*parts: str, between: str = "; ") -> str:
    """Join the parts that are not empty."""
    return between.join(part for part in parts if part)


def printable(text: str) -> str:
    """Escape what does not print, so that the text stays on one line and is safe on a terminal."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
