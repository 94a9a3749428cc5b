"""A report of one target as a block of plain text, to paste into a bug report. Pure.

It holds versions, layers, libraries, times, verdict and evidence. Account numbers are masked, the configured one too,
the names of hosts and of home directories are replaced.
"""

import re
from dataclasses import replace
from ipaddress import ip_address

from exporter.model import LayerResult, Outcome, Report, Target, Verdict
from exporter.protocol.launcher_log import Login
from exporter.text import joined, printable, rfc3339
from exporter.verdict.evidence import detail, masked, release, stage_times, time_taken
from exporter.verdict.explanation import explain

ACCOUNT = re.compile(r"\b(?:D?[UFI]|DF|DI)\d{5,9}\b")
HOME = re.compile(r"(/home/|/Users/|\\Users\\)[^/\\\s]+")
HOST = "HOST"
HEADINGS = ("Test", "Library", "Result", "Time", "Stage", "Details")
LOCAL_NAMES = frozenset({"localhost", "host.docker.internal"})


def bug_report(
    report: Report,
    target: Target,
    verdict: Verdict,
    exporter: str,
    *,
    login: Login | None = None,
    since: float | None = None,
) -> str:
    """Return the block. `exporter` names the exporter's version, Python and platform; `since` is in unix seconds."""
    explanation = explain(report, target, verdict, login, since)
    handshake = next((result.server for result in report.results if result.client is None and result.server), None)
    version = f"server version {handshake.version}" if handshake else "server version unknown"
    lines = [
        f"Exporter: {exporter}",
        f"Gateway:  {_endpoint(target)}, {target.mode.value}, {version}",
        f"Probed:   {rfc3339(report.at)}",
        f"Verdict:  {verdict.value}. {explanation.headline}",
        "",
        *_table(report.results, target),
        "",
        "Evidence",
        *(f"- {line}" for line in explanation.evidence),
    ]
    return "\n".join(masked_text(printable(line), target).rstrip() for line in lines) + "\n"


def masked_text(text: str, target: Target) -> str:
    """Mask account numbers, and replace the host's name and the names of home directories."""
    if target.account:
        text = text.replace(target.account, masked(target.account))
    text = ACCOUNT.sub(lambda match: masked(match.group()), text)
    text = HOME.sub(r"\1USER", text)
    return text if _local(target.host) else re.sub(rf"(?<![\w.-]){re.escape(target.host)}(?![\w-])", HOST, text)


def _local(host: str) -> bool:
    if host in LOCAL_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _endpoint(target: Target) -> str:
    return target.endpoint if _local(target.host) else replace(target, host=HOST).endpoint


def _table(results: tuple[LayerResult, ...], target: Target) -> list[str]:
    """Return the results as a Markdown table, with the stages of each library."""
    rows = [HEADINGS, *(_row(result, target) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    rule = tuple("-" * width for width in widths)
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (rows[0], rule, *rows[1:])
    ]


def _row(result: LayerResult, target: Target) -> tuple[str, ...]:
    at = "" if result.stage is None or result.ok else result.stage.value
    cells = (
        result.client or result.layer.value,
        release(result.installed) if result.installed else "" if result.client else "own socket",
        _outcome(result),
        time_taken(result),
        at,
        joined(detail(result), stage_times(result)),
    )
    return tuple(masked_text(printable(cell), target).replace("|", "/") for cell in cells)


def _outcome(result: LayerResult) -> str:
    cause = f" ({result.cause.value})" if result.cause else ""
    return (
        "PASS"
        if result.ok
        else result.outcome.value
        if result.outcome is Outcome.SKIPPED
        else f"FAIL {result.outcome.value}{cause}"
    )
