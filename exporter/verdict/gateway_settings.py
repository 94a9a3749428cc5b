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
    master = values.get("master_client_id")
    if master and master in target.client_ids:
        yield f"Its master client id, {master}, is one of ours: reserve other client_ids."
    if answer.config.exit_time and not target.windows:
        kind = answer.config.exit_kind or "auto log-off"
        yield f"By its settings: {kind} at {answer.config.exit_time} of its own clock; write restart for the target."
