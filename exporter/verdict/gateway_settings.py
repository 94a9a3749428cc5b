"""What the gateway's own settings mean for programs and for our probes, in words."""

from collections.abc import Iterator

from exporter.model import Target
from exporter.protocol.settings import SettingsAnswer

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def remarks(answer: SettingsAnswer, target: Target) -> Iterator[str]:
    """Yield a line of evidence for each setting that explains a failure."""
    if answer.config is None:
        yield f"The gateway's settings are not known: {answer.problem or 'no answer'}."
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
    if answer.config.exit_time and not target.windows:
        kind = answer.config.exit_kind or "auto log-off"
        yield f"By its settings: {kind} at {answer.config.exit_time} of its own clock; write restart for the target."
