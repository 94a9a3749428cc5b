import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Cause, Layer, LayerResult, Outcome, Report, Stage, Verdict
from exporter.state.target import TargetState
from exporter.text import elapsed
from exporter.verdict.actions import REMEDIES, format_for
from exporter.verdict.explanation import headline
from exporter.verdict.rules import Severity, severity
from exporter.web import pages
from exporter.web.pages.render import CHUNK, UNFOLDED
from exporter.web.pages.rows import VerdictSpan, common_window, layer_cells, strip
from exporter.web.pages.selection import PAGE
from tests.core.states import (
    CASES,
    CLIENT_HUNG,
    CLIENT_OK,
    HANDSHAKE_OK,
    NOW,
    PORT_OK,
    T0,
    TARGET,
    TRADING,
    after,
    every_verdict,
    grown,
    in_verdict,
    no_reply,
    report_of,
    target,
    tried,
)

VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = '</pre><script>alert(1)</script><img src=x onerror="alert(2)">&quot;\'{{ 7*7 }}'
TEXT_CONTRAST = 4.5  # WCAG 2.2, AA


def render_status(states: list[TargetState], now: float, *, refresh: int | None = 10) -> str:
    return "".join(pages.status_chunks(states, now, refresh=refresh))


class Outline(HTMLParser):
    """Refuses tags that do not nest; collects the tags and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def title(self) -> str:
        return self.text.strip().splitlines()[0]


@cache
def every_page() -> dict[str, Outline]:
    states = every_verdict()
    made = {
        "status": render_status(states, NOW),
        "empty": render_status([], NOW),
        "still": render_status(states, NOW, refresh=None),
        "error": pages.render_error(404, "Not found", "There is no target nowhere."),
        "runbooks": pages.render_runbooks(),
        **{f"target {state.target.name}": pages.render_target(state, NOW) for state in states},
        **{f"runbook {verdict}": pages.render_runbook(verdict) for verdict in Verdict},
    }
    return {name: Outline(html) for name, html in made.items()}


@pytest.mark.parametrize(
    "verdict", [verdict for verdict in (*CASES, Verdict.PROBE_BROKEN) if verdict is not Verdict.HEALTHY]
)
def test_a_target_that_is_not_healthy_is_shown_with_headline_actions_in_order_and_runbook(verdict: Verdict) -> None:
    state = in_verdict(verdict, "paper")
    expected = [format_for(action, state.target) for action in REMEDIES[verdict].actions]
    for html, root in ((render_status([state], NOW), ""), (pages.render_target(state, NOW), "../")):
        outline = Outline(html)
        assert state.last is not None
        assert headline(state.last, state.target, verdict) in outline.text
        places = [outline.text.index(action) for action in expected]
        assert places == sorted(places)
        assert {"href": f"{root}runbooks/{verdict}"} in outline.all("a")


def test_every_page_nests_its_tags_and_has_a_language_a_title_and_one_main_heading() -> None:
    for name, outline in every_page().items():
        assert outline.all("html") == [{"lang": "en"}], name
        assert outline.title.endswith("ibkr-exporter"), name
        assert len(outline.all("h1")) == 1, name
        assert len(outline.all("main")) == 1, name


def test_no_page_needs_a_script_an_inline_style_or_anything_from_elsewhere() -> None:
    for name, outline in every_page().items():
        assert not outline.all("script"), name
        assert not outline.all("style"), name
        for tag, attributes in outline.tags:
            assert "style" not in attributes, name
            assert not [key for key in attributes if key.startswith("on")], name
            for key in ("href", "src"):
                assert not re.match(r"[a-z]+:|/", attributes.get(key) or ""), (name, tag, attributes)


def test_what_a_peer_or_a_configuration_says_is_shown_as_text() -> None:
    results = no_reply(Outcome.GARBLED, Cause.MALFORMED, 0.1, HOSTILE)
    client = LayerResult(
        layer=Layer.CLIENT,
        outcome=Outcome.CRASHED,
        seconds=0.1,
        stage=Stage.CONNECTED,
        cause=None,
        detail=HOSTILE,
        client=HOSTILE,
    )
    hostile = replace(target(HOSTILE), labels={HOSTILE: HOSTILE}, host=HOSTILE, clients=(HOSTILE,))
    state = after(TargetState(hostile), (5, (*results, client)))
    broken = replace(state, verdict=Verdict.PROBE_BROKEN, last=replace(state.last or report_of("", ()), fault=HOSTILE))
    rendered = [render_status([state, broken], NOW), pages.render_error(404, HOSTILE, HOSTILE)]
    rendered += [pages.render_target(state, NOW), pages.render_target(broken, NOW)]
    for html in rendered:
        outline = Outline(html)
        assert HOSTILE in outline.text
        assert not outline.all("script")
        assert not outline.all("img")


def test_a_name_with_any_characters_makes_a_link_of_one_segment() -> None:
    html = render_status([in_verdict(Verdict.HEALTHY, "a/b c?d#é")], NOW)
    assert {"href": "targets/a%2Fb%20c%3Fd%23%C3%A9"} in Outline(html).all("a")


@pytest.mark.parametrize(
    ("verdicts", "title"),
    [
        ([], "No targets"),
        ([Verdict.HEALTHY], "✓ healthy"),
        ([Verdict.HEALTHY, Verdict.HEALTHY], "✓ all 2 healthy"),
        ([Verdict.HEALTHY, Verdict.SLOW], "! slow: slow"),
        ([Verdict.SLOW, Verdict.API_SILENT, Verdict.UNKNOWN], "✗ api_silent: api_silent and 2 more"),
    ],
)
def test_the_title_tells_the_worst_verdict(verdicts: list[Verdict], title: str) -> None:
    states = [in_verdict(verdict) for verdict in verdicts]
    assert Outline(render_status(states, NOW)).title.startswith(title)


def test_the_worst_comes_first_from_the_outside_in() -> None:
    outline = Outline(render_status(every_verdict(), NOW))
    shown = [
        str(link["href"]).removeprefix("runbooks/") for link in outline.all("a") if "runbooks/" in str(link["href"])
    ]
    order = [Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN]
    expected = sorted({*CASES, Verdict.PROBE_BROKEN, Verdict.UNKNOWN} - {Verdict.HEALTHY}, key=list(Verdict).index)
    assert shown == sorted(expected, key=lambda verdict: order.index(severity(verdict)))


def test_the_status_page_loads_again_by_itself_unless_the_query_keeps_it_still() -> None:
    states = [in_verdict(Verdict.HEALTHY)]
    moving = Outline(render_status(states, NOW))
    assert "Loads again every 10 s" in moving.text
    assert {"href": "?refresh=off"} in moving.all("a")
    still = Outline(render_status(states, NOW, refresh=None))
    assert not [meta for meta in still.all("meta") if "http-equiv" in meta]
    assert not [meta for meta in Outline(pages.render_target(states[0], NOW)).all("meta") if "http-equiv" in meta]


def test_an_expired_state_claims_nothing_and_says_how_old_it_is() -> None:
    state = after(TargetState(target("paper")), (500, CASES[Verdict.HEALTHY]))
    for html in (render_status([state], NOW), pages.render_target(state, NOW)):
        outline = Outline(html)
        assert "The last report is from 2026-11-21T01:52:00Z and said healthy" in outline.text
        ladders = [attributes["class"] for attributes in outline.all("li") if "class" in attributes]
        assert ladders == ["none"] * 4


def test_the_ladder_tells_not_reached_from_not_probed_and_not_known() -> None:
    def shown(made: Report | None) -> list[tuple[str, str]]:
        return [(rung.sign, rung.word) for rung in layer_cells(made, target("paper"))]

    dash = "\N{EN DASH}"
    assert shown(None) == [(dash, "not known")] * 4
    assert shown(report_of("", CASES[Verdict.PORT_CLOSED])) == [("✗", "refused"), *[(dash, "not reached")] * 3]
    skipped = LayerResult(layer=Layer.HANDSHAKE, outcome=Outcome.SKIPPED)
    assert shown(report_of("", (*CASES[Verdict.PORT_CLOSED], skipped)))[1] == (dash, "not reached")
    assert shown(report_of("", CASES[Verdict.HEALTHY])) == [("✓", "ok"), ("✓", "ok"), *[(dash, "not probed")] * 2]
    assert shown(report_of("", CASES[Verdict.SLOW]))[1] == ("!", "slow")
    late = LayerResult(layer=Layer.SESSION, outcome=Outcome.OK, stages=((Stage.CURRENT_TIME, 1.5),))
    assert shown(report_of("", (PORT_OK, HANDSHAKE_OK, late)))[1:3] == [("✓", "ok"), ("!", "slow")]


def test_clients_are_counted_on_the_ladder_and_set_side_by_side_with_stage_and_detail() -> None:
    good = LayerResult(
        layer=Layer.CLIENT, outcome=Outcome.OK, seconds=0.04, client="ib_insync", stages=((Stage.CONNECTED, 0.011),)
    )
    bad = LayerResult(
        layer=Layer.CLIENT,
        outcome=Outcome.TIMEOUT,
        seconds=15.0,
        stage=Stage.READY,
        cause=None,
        detail="504 Not connected",
        client="nautilus-live",
    )
    gone = LayerResult(layer=Layer.CLIENT, outcome=Outcome.UNAVAILABLE, client="ibapi")
    state = after(TargetState(target("paper")), (5, (PORT_OK, HANDSHAKE_OK, good, bad, gone)))
    made = report_of("", (PORT_OK, HANDSHAKE_OK, good, bad, gone))
    assert layer_cells(made, target("paper"))[3].word == "1 of 2 ok"
    cells = re.findall(
        r"<tr><th scope=\"row\">Client library</th>(.*)</tr>",
        pages.render_target(replace(state, verdict=Verdict.CLIENT_FAULT), NOW),
    )
    texts = [re.sub(r"<[^>]+>", "|", cell) for cell in cells]
    assert "|ib_insync|" in texts[0]
    assert "connected 11 ms" in texts[0]
    assert "✗ timeout at ready" in texts[1]
    assert "504 Not connected" in texts[1]
    assert "\N{EN DASH} unavailable" in texts[2]


def test_failures_are_kept_on_the_page_longer_than_successes_with_their_logs() -> None:
    well = [(ago, CASES[Verdict.HEALTHY]) for ago in range(150, 0, -15)]
    state = after(TargetState(target("paper")), (200, CASES[Verdict.API_SILENT]), *well)
    html = pages.render_target(state, NOW)
    assert html.index("Earlier failures") < html.index("timeout at reply after 5.0 s, cause silence")
    assert html.count('<summary><span class="badge') == len(state.recent) + 1


def test_the_page_of_a_target_counts_probes_failures_and_connections() -> None:
    html = pages.render_target(in_verdict(Verdict.API_SILENT), NOW)
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "handshake 6 3 timeout 5 s ago" in text
    assert "connections opened 6 " in text
    assert "≤ 5.00 ms" in text


def test_a_short_failure_stays_visible_and_a_strip_has_words() -> None:
    spans = (
        VerdictSpan(Verdict.HEALTHY, NOW - 3600, NOW - 1800),
        VerdictSpan(Verdict.API_SILENT, NOW - 1800, NOW - 1799),
        VerdictSpan(Verdict.HEALTHY, NOW - 1799, NOW),
    )
    drawn = strip(spans, NOW, 3600.0)
    assert [bar.width for bar in drawn.bars] == [50.0, 0.8, 50.0]
    assert drawn.bars[1].height > drawn.bars[0].height
    assert drawn.text == "healthy for 29 min, before that api_silent for 1 s, before that healthy for 30 min"


@given(
    st.lists(st.tuples(st.sampled_from(list(Verdict)), st.floats(0, 200_000)), max_size=40),
    st.sampled_from([900.0, 86400.0]),
)
def test_every_bar_of_a_strip_lies_within_it(changes: list[tuple[Verdict, float]], window: float) -> None:
    times = sorted(NOW - ago for _, ago in changes)
    spans = [
        VerdictSpan(verdict, start, end)
        for (verdict, _), start, end in zip(changes, times, [*times, NOW][1:], strict=False)
    ]
    for bar in strip(spans, NOW, window).bars:
        assert bar.x >= 0
        assert bar.width > 0
        assert bar.x + bar.width <= 100.11
        assert bar.y + bar.height == 12


def test_severities_differ_in_a_strip_without_colour() -> None:
    one_of_each = [Verdict.API_SILENT, Verdict.SLOW, Verdict.HEALTHY, Verdict.UNKNOWN]
    heights = {bar.height for v in one_of_each for bar in strip([VerdictSpan(v, NOW - 9, NOW)], NOW, 900.0).bars}
    assert len(heights) == 4


def test_all_strips_of_a_page_show_the_same_window_which_holds_the_oldest_change() -> None:
    young, old = after(TargetState(target("a")), (30, CASES[Verdict.SLOW])), in_verdict(Verdict.SLOW)
    assert common_window([young], NOW) == 120
    assert common_window([young, old], NOW) == 7200
    assert common_window([], NOW) == 120


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5.0, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (120, "2 min"),
        (725, "12 min"),
        (3600, "1 h"),
        (12000, "3 h 20 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_a_long_time_is_written_in_words(seconds: float, words: str) -> None:
    assert elapsed(seconds) == words


@pytest.mark.slow
def test_a_thousand_targets_come_in_small_pieces_and_a_page_of_at_most_200_kilobytes() -> None:
    well = [in_verdict(Verdict.HEALTHY, f"gateway-{number:04}") for number in range(900)]
    ill = [in_verdict(Verdict.API_SILENT, f"silent-{number:04}") for number in range(100)]
    for states, cards in (([*well, *ill], 100), ([*well, *ill[:40]], 40), (well, 0)):
        pieces = list(pages.status_chunks(states, NOW))
        html = "".join(pieces)
        assert max(len(piece) for piece in pieces) < 2 * CHUNK
        assert len(html.encode()) <= 200_000
        assert html.count("<article") == min(cards, UNFOLDED)
        assert html.count("<details") == max(0, cards - UNFOLDED)
        assert html.count('<tr><th scope="row">') == PAGE - cards
        assert html.count("Required actions") == cards


def test_every_static_file_that_a_page_asks_for_exists_and_no_other_name_is_served() -> None:
    for outline in every_page().values():
        for link in outline.all("link"):
            assert pages.static(str(link["href"]).removeprefix("../").removeprefix("static/").split("?")[0])
    with pytest.raises(KeyError):
        pages.static("../templates/base.html")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_aa_asks_for(theme: str) -> None:
    colours = themes()[theme]
    pairs = [(text, ground) for text in ("text", "quiet", "link") for ground in ("ground", "paper")]
    pairs += [("text", "unknown-ground")]
    for tone in ("critical", "warning", "unknown", "ok"):
        pairs += [(tone, f"{tone}-ground"), (tone, "paper")]
    too_faint = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in too_faint.items() if ratio < TEXT_CONTRAST} == {}


def themes() -> dict[str, dict[str, str]]:
    css = pages.static("style.css")[0].decode()
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
        for block in css.split("prefers-color-scheme: dark")[:2]
    )
    return {"light": light, "dark": {**light, **dark}}


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_many_cards_have_a_list_above_them_that_leads_to_each() -> None:
    states = [in_verdict(Verdict.API_SILENT, f"silent-{number:03}") for number in range(UNFOLDED + 2)]
    outline = Outline(render_status(states, NOW))
    wanted = [f"card-{number}" for number in range(1, UNFOLDED + 1)]
    assert [article["id"] for article in outline.all("article")] == wanted
    assert [link["href"] for link in outline.all("a") if str(link["href"]).startswith("#")] == [
        f"#{name}" for name in wanted
    ]
    assert "and 2 more" in outline.text
    assert 'class="index"' not in render_status(states[:3], NOW)


def test_every_template_compiles_before_the_first_visitor_comes() -> None:
    pages.prepare()


def test_clients_stand_side_by_side_with_library_version_and_stage() -> None:
    target = replace(TARGET, clients=("ib_insync", "nautilus"), client_ids=(9001,))
    state = tried(grown(TRADING, target=target), CLIENT_OK, CLIENT_HUNG)
    shown = pages.render_target(state, T0 + 6.0)
    assert "0.9.86, Python 3.13.0" in shown
    assert "nautilus_trader (nautilus)" in shown
    assert "1.220.0, Python 3.12.4" in shown
    assert "✗ timeout at connect" in shown
    assert "connected 11 ms" in shown
    assert "nautilus (nautilus_trader 1.220.0 on Python 3.12.4) is at fault, not the gateway" in shown


def test_a_row_of_tests_names_its_cells_where_a_narrow_screen_shows_no_headings() -> None:
    html = pages.render_target(in_verdict(Verdict.API_SILENT), NOW)
    table = html.partition('<table class="tests">')[2].partition("</table>")[0]
    headings = re.findall(r'<th scope="col">([^<]*)</th>', table)
    for row in table.partition("<tbody>")[2].split("</tr>")[:-1]:
        cells = re.findall(r"<t[dh]([^>]*)>", row)
        assert len(cells) == len(headings)
        named = [found[1] if (found := re.search('data-head="([^"]*)"', cell)) else None for cell in cells]
        assert [name for name in named if name] == ["Version", "Took", "Stages", "Detail"]
        assert all(name in (None, heading) for name, heading in zip(named, headings, strict=True))
    style = pages.static("style.css")[0].decode()
    assert 'content: attr(data-head) ": "' in style


def test_the_page_of_a_target_has_a_text_for_a_bug_report_without_account_numbers() -> None:
    managed = replace(TARGET, account="DU1234567", client_ids=(9001,), clients=("ib_insync", "nautilus"))
    html = pages.render_target(
        tried(grown(TRADING, target=managed), CLIENT_OK, CLIENT_HUNG), T0 + 6.0, "exporter 1.2.3"
    )
    text = re.findall(r'<pre class="copy"[^>]*>(.*?)</pre>', html, re.DOTALL)[0]
    for part in ("Exporter: exporter 1.2.3", "Verdict:  client_fault", "ib_insync", "nautilus_trader", "Evidence"):
        assert part in text
    assert "DU1234567" not in text
    assert 'class="copy"' not in pages.render_target(TargetState(managed), T0)
