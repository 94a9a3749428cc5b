"""The pages and the status as JSON: functions of the states and `now`."""

from exporter.web.pages.render import (
    CONTENT_SECURITY_POLICY,
    OTHER_RUNBOOKS,
    prepare,
    render_error,
    render_runbook,
    render_runbooks,
    render_target,
    runbook_source,
    static,
    status_chunks,
    target_chunks,
)
from exporter.web.pages.selection import parse_selection
from exporter.web.pages.status_json import report_json, state_json, status, status_text

__all__ = [
    "CONTENT_SECURITY_POLICY",
    "OTHER_RUNBOOKS",
    "parse_selection",
    "prepare",
    "render_error",
    "render_runbook",
    "render_runbooks",
    "render_target",
    "report_json",
    "runbook_source",
    "state_json",
    "static",
    "status",
    "status_chunks",
    "status_text",
    "target_chunks",
]
