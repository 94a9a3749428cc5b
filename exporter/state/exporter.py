"""What is known of the exporter itself: its version, its reloads, how late its ticks were, its clients."""

from dataclasses import dataclass, field

from exporter.state.discovery import SourceState
from exporter.state.histogram import LAG_BUCKETS, Histogram
from exporter.verdict.client_blame import ClientStatus


@dataclass(frozen=True, slots=True)
class ExporterState:
    """The exporter's own state. `reloaded_at` is in unix seconds; `lag` is how late ticks started, in seconds."""

    version: str
    python: str
    reload_successful: bool = True
    reloaded_at: float = 0.0
    lag: Histogram = field(default_factory=lambda: Histogram.empty(LAG_BUCKETS))
    skipped_ticks: int = 0
    clients: tuple[ClientStatus, ...] = ()
    external_url: str = ""  # where browsers reach the pages; empty where that is not configured
    not_installed: tuple[str, ...] = ()  # libraries that would be probed if they were installed
    sources: tuple[SourceState, ...] = ()  # of discovered targets
