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
from exporter.state.exporter import ExporterState
from exporter.state.target import TargetState, current_verdict
from exporter.text import elapsed
from exporter.verdict.actions import REMEDIES
from exporter.verdict.rules import Severity, severity
from exporter.web.pages.rows import SIGNS, WORST_FIRST, at, card, common_window, library_note, row, worst_first
from exporter.web.pages.target import describe

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The files of `/static/NAME` and their types.
STATIC = {"style.css": "text/css; charset=utf-8"} | {f"{tone.value}.svg": "image/svg+xml" for tone in Severity}
# The runbooks of alerts that are about no verdict (deploy/rules), each with what it is about.
OTHER_RUNBOOKS: Mapping[str, str] = {
    "gateway_down": "It keeps failing, and never in one way for long.",
    "clock_off": "The gateway's clock and the exporter's disagree.",
    "server_version_changed": "The gateway speaks another version of the API than before.",
    "weekly_login_due": "IBKR ends all logins on Sunday: someone must log in by hand.",
    "client_unusable": "A client library cannot be tried at all.",
    "config_reload_failed": "The changed configuration was refused.",
    "exporter_down": "Prometheus gets no answer from the exporter.",
    "exporter_restarting": "The exporter starts again and again.",
    "scrape_stale": "Prometheus has not tried to scrape the exporter.",
    "host_down": "Many gateways behind one address cannot be reached.",
    "error_budget": "The month's error budget goes too fast.",
    "watchdog": "The way from Prometheus to Alertmanager works.",
    "rules_failing": "Prometheus cannot evaluate a rule.",
    "rules_slow": "Prometheus evaluates rules later than it should.",
    "alertmanager_unreachable": "Prometheus cannot hand its alerts to Alertmanager.",
    "pages_not_delivered": "Alertmanager cannot deliver notifications.",
    "monitoring_config_refused": "Prometheus or Alertmanager refused its changed configuration.",
}
CHUNK = 16384  # characters; a piece takes a fraction of a millisecond to make
SURVEYED = 3  # cards that need no list above them
UNFOLDED = 30  # cards that are shown in full; the rest of a long outage is folded up


def prepare() -> None:
    """Read and compile every template now (some 30 ms, once), so that no visitor's page holds up the probes."""
    for name in _templates().list_templates():
        _templates().get_template(name)
    _style_version()


def status_chunks(
    states: Sequence[TargetState], now: float, exporter: ExporterState | None = None, *, refresh: int | None = 10
) -> Iterator[str]:
    """The status page in pieces, the worst target first, so that a server can do other work between two of them.

    `exporter` has the client libraries. `refresh` is the seconds after which a browser loads the page again; None for a
    page that keeps still.
    """
    ordered = worst_first(states, now)
    window = common_window(states, now)
    verdicts = [current_verdict(state, now) for state in ordered]
    ill = sum(verdict is not Verdict.HEALTHY for verdict in verdicts)
    tones = Counter(severity(verdict) for verdict in verdicts)
    context = {
        "title": _title(ordered, verdicts, ill),
        "summary": [(tone.value, SIGNS[tone], tones[tone]) for tone in WORST_FIRST],
        "worst": (severity(verdicts[0]) if verdicts else Severity.UNKNOWN).value,
        "total": len(ordered),
        "ill": ill,
        "cards": (card(state, now, window) for state in ordered[:ill]),
        "rows": (row(state, now, window) for state in ordered[ill:]),
        "index": _index(ordered[:ill], verdicts) if ill > SURVEYED else (),
        "unfolded": UNFOLDED,
        "window": elapsed(window),
        "now": at(now, now),
        "refresh": refresh,
        "libraries": library_note(states, exporter) if exporter else "",
    }
    return _joined(_templates().get_template("status.html").generate(_context("", context)))


def render_target(state: TargetState, now: float) -> str:
    """The page of one target."""
    shown = describe(state, now)
    context = {"details": shown, "worst": shown.card.row.tone, "now": at(now, now)}
    return _render("target.html", "../", context)


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


def render_error(code: int, title: str, message: str, *, root: str = "../") -> str:
    """A page for a request that cannot be answered. `root` is the relative path to `/`."""
    context = {"code": code, "title": title, "message": message, "worst": Severity.UNKNOWN.value}
    return _render("error.html", root, context)


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
    """In the style sheet's address, so that a browser does not keep an old one after an upgrade."""
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


def _title(ordered: Sequence[TargetState], verdicts: Sequence[Verdict], ill: int) -> str:
    """The worst verdict first: it is all that fits on the tab of a browser."""
    if not ordered:
        return "No targets"
    if not ill:
        return f"✓ all {len(ordered)} healthy" if len(ordered) > 1 else "✓ healthy"
    more = f" and {ill - 1} more" if ill > 1 else ""
    return f"{SIGNS[severity(verdicts[0])]} {verdicts[0].value}: {ordered[0].target.name}{more}"


def _index(ill: Sequence[TargetState], verdicts: Sequence[Verdict]) -> list[tuple[str, str, str, str]]:
    """Tone, sign, name and verdict of every card that is shown in full, in their order."""
    shown = [(severity(verdict), state, verdict) for state, verdict in zip(ill[:UNFOLDED], verdicts, strict=False)]
    return [(tone.value, SIGNS[tone], state.target.name, verdict.value) for tone, state, verdict in shown]


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
