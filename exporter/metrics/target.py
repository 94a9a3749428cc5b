"""The metrics of a target's verdict, port and handshake."""

from collections.abc import Iterable

from exporter.metrics.family import (
    GAUGE,
    HISTOGRAM,
    Metric,
    Sample,
    View,
    family,
    histogram,
    of_view,
    one_of,
    samples_of_view,
)
from exporter.model import Verdict
from exporter.protocol.releases import release_of
from exporter.state.histogram import CONNECT_BUCKETS, HANDSHAKE_BUCKETS
from exporter.verdict.rules import is_connectable


def up(view: View) -> int | None:
    """Whether a trading program could connect."""
    return None if view.claim is None else int(is_connectable(view.verdict, view.claim))


def since(view: View) -> float | None:
    """When the verdict began."""
    return None if view.verdict is Verdict.UNKNOWN else view.state.since


def port_open(view: View) -> int | None:
    """1 if the connect succeeded, 0 if it failed or the name was not resolved."""
    return None if view.claim is None else int(view.port is not None and view.port.ok)


def handshake_success(view: View) -> int | None:
    """1 if the hello was answered, 0 if it was not or an outer layer failed."""
    return None if view.claim is None else int(view.handshake is not None and view.handshake.ok)


def last_duration(view: View) -> float | None:
    """How long the handshake took, if it succeeded."""
    return view.handshake.seconds if view.handshake is not None and view.handshake.ok else None


def last_success(view: View) -> float:
    """When the last handshake worked; 0 if none has."""
    return view.state.handshake_at or 0.0


def silence(view: View) -> float | None:
    """How long handshakes have got no whole answer; 0 where the last one did."""
    if view.claim is None:
        return None
    return 0.0 if view.state.silence is None else view.state.silence.seconds


def server_version(view: View) -> int | None:
    """The negotiated server version; None if the handshake failed."""
    return None if view.handshake is None or view.handshake.server is None else view.handshake.server.version


def server_release(view: View) -> Iterable[Sample]:
    """The release that the negotiated version belongs to."""
    version = server_version(view)
    return () if version is None else (((release_of(version, view.state.target.hello.maximum),), 1),)


FAMILIES = (
    family(
        Metric("ibkr_up", GAUGE, "1 if a trading program could connect now, 0 if it could not."),
        of_view(up),
    ),
    family(
        Metric("ibkr_verdict", GAUGE, "1 for the present verdict, 0 for every other.", ("target", "verdict")),
        one_of(Verdict, lambda view: view.verdict),
    ),
    family(
        Metric("ibkr_verdict_since_timestamp_seconds", GAUGE, "When the present verdict began, in unix time."),
        of_view(since),
    ),
    family(
        Metric("ibkr_port_open", GAUGE, "1 if the last TCP connect succeeded."),
        of_view(port_open),
    ),
    family(
        Metric("ibkr_port_connect_duration_seconds", HISTOGRAM, "Duration of the TCP connects that succeeded."),
        histogram(CONNECT_BUCKETS, lambda state: state.connect),
    ),
    family(
        Metric("ibkr_handshake_success", GAUGE, "1 if the API answered the last opening handshake."),
        of_view(handshake_success),
    ),
    family(
        Metric(
            "ibkr_handshake_duration_seconds",
            HISTOGRAM,
            "From the hello sent to the reply received, of the handshakes that succeeded.",
        ),
        histogram(HANDSHAKE_BUCKETS, lambda state: state.handshake),
    ),
    family(
        Metric("ibkr_handshake_last_duration_seconds", GAUGE, "The duration of the last handshake."),
        of_view(last_duration),
    ),
    family(
        Metric(
            "ibkr_handshake_last_success_timestamp_seconds",
            GAUGE,
            "When the last handshake that worked was begun, in unix time; 0 if none has since the start.",
        ),
        of_view(last_success),
    ),
    family(
        Metric(
            "ibkr_api_silence_seconds",
            GAUGE,
            "From the first handshake without a whole answer to the end of the last; 0 if the last one had one.",
        ),
        of_view(silence),
    ),
    family(
        Metric("ibkr_server_version", GAUGE, "The negotiated API server version."),
        of_view(server_version),
    ),
    family(
        Metric(
            "ibkr_server_release_info",
            GAUGE,
            "Always 1: the release of IBKR's API that the server version belongs to; at our own maximum `or newer`.",
            ("target", "release"),
        ),
        samples_of_view(server_release),
    ),
)
