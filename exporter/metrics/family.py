"""A metric family: its row in the catalogue beside the function that writes its lines.

    Family      one name, with its lines for what is shown (a target's View, or the ExporterState)
    of_view     one value per target
    samples_*   several samples per target, each with its label values
    of_members  several samples per target, each labelled by a member of an enum
    one_of      a sample for each member of an enum, 1 for the present one
    where       the lines of some targets only
    of_exporter samples of the exporter itself

A value that is None has no line.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from exporter.maintenance import Window
from exporter.metrics.text_format import escaped, histogram_lines, sample_line
from exporter.model import Layer, LayerResult, Report, SessionFacts, Verdict
from exporter.state.claims import claims, current_verdict
from exporter.state.exporter import ExporterState
from exporter.state.histogram import Histogram
from exporter.state.target import TargetState

KEPT_TEXTS = 4096  # label values of a family that are kept as they are written: stages, farms, clients

NO_FACTS = SessionFacts()

Shown = TypeVar("Shown")
Sample = tuple[tuple[str, ...], float]  # the values of the labels (those after `target`), and the sample's value


class Kind(StrEnum):
    """A Prometheus metric type."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


GAUGE, COUNTER, HISTOGRAM = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM


class Metric(NamedTuple):
    """One row: `help` is the HELP line. Units are base units, named by the suffix."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ("target",)


class Scrape(NamedTuple):
    """What all targets of one scrape have in common.

    `extra_labels` are the configured labels of any target: a family has one set of labels. `windows` says of each name
    of these windows whether one of it is open.
    """

    now: float
    extra_labels: tuple[str, ...]
    windows: Callable[[tuple[Window, ...]], tuple[tuple[str, bool], ...]]


class View(NamedTuple):
    """A state as one scrape sees it: `claim` is the report that may speak for the target's health, if any.

    `port`, `handshake` and `session` are the claim's results of these layers, `facts` those of its session.
    """

    state: TargetState
    claim: Report | None
    verdict: Verdict
    label: str  # the target's name, escaped
    scrape: Scrape
    port: LayerResult | None
    handshake: LayerResult | None
    session: LayerResult | None
    facts: SessionFacts


def view_of(state: TargetState, scrape: Scrape) -> View:
    """The state as this scrape sees it; each family then reads what is looked up here once."""
    claim = claims(state, scrape.now)
    port = handshake = session = None
    for result in () if claim is None else claim.results:
        if result.layer is Layer.PORT:
            port = result
        elif result.layer is Layer.HANDSHAKE:
            handshake = result
        elif result.layer is Layer.SESSION:
            session = result
    facts = NO_FACTS if session is None or session.session is None else session.session
    verdict, label = current_verdict(state, scrape.now), escaped(state.target.name)
    return View(state, claim, verdict, label, scrape, port, handshake, session, facts)


class Family(NamedTuple, Generic[Shown]):
    """A metric and what writes its lines."""

    metric: Metric
    lines: Callable[[Shown], str]


Lines = Callable[[View], str]
Build = Callable[[Metric], Lines]


def family(metric: Metric, build: Build) -> Family[View]:
    """The family of a metric of targets; `build` makes the function that writes its lines."""
    return Family(metric, build(metric))


def of_view(value: Callable[[View], float | None]) -> Build:
    """One value per target."""

    def build(metric: Metric) -> Lines:
        head = f'{metric.name}{{target="'

        def lines(view: View) -> str:
            shown = value(view)
            return "" if shown is None else f'{head}{view.label}"}} {shown:.13g}\n'

        return lines

    return build


def of_members(members: type[StrEnum], values: Callable[[View], Iterable[tuple[StrEnum, float]]]) -> Build:
    """A value for some members of an enum, which is the only label beside `target`."""

    def build(metric: Metric) -> Lines:
        head = f'{metric.name}{{target="'
        tails: Mapping[StrEnum, str] = {each: f'",{metric.labels[1]}="{each.value}"}} ' for each in members}

        def lines(view: View) -> str:
            start = head + view.label
            return "".join([f"{start}{tails[member]}{value:.13g}\n" for member, value in values(view)])

        return lines

    return build


def samples_of_view(samples: Callable[[View], Iterable[Sample]]) -> Build:
    """Several samples per target."""

    def build(metric: Metric) -> Lines:
        head = f'{metric.name}{{target="'

        @lru_cache(maxsize=KEPT_TEXTS)
        def tail(texts: tuple[str, ...]) -> str:
            labels = "".join(f',{key}="{escaped(text)}"' for key, text in zip(metric.labels[1:], texts, strict=True))
            return f'"{labels}}} '

        def lines(view: View) -> str:
            start = head + view.label
            return "".join([f"{start}{tail(texts)}{shown:.13g}\n" for texts, shown in samples(view)])

        return lines

    return build


def where(applies: Callable[[View], object], build: Build) -> Build:
    """The lines of the targets that this applies to; the others have none, which then costs next to nothing."""

    def built(metric: Metric) -> Lines:
        lines = build(metric)
        return lambda view: lines(view) if applies(view) else ""

    return built


def one_of(members: type[StrEnum], present: Callable[[View], StrEnum | None]) -> Build:
    """A sample for each member, 1 for the present one, 0 for the others; none at all where none is present."""

    def build(metric: Metric) -> Lines:
        pieces = {
            member: around_target(metric, (((each.value,), int(each is member)) for each in members))
            for member in members
        }

        def lines(view: View) -> str:
            member = present(view)
            return "" if member is None else view.label.join(pieces[member])

        return lines

    return build


def around_target(metric: Metric, samples: Iterable[Sample]) -> list[str]:
    """The lines of these samples, cut at each place where the target's name goes: `name.join(pieces)` fills it in."""
    pieces = [""]
    for texts, shown in samples:
        labels = "".join(f',{key}="{escaped(text)}"' for key, text in zip(metric.labels[1:], texts, strict=True))
        pieces[-1] += f'{metric.name}{{target="'
        pieces.append(f'"{labels}}} {shown:.13g}\n')
    return pieces


def histogram(bounds: tuple[float, ...], of: Callable[[TargetState], Histogram]) -> Build:
    """A histogram per target."""

    def build(metric: Metric) -> Lines:
        write = histogram_lines(metric.name, bounds)
        return lambda view: write(f'target="{view.label}"', of(view.state))

    return build


def of_exporter(metric: Metric, samples: Callable[[ExporterState], Iterable[Sample]]) -> Family[ExporterState]:
    """The family of a metric of the exporter."""

    def lines(exporter: ExporterState) -> str:
        return "".join(
            sample_line(metric.name, dict(zip(metric.labels, texts, strict=True)), shown)
            for texts, shown in samples(exporter)
        )

    return Family(metric, lines)
