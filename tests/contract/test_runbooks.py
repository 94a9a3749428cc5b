"""Verdicts, remedies and runbooks agree: a failure here names what a new one lacks."""

import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from deploy.rules.alerts import alerts
from exporter.model import Outcome, Stage, Verdict
from exporter.verdict.actions import REMEDIES
from exporter.web import pages
from exporter.web.pages import runbook_source

# What a runbook, which is about no target in particular, has in place of the fields of a remedy.
FIELDS = {
    "endpoint": "HOST:PORT",
    "host": "HOST",
    "port": "PORT",
    "mode": "MODE",
    "name": "TARGET",
    "ids": "CLIENT_IDS",
    "account": "ACCOUNT",
}
SECTIONS = ["How we know", "What it is not", "Required actions", "Confirm the repair", "Related verdicts"]


class Text(HTMLParser):
    """The text and the links of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]

    def handle_data(self, data: str) -> None:
        self.text += data


NAMES = [*(verdict.value for verdict in Verdict), *pages.OTHER_RUNBOOKS]


def section(verdict: str, heading: str) -> str:
    return runbook_source(verdict).split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0].strip()


def test_there_is_a_runbook_for_every_verdict_and_every_alert_about_none_and_for_nothing_else() -> None:
    names = {entry.name for entry in files("exporter").joinpath("runbooks").iterdir()}
    assert names == {f"{name}.md" for name in NAMES}


@pytest.mark.parametrize("name", pages.OTHER_RUNBOOKS)
def test_a_runbook_of_no_verdict_asks_for_the_same_actions_as_its_alert(name: str) -> None:
    asked = {alert.description.partition("What to do:\n")[2] for alert in alerts() if alert.runbook == name}
    assert asked == {section(name, "Required actions")}


def test_every_verdict_has_words_and_all_but_healthy_say_what_to_do() -> None:
    assert set(REMEDIES) == set(Verdict)
    assert [verdict for verdict, remedy in REMEDIES.items() if not remedy.actions] == [Verdict.HEALTHY]


@pytest.mark.parametrize("verdict", Verdict)
def test_a_runbook_asks_for_the_same_actions_as_the_page_in_the_same_order(verdict: Verdict) -> None:
    actions = [action.format_map(FIELDS) for action in REMEDIES[verdict].actions]
    expected = "\n".join(f"{number}. {action}" for number, action in enumerate(actions, 1)) or "None."
    assert section(verdict, "Required actions") == expected


@pytest.mark.parametrize("verdict", NAMES)
def test_a_runbook_has_the_sections_of_all_others_and_the_causes_among_them(verdict: str) -> None:
    source = runbook_source(verdict)
    headings = re.findall(r"^## (.*)$", source, re.MULTILINE)
    assert source.startswith(f"# {verdict}: ")
    assert headings[:3] == SECTIONS[:3]
    assert headings[4:] == SECTIONS[3:]
    assert all(section(verdict, heading) for heading in headings)


@pytest.mark.parametrize("verdict", NAMES)
def test_a_runbook_names_related_verdicts_by_links_that_lead_somewhere(verdict: str) -> None:
    targets = re.findall(r"\[([^\]]*)\]\(([^)]*)\)", runbook_source(verdict))
    related = re.findall(r"\]\((\w+)\.md\)", section(verdict, "Related verdicts"))
    assert related
    assert verdict not in related
    for text, place in targets:
        assert place == f"{Verdict(text)}.md"


@pytest.mark.parametrize("verdict", Verdict)
def test_the_page_of_a_runbook_shows_all_of_it_with_links_that_work_there(verdict: Verdict) -> None:
    shown = Text(pages.render_runbook(verdict))
    for action in REMEDIES[verdict].actions:
        assert " ".join(action.format_map(FIELDS).split()) in " ".join(shown.text.split())
    related = re.findall(r"\]\((\w+)\.md\)", section(verdict, "Related verdicts"))
    assert set(related) <= set(shown.links)
    assert not [link for link in shown.links if link.endswith(".md")]
    assert "|---|" not in shown.text
    assert "](" not in shown.text


def test_the_list_of_runbooks_leads_to_every_one() -> None:
    assert {f"runbooks/{name}" for name in NAMES} <= set(Text(pages.render_runbooks()).links)


def test_runbooks_speak_of_no_outcome_and_no_stage_that_does_not_exist() -> None:
    outcomes, stages = {outcome.value for outcome in Outcome}, {stage.value for stage in Stage}
    for verdict in NAMES:
        source = runbook_source(verdict)
        assert set(re.findall(r"outcome `(\w+)`", source)) <= outcomes, verdict
        assert set(re.findall(r"stage `(\w+)`", source)) <= stages, verdict
