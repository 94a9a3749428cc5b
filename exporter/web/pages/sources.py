"""The sources of discovered targets at the head of the status page: what each gave, and what is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.state.discovery import SourceState
from exporter.state.exporter import ExporterState
from exporter.text import elapsed, joined
from exporter.verdict.rules import Severity
from exporter.web.pages.rows import SIGNS

SHOWN = 3  # problems of one source


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source: how many targets it gave, and the first problems, with the number of others."""

    name: str
    where: str
    tone: str
    sign: str
    text: str
    problems: tuple[str, ...]
    more: int


def source_rows(exporter: ExporterState | None, now: float) -> Iterator[SourceRow]:
    """Every source, in the order of the configuration."""
    for source in exporter.sources if exporter else ():
        problems = (*([source.failure] if source.failure else []), *source.problems)
        tone = _tone(source)
        yield SourceRow(
            name=source.config,
            where=source.where,
            tone=tone.value,
            sign=SIGNS[tone],
            text=_text(source, now),
            problems=problems[:SHOWN],
            more=len(problems[SHOWN:]),
        )


def _tone(source: SourceState) -> Severity:
    if not source.refreshes:
        return Severity.UNKNOWN
    return Severity.WARNING if source.failure or source.rejected else Severity.OK


def _text(source: SourceState, now: float) -> str:
    if not source.refreshes:
        return "not yet read"
    number = f"{source.targets} target{'' if source.targets == 1 else 's'}"
    left_out = f"{source.rejected} left out" if source.rejected else ""
    old = ""
    if source.failing_since is not None:
        since = elapsed(now - source.failing_since)
        old = f"fails since {since}; the last good list is in use" if source.succeeded_at else f"fails since {since}"
    return joined(number, left_out, old, between=", ")
