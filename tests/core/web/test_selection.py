"""Which targets the status page shows: the filter, the pages, and that every link keeps what was chosen."""

import re
from dataclasses import replace
from html import unescape
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Verdict
from exporter.state.target import TargetState
from exporter.verdict.rules import Severity
from exporter.web import pages
from exporter.web.pages.selection import PAGE, Selection, pager, parse_selection
from tests.core.states import NOW, in_verdict, target
from tests.core.web.test_pages import Outline

WELL = in_verdict(Verdict.HEALTHY)
FLEET = [
    *(replace(WELL, target=target(f"well-{number:03}")) for number in range(2 * PAGE + 30)),
    *(in_verdict(Verdict.API_SILENT, f"silent-{number}") for number in range(3)),
    in_verdict(Verdict.SLOW, "sluggish"),
]


def status(query: str, fleet: list[TargetState] = FLEET) -> str:
    return "".join(pages.status_chunks(fleet, NOW, selection=parse_selection(dict(parse_qsl(query)))))


def shown(html: str) -> set[str]:
    return set(re.findall(r'href="targets/([^"]+)"', html))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=SILENT-1", {"silent-1"}),
        ("name=well-00", {f"well-00{digit}" for digit in range(10)}),
        ("name=:7497&verdict=slow", {"sluggish"}),
        ("verdict=api_silent", {"silent-0", "silent-1", "silent-2"}),
        ("severity=critical", {"silent-0", "silent-1", "silent-2"}),
        ("name=nothing", set()),
    ],
)
def test_the_filter_shows_the_targets_that_match_and_no_other(query: str, names: set[str]) -> None:
    html = status(query)
    assert shown(html) == names
    assert ("No target matches." in html) is (not names)


def test_the_summary_and_the_title_are_of_all_targets_whatever_is_shown() -> None:
    for query in ("", "name=well", "page=3"):
        outline = Outline(status(query))
        assert outline.title.startswith("✗ api_silent: silent-0 and 3 more")
        assert "✗ 3 critical" in " ".join(outline.text.split())


def test_the_pages_together_show_every_target_once_the_worst_first() -> None:
    names = [re.findall(r'href="targets/([^"]+)">(?!T)', status(f"page={number}")) for number in (1, 2, 3)]
    assert [len(of_page) for of_page in names] == [PAGE, PAGE, 34]
    assert {name for of_page in names for name in of_page} == {state.target.name for state in FLEET}
    assert names[0][:4] == ["silent-0", "silent-1", "silent-2", "sluggish"]


def test_a_page_beyond_the_last_is_the_last() -> None:
    assert shown(status("page=99")) == shown(status("page=3"))


def test_links_to_other_pages_keep_the_filter() -> None:
    html = status("name=well&refresh=off&page=2")
    [following] = re.findall(r'rel="next" href="([^"]+)"', html)
    assert dict(parse_qsl(unescape(following)[1:])) == {"name": "well", "page": "3", "refresh": "off"}
    assert 'name="name" value="well"' in html
    assert '<input type="hidden" name="refresh" value="off">' in html


def test_a_small_fleet_needs_no_form_and_no_pages() -> None:
    outline = Outline(status("", FLEET[:3]))
    assert not outline.all("form")
    assert not [nav for nav in outline.all("nav") if nav["aria-label"] != "Site"]


def test_the_form_works_without_a_script_and_every_field_has_a_label() -> None:
    outline = Outline(status(""))
    assert [form.get("action") for form in outline.all("form")] == [None]  # to the page itself
    assert len(outline.all("label")) == len(outline.all("input")) + len(outline.all("select"))


def test_what_is_typed_into_the_filter_is_shown_as_text() -> None:
    html = status("name=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script" not in html
    assert not Outline(html).all("script")


@given(st.dictionaries(st.sampled_from(["name", "verdict", "severity", "page", "refresh", "x"]), st.text(max_size=8)))
def test_any_query_is_a_selection_and_its_link_leads_back_to_it(query: dict[str, str]) -> None:
    selection = parse_selection(query)
    if selection.severity:
        selection = Selection(selection.name, None, selection.severity, selection.page, selection.refresh)
    assert parse_selection(dict(parse_qsl(selection.href(page=selection.page)[1:]))) == selection


@given(st.integers(1, 50), st.integers(0, 5000))
def test_the_pages_cover_all_targets_without_a_gap(number: int, total: int) -> None:
    page = pager(Selection(page=number), total)
    assert page.pages == max(1, -(-total // PAGE))
    assert 0 <= page.last - page.first < PAGE
    assert (page.last == total) is (page.next is None)
    assert (page.number == 1) is (page.previous is None)


def test_severities_and_verdicts_are_read_by_their_names() -> None:
    selection = parse_selection(
        {"verdict": "slow", "severity": "warning", "page": "2", "refresh": "off", "name": " a "}
    )
    assert selection == Selection("a", Verdict.SLOW, Severity.WARNING, 2, refresh=False)
