from dataclasses import replace

from exporter.model import Cause, Doubt, LayerResult, Outcome
from exporter.state.claims import claims
from exporter.state.discovery import SourceState
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState
from exporter.verdict.client_blame import ClientStatus, skipped
from exporter.web.pages.libraries import FailingTarget, LibraryRow, LibrarySurvey
from exporter.web.pages.render import status_chunks
from tests.core.states import CLIENT_HUNG, CLIENT_OK, INSYNC, NOW, T0, TARGET, TRADING, grown, tried

NAMES = ("ib_insync", "nautilus")
WORKS = replace(CLIENT_OK, client="nautilus")
FAILS = replace(CLIENT_HUNG, client="ib_insync")


def state_of(name: str, *results: LayerResult) -> TargetState:
    target = replace(TARGET, name=name, clients=NAMES)
    return tried(grown(TRADING, target=target), *results, at=T0 + 5.0)


def rows(states: list[TargetState], exporter: ExporterState | None = None) -> list[LibraryRow]:
    survey = LibrarySurvey()
    for state in states:
        survey.add(state, claims(state, NOW))
    return list(survey.rows(exporter))


def test_a_library_is_shown_with_the_targets_on_which_it_works_and_fails() -> None:
    states = [state_of("well", CLIENT_OK, WORKS), state_of("ill", FAILS, WORKS), state_of("silent")]
    exporter = ExporterState("1", "3", clients=(ClientStatus("ib_insync", INSYNC),))
    [insync, nautilus] = rows(states, exporter)
    assert (insync.name, insync.version, insync.tone) == ("ib_insync", "0.9.86", "warning")
    assert insync.text == "works on 1 of 2 targets, no result on 1 target"
    assert insync.failing == (FailingTarget("ill", "ill", f"at {FAILS.stage} (client_fault)"),)
    assert (nautilus.tone, nautilus.text, nautilus.failing) == (
        "ok",
        "works on 2 of 2 targets, no result on 1 target",
        (),
    )


def test_a_library_that_works_nowhere_comes_first_and_only_some_targets_are_named() -> None:
    [first, second] = rows([state_of(f"ill {number}", WORKS, FAILS) for number in range(5)])
    assert (first.name, first.tone, first.text) == ("ib_insync", "critical", "works on 0 of 5 targets")
    assert ([target.href for target in first.failing], first.more) == (["ill%200", "ill%201", "ill%202"], 2)
    assert second.name == "nautilus"


def test_a_library_that_has_not_been_tried_claims_nothing_and_one_that_cannot_be_says_why() -> None:
    exporter = ExporterState("1", "3", clients=(ClientStatus("nautilus", problem="no such file"),))
    [insync, nautilus] = rows([state_of("new")], exporter)
    assert (insync.tone, insync.text) == ("unknown", "no result on 1 target")
    assert (nautilus.tone, nautilus.text) == ("critical", "cannot be used: no such file")


def test_a_library_that_is_kept_away_from_a_target_is_shown_as_failing_there() -> None:
    away = replace(skipped("ib_insync"), cause=Cause.SUSPENDED)
    [insync, _] = rows([state_of("broken", away)])
    assert away.outcome is Outcome.SKIPPED
    assert insync.failing == (FailingTarget("broken", "broken", "kept away (client_breaks_gateway)"),)


def test_the_status_page_shows_the_libraries_above_the_sources_and_the_targets() -> None:
    source = SourceState("http", "http_sd_configs[0]", "http://sd.example/targets")
    page = "".join(status_chunks([state_of("ill", FAILS, WORKS)], NOW, ExporterState("1", "3", sources=(source,))))
    assert 0 < page.index('id="libraries"') < page.index('id="sources"') < page.index('id="attention"')
    assert page.index('id="libraries"') < page.index('href="targets/ill"') < page.index('id="attention"')
    assert 'id="libraries"' not in "".join(status_chunks([grown(TRADING)], NOW))


def test_a_failure_that_does_not_count_says_so_in_place_of_the_verdict() -> None:
    [insync, _] = rows([state_of("ill", replace(FAILS, doubt=Doubt.ONCE), WORKS)])
    assert insync.failing[0].text == f"at {FAILS.stage} (not counted against it)"
