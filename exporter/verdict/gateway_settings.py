"""What the gateway's own settings mean for programs and for our probes, in words."""

import re
from collections.abc import Iterator
from datetime import time

from exporter.maintenance import RESTART
from exporter.model import Cause, Target
from exporter.protocol.settings import SettingsAnswer

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# Why no settings came, by its cause (protocol/settings.py: SettingsAnswer).
PROBLEMS = {
    Cause.EOF: "the gateway ended the connection when it was asked",
    Cause.RESET: "the gateway reset the connection when it was asked",
    Cause.SILENCE: "the gateway does not answer the request",
    "error 10357": "the gateway refuses to tell them to API clients (error 10357)",
}
NOON, LAST_HOUR, LAST_MINUTE = 12, 23, 59


def remarks(answer: SettingsAnswer, target: Target) -> Iterator[str]:
    """Yield a line of evidence for each setting that explains a failure."""
    if answer.config is None:
        problem = PROBLEMS.get(answer.problem, answer.problem) or "no answer"
        yield f"The gateway's settings are not known: {problem}."
        return
    values = answer.config.values
    if values.get("read_only_api"):
        yield "By its settings the API is read-only: it refuses orders, and requests for orders (error 321)."
    if values.get("allow_localhost_only") and target.host not in LOOPBACK:
        yield "By its settings the gateway accepts connections from its own machine only."
    if answer.config.trusts_us is False:
        yield (
            "By its settings our address, as this machine has it, is not among its trusted addresses: it may refuse "
            "us, or ask someone to accept each connection."
        )
    master = values.get("master_client_id")
    if master and master in target.client_ids:
        yield f"Its master client id, {master}, is one of ours: reserve other client_ids."
    if values.get("maintain_connection_on_incorrect_fields") == 0:
        yield "By its settings one malformed request (error 320) ends a program's session."
    if values.get("reject_messages_above_max_rate"):
        yield "By its settings it rejects messages above its maximum rate (error 100) instead of pacing them."
    zone = answer.config.time_zone_format
    if target.download and zone and "utc" not in zone.lower():
        yield f"By its settings it sends times of instruments in {zone}: UTC format cured executions without an end."
    if answer.config.exit_time:
        yield from _restart(answer.config.exit_time, answer.config.exit_kind or "auto log-off", target)


def _restart(text: str, kind: str, target: Target) -> Iterator[str]:
    """Yield what to write where the target has no restart window, or one at another time than the gateway says."""
    configured = [window.start for window in target.windows if window.name == RESTART]
    at = _time_of_day(text)
    if not configured:
        suggested = f"{at:%H:%M}" if at else text
        yield (
            f"By its settings: {kind} at {text} of its own clock, whose time zone it does not tell: "
            f'write restart: {{at: "{suggested}", timezone: ...}} for the target.'
        )
    elif at is not None and at not in configured:
        yield f"By its settings: {kind} at {text} of its own clock; the target's restart is at {configured[0]:%H:%M}."


def _time_of_day(text: str) -> time | None:
    """Return the time in a text such as 23:45 or 11:45 PM; None if it is none."""
    match = re.fullmatch(r"(\d{1,2}):(\d{2})(?: ?([AP])M)?", text.strip().upper())
    if match is None:
        return None
    hour, minute, half = int(match[1]), int(match[2]), match[3]
    if half:
        if not 1 <= hour <= NOON:
            return None
        hour = hour % NOON + (NOON if half == "P" else 0)
    return time(hour, minute) if hour <= LAST_HOUR and minute <= LAST_MINUTE else None
