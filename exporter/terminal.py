"""What `diagnose` prints for people: the table of layers, the verdict, the evidence and the required actions."""

from collections.abc import Iterable
from io import TextIOWrapper

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.evidence import detail, duration
from exporter.login import Login
from exporter.model import LayerResult, Outcome, Report, Target, Verdict
from exporter.verdict import Severity, explain, severity

COLOURS = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.CRITICAL: "red", Severity.UNKNOWN: "dim"}
QUESTIONS = {
    "port": "TCP connect",
    "handshake": "API handshake",
    "session": "API session",
}


def print_report(
    console: Console, target: Target, report: Report, verdict: Verdict, login: Login | None = None
) -> None:
    """The whole answer of `diagnose`, in the order in which one reads it at 6 a.m."""
    if isinstance(console.file, TextIOWrapper):
        console.file.reconfigure(errors="replace")  # ASCII and Windows' code pages lack our signs
    explanation = explain(report, target, verdict, login)
    colour = COLOURS[severity(verdict)]
    console.print(_layers(report.results), Text(""))
    console.print(Text.assemble(("Verdict: ", "bold"), (verdict.value, f"bold {colour}"), f"  {explanation.headline}"))
    _print_list(console, "Evidence", explanation.evidence)
    _print_list(console, "Required actions", explanation.actions, numbered=True)


def _layers(results: Iterable[LayerResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("Test", "Library", "Result", "Time", "Details"):
        table.add_column(heading, overflow="fold", no_wrap=heading not in ("Library", "Details"))
    for result in results:
        test = result.client or QUESTIONS[result.layer.value]
        table.add_row(test, _library(result), _outcome(result), _took(result), Text(_details(result)))
    return table


def _library(result: LayerResult) -> str:
    if result.client is None:
        return "our own socket"
    return f"{result.edition.library} {result.edition.version}" if result.edition else ""


def _outcome(result: LayerResult) -> Text:
    if result.outcome is Outcome.OK:
        return Text("✓ ok", "green")
    if result.outcome in (Outcome.SKIPPED, Outcome.UNAVAILABLE) and result.cause is None:
        return Text(f"- {result.outcome.value}", "dim")
    return Text(f"✗ {result.outcome.value}", "red")


def _took(result: LayerResult) -> str:
    return "" if result.seconds is None else duration(result.seconds)


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
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for number, row in enumerate(rows, 1):
        grid.add_row(f"  {number}." if numbered else "  -", Text(row))
    console.print(grid)
