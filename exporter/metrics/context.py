"""The metrics of what surrounds a target: maintenance windows, the gateway's login, labels."""

from collections.abc import Iterator

from exporter.metrics.family import GAUGE, Lines, Metric, Sample, View, family, one_of, samples_of_view
from exporter.metrics.text_format import sample_line
from exporter.model import Verdict
from exporter.protocol.launcher_log import LoginPhase


def windows(view: View) -> Iterator[Sample]:
    """Every window of the target by name, and whether it is open."""
    yield from (((name,), int(opened)) for name, opened in view.scrape.windows(view.state.target.windows))


def login_phase(view: View) -> LoginPhase | None:
    """The phase that the launcher log shows; an expired state claims none, because the log was read with it."""
    login = None if view.verdict is Verdict.UNKNOWN else view.state.login
    return None if login is None else login.phase


def info(metric: Metric) -> Lines:
    """The info line; every target has the labels that any target has."""

    def lines(view: View) -> str:
        target = view.state.target
        own = {"target": target.name, "host": target.host, "port": str(target.port), "mode": target.mode.value}
        labels = own | {name: target.labels.get(name, "") for name in view.scrape.extra_labels}
        return sample_line(metric.name, labels, 1)

    return lines


FAMILIES = (
    family(
        Metric(
            "ibkr_maintenance_window",
            GAUGE,
            "1 while the window is open: a reset of IBKR's servers, or the target's own restart.",
            ("target", "window"),
        ),
        samples_of_view(windows),
    ),
    family(
        Metric(
            "ibkr_login_phase",
            GAUGE,
            "1 for the phase that the gateway's launcher log tells, 0 for every other; only where it is configured.",
            ("target", "phase"),
        ),
        one_of(LoginPhase, login_phase),
    ),
    family(
        Metric(
            "ibkr_target_info",
            GAUGE,
            "Always 1: where the target is, paper or live.",
            ("target", "host", "port", "mode"),
        ),
        info,
    ),
)
