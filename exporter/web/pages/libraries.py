"""The client libraries at the head of the status page: each with its version, and on which targets it works."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from exporter.model import LayerResult, Report, Stage
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState
from exporter.text import joined
from exporter.verdict.client_blame import is_conclusive, suspended_clients
from exporter.verdict.rules import Severity
from exporter.web.pages.rows import SIGNS

NAMED = 3  # targets that are named where a library fails


@dataclass(frozen=True, slots=True)
class FailingTarget:
    """A target on which a library fails: its verdict, and the stage. `href` is its name for a path."""

    name: str
    href: str
    text: str


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """One library: where it works (`text`), and the first targets on which it fails, with the number of others."""

    name: str
    version: str
    tone: str
    sign: str
    text: str
    failing: tuple[FailingTarget, ...]
    more: int


@dataclass(slots=True)
class _Count:
    targets: int = 0
    passed: int = 0
    failing: list[FailingTarget] = field(default_factory=list)


class LibrarySurvey:
    """Counts, target after target, where each library works."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def add(self, state: TargetState, report: Report | None) -> None:
        """Count a target by the report that may be shown now."""
        for name in state.target.clients:
            self._counts.setdefault(name, _Count()).targets += 1
        results = report.results if report is not None else ()
        kept_away = suspended_clients(report) if report is not None else ()
        for result in results:
            count = self._counts.get(result.client or "")
            if count is not None and (is_conclusive(result) or result in kept_away):
                count.passed += result.ok
                if not result.ok:
                    count.failing.append(_failing(state, result))

    def rows(self, exporter: ExporterState | None) -> Iterator[LibraryRow]:
        """One row for each library, those that fail most before the others."""
        statuses = {status.client: status for status in exporter.clients} if exporter else {}
        for name, count in sorted(self._counts.items(), key=lambda each: (-len(each[1].failing), each[0])):
            status = statuses.get(name)
            tone = Severity.CRITICAL if status and status.problem else _tone(count)
            yield LibraryRow(
                name=name,
                version=status.installed.version if status and status.installed else "",
                tone=tone.value,
                sign=SIGNS[tone],
                text=f"cannot be used: {status.problem}" if status and status.problem else _text(count),
                failing=tuple(count.failing[:NAMED]),
                more=max(0, len(count.failing) - NAMED),
            )


def library_note(survey: tuple[LibraryRow, ...], exporter: ExporterState) -> str:
    """What is not installed, and that nothing is tried where that is so."""
    if not exporter.not_installed:
        return ""
    missing = f"Not installed: {', '.join(exporter.not_installed)} (ibkr-exporter clients install installs them)."
    return joined("" if survey else "No client library is tried.", missing, between=" ")


def _failing(state: TargetState, result: LayerResult) -> FailingTarget:
    name = state.target.name
    where = f"at {(result.stage or Stage.CONNECT).value}" if is_conclusive(result) else "kept away"
    counts = state.verdict.value if result.doubt is None else "not counted against it"
    return FailingTarget(name, quote(name, safe=""), f"{where} ({counts})")


def _tone(count: _Count) -> Severity:
    if not count.passed and not count.failing:
        return Severity.UNKNOWN
    if not count.failing:
        return Severity.OK
    return Severity.WARNING if count.passed else Severity.CRITICAL


def _text(count: _Count) -> str:
    probed = count.passed + len(count.failing)
    left = count.targets - probed
    unknown = f"no result on {left} {_targets(left)}" if left else ""
    if not probed:
        return unknown
    return joined(f"works on {count.passed} of {probed} {_targets(probed)}", unknown, between=", ")


def _targets(count: int) -> str:
    return "target" if count == 1 else "targets"
