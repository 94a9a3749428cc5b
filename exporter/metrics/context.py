"""The metrics of what surrounds a target: maintenance windows, the gateway's login, labels."""

from functools import lru_cache

from exporter.metrics.family import GAUGE, Lines, Metric, View, around_target, family, one_of
from exporter.metrics.text_format import escaped
from exporter.model import Verdict
from exporter.protocol.launcher_log import LoginPhase


def windows(metric: Metric) -> Lines:
    """Every window of the target by name, and whether it is open; the same for all targets of a region."""

    @lru_cache(maxsize=64)
    def pieces(opened: tuple[tuple[str, bool], ...]) -> list[str]:
        return around_target(metric, (((name,), int(open_now)) for name, open_now in opened))

    return lambda view: view.label.join(pieces(view.scrape.windows(view.state.target.windows)))


def login_phase(view: View) -> LoginPhase | None:
    """The phase that the launcher log shows; an expired state claims none, because the log was read with it."""
    login = None if view.verdict is Verdict.UNKNOWN else view.state.login
    return None if login is None else login.phase


def info(metric: Metric) -> Lines:
    """The info line; every target has the labels that any target has."""

    def lines(view: View) -> str:
        target, extra = view.state.target, view.scrape.extra_labels
        more = "".join([f',{name}="{escaped(target.labels.get(name, ""))}"' for name in extra]) if extra else ""
        place = f'host="{escaped(target.host)}",port="{target.port}",mode="{target.mode.value}"'
        return f'{metric.name}{{target="{view.label}",{place}{more}}} 1\n'

    return lines


FAMILIES = (
    family(
        Metric(
            "ibkr_maintenance_window",
            GAUGE,
            "1 while the window is open: a reset of IBKR's servers, or the target's own restart.",
            ("target", "window"),
        ),
        windows,
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
