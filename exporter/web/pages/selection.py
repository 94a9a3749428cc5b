"""Which targets the status page shows: the query of its address, as a form or a link gives it.

    name      a part of a target's name or endpoint
    verdict   targets with this verdict
    severity  targets whose verdict has this severity
    page      from 1; a page has PAGE targets
    refresh   off: the page is not loaded again by itself

What cannot be read is left out: every address shows a page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from exporter.model import Verdict
from exporter.state.target import TargetState
from exporter.verdict.rules import Severity, severity

PAGE = 100


@dataclass(frozen=True, slots=True)
class Selection:
    """What is shown; by default everything from the start, loaded again by itself."""

    name: str = ""
    verdict: Verdict | None = None
    severity: Severity | None = None
    page: int = 1
    refresh: bool = True

    @property
    def filters(self) -> bool:
        """Whether some targets may be left out."""
        return bool(self.name or self.verdict or self.severity)

    def shows(self, state: TargetState, verdict: Verdict) -> bool:
        """Whether a target with this verdict is shown."""
        if self.name and self.name.lower() not in f"{state.target.name} {state.target.endpoint}".lower():
            return False
        return self.verdict in (None, verdict) and self.severity in (None, severity(verdict))

    def href(self, *, page: int = 1, severity: Severity | None = None, refresh: bool | None = None) -> str:
        """A link to the same with these changes; to the first page, unless a page is named."""
        query = {
            "name": self.name,
            "verdict": "" if severity else self.verdict or "",
            "severity": severity or self.severity or "",
            "page": page if page > 1 else "",
            "refresh": "" if (self.refresh if refresh is None else refresh) else "off",
        }
        return "?" + urlencode({key: value for key, value in query.items() if value})


def parse_selection(query: Mapping[str, str]) -> Selection:
    """The selection that a query names."""
    verdict, tone, page = query.get("verdict"), query.get("severity"), query.get("page", "")
    return Selection(
        name=query.get("name", "").strip()[:100],
        verdict=Verdict(verdict) if verdict in set(Verdict) else None,
        severity=Severity(tone) if tone in set(Severity) else None,
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 and int(page) else 1,  # noqa: PLR2004 - digits
        refresh=query.get("refresh") != "off",
    )


@dataclass(frozen=True, slots=True)
class Pager:
    """Where in the list a page is; `first` and `last` count the targets from 1. No link where there is no such page."""

    number: int
    pages: int
    first: int
    last: int
    total: int
    previous: str | None
    next: str | None


def pager(selection: Selection, total: int) -> Pager:
    """The page of this many targets that the selection names; the last one where it names one beyond."""
    pages = max(1, -(-total // PAGE))
    number = min(selection.page, pages)
    return Pager(
        number=number,
        pages=pages,
        first=min(total, (number - 1) * PAGE + 1),
        last=min(total, number * PAGE),
        total=total,
        previous=selection.href(page=number - 1) if number > 1 else None,
        next=selection.href(page=number + 1) if number < pages else None,
    )
