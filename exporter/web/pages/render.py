"""The pages: `/`, `/targets/NAME`, `/runbooks/NAME`, errors, and the JSON of `/api/v1/status`.

Functions of the states and `now`; nothing here knows HTTP or reads a clock. The templates, style sheet and runbooks
are read from the package. All that comes from a peer or a configuration is escaped by the templates.

The pages need no script and nothing from elsewhere: they work under CONTENT_SECURITY_POLICY.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from zlib import crc32

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt

from exporter.model import Verdict
from exporter.state.claims import claims, current_verdict, failing_since
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState
from exporter.text import elapsed
from exporter.verdict.actions import REMEDIES
from exporter.verdict.bug_report import bug_report
from exporter.verdict.rules import Severity, severity
from exporter.web.pages.libraries import LibrarySurvey, library_note
from exporter.web.pages.rows import (
    SIGNS,
    WORST_FIRST,
    Judgement,
    at,
    card,
    common_window,
    row,
    worst_first,
)
from exporter.web.pages.selection import Selection, pager
from exporter.web.pages.sources import source_rows
from exporter.web.pages.target import describe

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# The files of `/static/NAME` and their types.
STATIC = {"style.css": "text/css; charset=utf-8"} | {f"{tone.value}.svg": "image/svg+xml" for tone in Severity}
# The runbooks of alerts that are about no verdict (deploy/rules), each with what it is about.
OTHER_RUNBOOKS: Mapping[str, str] = {
    "gateway_down": "It keeps failing, and never in one way for long.",
    "clock_off": "The gateway's clock and the exporter's disagree.",
    "server_version_changed": "The gateway speaks another version of the API than before.",
    "probes_suspended": "The exporter keeps sessions of its own away from the gateway.",
    "weekly_login_due": "IBKR ends all logins on Sunday: someone must log in by hand.",
    "client_unusable": "A client library cannot be tried at all.",
    "config_reload_failed": "The changed configuration was refused.",
    "discovery_failing": "A source of targets gives no good list.",
    "discovered_targets_rejected": "Discovered targets are left out.",
    "exporter_down": "Prometheus gets no answer from the exporter.",
    "exporter_restarting": "The exporter starts again and again.",
    "scrape_stale": "Prometheus has not tried to scrape the exporter.",
    "gateways_down": "Half of the gateways keep failing, and never in one way for long.",
    "host_down": "Many gateways behind one address cannot be reached.",
    "error_budget": "The month's error budget goes too fast.",
    "watchdog": "The way from Prometheus to Alertmanager works.",
    "rules_failing": "Prometheus cannot evaluate a rule.",
    "rules_slow": "Prometheus evaluates rules later than it should.",
    "alertmanager_down": "One of two Alertmanagers does not answer.",
    "prometheus_down": "One of two Prometheus cannot be scraped by the other.",
    "alertmanager_unreachable": "Prometheus cannot hand its alerts to Alertmanager.",
    "pages_not_delivered": "Alertmanager cannot deliver notifications.",
    "monitoring_config_refused": "Prometheus or Alertmanager refused its changed configuration.",
}
CHUNK = 16384  # characters; a piece takes a fraction of a millisecond to make
SURVEYED = 3  # with more cards than this, the page begins with a list of them
UNFOLDED = 12  # cards that are shown in full; the rest of a long outage is folded up
SEARCHABLE = 10  # with more targets than this, the page has a filter
TURN = 250  # targets that are sorted or counted before others may run
EVERYTHING = Selection()


def prepare() -> None:
    """Read and compile every template now (some 30 ms, once), so that the first page delays no probe."""
    for name in _templates().list_templates():
        _templates().get_template(name)
    _style_version()


def status_chunks(
    states: Sequence[TargetState],
    now: float,
    exporter: ExporterState | None = None,
    *,
    selection: Selection = EVERYTHING,
    refresh: int | None = None,
) -> Iterator[str]:
    """The status page in pieces, the worst target first, so that a server can do other work between two of them.

    `exporter` has the client libraries and the sources of discovered targets. `refresh` are the seconds after which the
    page is loaded again; None: it keeps still.
    """
    judged: list[Judgement] = []
    survey = LibrarySurvey()
    for state in states:
        survey.add(state, claims(state, now))
        judged.append((state, current_verdict(state, now)))
        if len(judged) % TURN == 0:
            yield ""  # nothing to send yet, but others may run
    judged.sort(key=worst_first)
    chosen = [(state, verdict) for state, verdict in judged if selection.shows(state, verdict)]
    page = pager(selection, len(chosen))
    shown = chosen[max(0, page.first - 1) : page.last]
    ill = [pair for pair in shown if pair[1] is not Verdict.HEALTHY]
    window = common_window([state for state, _ in shown], now)
    libraries = tuple(survey.rows(exporter))
    context = {
        **_survey(judged, selection),
        "selection": selection,
        "pager": page,
        "ill": len(ill),
        "well": len(shown) - len(ill),
        "cards": (card(state, now, window) for state, _ in ill),
        "rows": (row(state, now, window) for state, _ in shown[len(ill) :]),
        "index": _index(ill) if len(ill) > SURVEYED else (),
        "unfolded": UNFOLDED,
        "window": elapsed(window),
        "now": at(now, now),
        "refresh": refresh,
        "sources": tuple(source_rows(exporter, now)),
        "libraries": libraries,
        "library_note": library_note(libraries, exporter) if exporter else "",
    }
    yield from _joined(_templates().get_template("status.html").generate(_context("", context)))


def render_target(state: TargetState, now: float, exporter: str = "ibkr-exporter") -> str:
    """The page of one target in one piece."""
    return "".join(target_chunks(state, now, exporter))


def target_chunks(state: TargetState, now: float, exporter: str) -> Iterator[str]:
    """The page of one target in pieces. `exporter` names its version, Python and platform, for a bug report."""
    shown = describe(state, now)
    block = ""
    if state.last is not None:
        since = failing_since(state)
        block = bug_report(state.last, state.target, state.verdict, exporter, login=state.login, since=since)
    context = {"details": shown, "worst": shown.card.row.tone, "now": at(now, now), "bug_report": block}
    return _joined(_templates().get_template("target.html").generate(_context("../", context)))


def render_runbook(name: str) -> str:
    """The runbook of a verdict, or one of OTHER_RUNBOOKS; raises KeyError for any other name."""
    tone = _tone(name)
    context = {"verdict": name, "worst": tone.value, "sign": SIGNS[tone], "body": _runbook(name)}
    return _render("runbook.html", "../", context)


def render_runbooks() -> str:
    """The list of all runbooks, for the path `/runbooks` (no slash at its end: its links are relative)."""
    meanings = {verdict.value: remedy.meaning for verdict, remedy in REMEDIES.items()}
    tables = [
        [(name, (tone := _tone(name)).value, SIGNS[tone], meaning) for name, meaning in table.items()]
        for table in (meanings, OTHER_RUNBOOKS)
    ]
    return _render("runbooks.html", "", {"tables": tables, "worst": Severity.OK.value})


def _tone(name: str) -> Severity:
    if name in OTHER_RUNBOOKS:
        return Severity.WARNING
    if name not in set(Verdict):
        raise KeyError(name)
    return severity(Verdict(name))


def render_error(code: int, title: str, message: str) -> str:
    """A page for a request that cannot be answered, one level below `/`."""
    context = {"code": code, "title": title, "message": message, "worst": Severity.UNKNOWN.value}
    return _render("error.html", "../", context)


def static(name: str) -> tuple[bytes, str]:
    """The content and the content type of a file of `/static/`; raises KeyError for a name that is not in STATIC."""
    return _static(name), STATIC[name]


@cache
def _static(name: str) -> bytes:
    if name not in STATIC:
        raise KeyError(name)
    return files("exporter.web.pages").joinpath("static", name).read_bytes()


def runbook_source(name: str) -> str:
    """A runbook as it was written, in Markdown."""
    return files("exporter").joinpath("runbooks", f"{name}.md").read_text(encoding="utf-8")


@cache
def _runbook(name: str) -> str:
    """A runbook as HTML. Its links are to files, so that they work in the repository; here they lose the `.md`."""
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(runbook_source(name))
    return re.sub(r'href="(\w+)\.md"', r'href="\1"', html)


@cache
def _style_version() -> str:
    """The version in the style sheet's address, so that a browser loads the new one after an upgrade."""
    return f"{crc32(_static('style.css')):08x}"


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("exporter.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _render(template: str, root: str, context: Mapping[str, object]) -> str:
    return _templates().get_template(template).render(_context(root, context))


def _context(root: str, context: Mapping[str, object]) -> dict[str, object]:
    """Links are relative, so that the pages work below any prefix of a reverse proxy."""
    return {"root": root, "style": _style_version(), **context}


def _survey(judged: Sequence[Judgement], selection: Selection) -> dict[str, object]:
    """Return what the head of the status page says about all targets, sorted with the worst first."""
    counts = Counter(verdict for _, verdict in judged)
    return {
        "title": _title(judged, len(judged) - counts[Verdict.HEALTHY]),
        "summary": _summary(counts, selection),
        "worst": (severity(judged[0][1]) if judged else Severity.UNKNOWN).value,
        "total": len(judged),
        "verdicts": [(verdict.value, counts[verdict]) for verdict in Verdict if counts[verdict]],
        "searchable": len(judged) > SEARCHABLE,
    }


def _title(judged: Sequence[Judgement], ill: int) -> str:
    """The worst verdict first: it is all that fits on the tab of a browser."""
    if not judged:
        return "No targets"
    if not ill:
        return f"✓ all {len(judged)} healthy" if len(judged) > 1 else "✓ healthy"
    state, verdict = judged[0]
    more = f" and {ill - 1} more" if ill > 1 else ""
    return f"{SIGNS[severity(verdict)]} {verdict.value}: {state.target.name}{more}"


def _summary(counts: Mapping[Verdict, int], selection: Selection) -> list[tuple[str, str, int, str]]:
    """Tone, sign, number of targets and link of each severity."""
    tones: Counter[Severity] = Counter()
    for verdict, number in counts.items():
        tones[severity(verdict)] += number
    return [(tone.value, SIGNS[tone], tones[tone], selection.href(severity=tone)) for tone in WORST_FIRST]


def _index(ill: Sequence[Judgement]) -> list[tuple[str, str, str, str]]:
    """Tone, sign, name and verdict of every card that is shown in full, in their order."""
    return [
        (severity(verdict).value, SIGNS[severity(verdict)], state.target.name, verdict.value)
        for state, verdict in ill[:UNFOLDED]
    ]


def _joined(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in pieces of about CHUNK characters."""
    kept: list[str] = []
    size = 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield "".join(kept)
            kept, size = [], 0
    yield "".join(kept)
