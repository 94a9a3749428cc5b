"""What `diagnose` prints: the table of layers, the verdict, the evidence and the required actions."""

from collections.abc import Iterable
from io import TextIOWrapper
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.model import LayerResult, Outcome, Report, Target, Verdict
from exporter.protocol.launcher_log import Login
from exporter.text import printable
from exporter.verdict.evidence import detail, time_taken
from exporter.verdict.explanation import explain
from exporter.verdict.rules import Severity, severity

COLOURS = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.CRITICAL: "red", Severity.UNKNOWN: "dim"}
HEADINGS = ("Test", "Library", "Result", "Time", "Details")
GAP = 3  # columns between two columns
DETAILS = 18  # columns that the details need to be readable
TESTS = {
    "port": "TCP connect",
    "handshake": "API handshake",
    "session": "API session",
    "download": "Account download",
}


class ReportRow(NamedTuple):
    """One result in words."""

    test: str
    library: str
    outcome: Text
    took: str
    details: str


def print_report(
    console: Console, target: Target, report: Report, verdict: Verdict, login: Login | None = None
) -> None:
    """Print the whole report: the table of layers, the verdict, the evidence and the actions."""
    if isinstance(console.file, TextIOWrapper):
        console.file.reconfigure(errors="replace")  # ASCII and Windows' code pages lack ✓ and ✗
    explanation = explain(report, target, verdict, login)
    colour = COLOURS[severity(verdict)]
    rows = rows_of(report.results)
    if console.width < _narrowest(rows):
        _print_lines(console, rows)
    else:
        console.print(table_of(rows), Text(""))
    console.print(Text.assemble(("Verdict: ", "bold"), (verdict.value, f"bold {colour}"), f"  {explanation.headline}"))
    _print_list(console, "Evidence", explanation.evidence)
    _print_list(console, "Required actions", explanation.actions, numbered=True)


def rows_of(results: Iterable[LayerResult]) -> list[ReportRow]:
    """Return each result in words."""
    return [
        ReportRow(
            result.client or TESTS[result.layer.value],
            _library(result),
            _outcome(result),
            time_taken(result),
            _details(result),
        )
        for result in results
    ]


def line_of(row: ReportRow) -> Text:
    """Return a row as one line."""
    parts = [part for part in (row.library, row.took, row.details) if part]
    return Text.assemble((row.test, "bold"), ": ", row.outcome, printable("".join(f", {part}" for part in parts)))


def _narrowest(rows: Iterable[ReportRow]) -> int:
    """Return how wide a terminal must be for the table, in which only libraries and details are broken into lines."""
    words = [(row.test, _longest_word(row.library), row.outcome.plain, row.took) for row in rows]
    return sum(max(map(cell_len, column)) + GAP for column in zip(HEADINGS[:4], *words, strict=True)) + DETAILS


def _longest_word(text: str) -> str:
    return max(text.split(), key=cell_len, default="")


def table_of(rows: Iterable[ReportRow]) -> Table:
    """Return the rows as a table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold", no_wrap=heading not in ("Library", "Details"))
    for row in rows:
        table.add_row(row.test, row.library, row.outcome, row.took, Text(printable(row.details)))
    return table


def _print_lines(console: Console, rows: Iterable[ReportRow]) -> None:
    """Print the rows one below the other, for a terminal too narrow for the table."""
    for row in rows:
        took = f", {row.took}" if row.took else ""
        console.print(Text.assemble((row.test, "bold"), ": ", row.outcome, took))
        for text in (row.library, row.details):
            if text:
                _print_indented(console, "  ", text)
    console.print()


def _library(result: LayerResult) -> str:
    if result.client is None:
        return "our own socket"
    return f"{result.installed.library} {result.installed.version}" if result.installed else ""


def _outcome(result: LayerResult) -> Text:
    if result.outcome is Outcome.OK:
        return Text("✓ ok", "green")
    if result.outcome in (Outcome.SKIPPED, Outcome.UNAVAILABLE) and result.cause is None:
        return Text(f"- {result.outcome.value}", "dim")
    return Text(f"✗ {result.outcome.value}", "red")


def _details(result: LayerResult) -> str:
    if result.outcome is Outcome.SKIPPED:
        return detail(result) or "not reached"
    parts = [] if result.server is None else [f"server version {result.server.version}"]
    if result.stage is not None:
        parts.append(f"at {result.stage.value}" + (f": {result.cause.value}" if result.cause else ""))
    return "; ".join([*parts, *([detail(result)] if detail(result) else [])])


def _print_list(console: Console, title: str, lines: Iterable[str], *, numbered: bool = False) -> None:
    rows = list(lines)
    if not rows:
        return
    console.print(Text(f"\n{title}", "bold"))
    for number, row in enumerate(rows, 1):
        _print_indented(console, f"  {number}. " if numbered else "  - ", row)


def _print_indented(console: Console, mark: str, text: str) -> None:
    """Print the text behind the mark, its further lines below its first, without spaces at their ends."""
    room = max(1, console.width - len(mark))
    for line in Text(printable(text)).wrap(console, room):
        console.print(Text(mark + line.plain.rstrip()))
        mark = " " * len(mark)
