"""The sources of discovered targets on the status page and in the JSON."""

import json
from dataclasses import replace

import pytest

from exporter.state.discovery import SourceState, failed, succeeded
from exporter.state.exporter import ExporterState
from exporter.web.pages.render import status_chunks
from exporter.web.pages.sources import source_rows
from exporter.web.pages.status_json import status_text
from tests.core.states import NOW, T0

NEW = SourceState("http", "http_sd_configs[0]", "http://sd.example/targets")
GOOD = succeeded(replace(NEW, targets=1), T0, 0.1)
NASTY = '<script>alert("x")</script>\nibkr_up 1 \u2028'


def exporter(*sources: SourceState) -> ExporterState:
    return ExporterState("1", "3", sources=sources)


@pytest.mark.parametrize(
    ("source", "tone", "text"),
    [
        (NEW, "unknown", "not yet read"),
        (GOOD, "ok", "1 target"),
        (replace(GOOD, targets=12, rejected=2), "warning", "12 targets, 2 left out"),
        (failed(GOOD, NOW - 120.0, 0.1, "x"), "warning", "1 target, fails since 2 min; the last good list is in use"),
        (failed(NEW, NOW - 120.0, 0.1, "x"), "warning", "0 targets, fails since 2 min"),
    ],
)
def test_a_source_is_shown_with_what_it_gave_and_since_when_it_fails(source: SourceState, tone: str, text: str) -> None:
    [shown] = source_rows(exporter(source), NOW)

    assert (shown.name, shown.tone, shown.text) == ("http_sd_configs[0]", tone, text)


def test_some_problems_are_shown_and_the_number_of_the_others() -> None:
    source = replace(failed(GOOD, NOW, 0.1, "it fails"), problems=("a", "b", "c", "d"))

    [shown] = source_rows(exporter(source), NOW)

    assert (shown.problems, shown.more) == (("it fails", "a", "b"), 2)


def test_what_a_source_says_is_text_on_the_page_and_in_the_json_whatever_it_holds() -> None:
    source = replace(failed(GOOD, NOW, 0.1, NASTY), problems=(NASTY,), where=NASTY)

    page = "".join(status_chunks([], NOW, exporter(source)))
    answer = json.loads("".join(status_text([], NOW, [source])))

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert (answer["discovery"][0]["failure"], answer["discovery"][0]["problems"]) == (NASTY, [NASTY])


def test_a_later_failure_keeps_the_beginning_and_a_success_ends_it() -> None:
    source = failed(failed(GOOD, NOW, 0.1, "x"), NOW + 60.0, 0.1, "y")

    assert (source.failing_since, source.failure, source.failures) == (NOW, "y", 2)
    assert (succeeded(source, NOW + 90.0, 0.1).failing_since, source.succeeded_at) == (None, T0)
