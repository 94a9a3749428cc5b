import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.maintenance import WEEK, Day, Window
from exporter.metrics.catalogue import CATALOGUE, TARGET_FAMILIES
from exporter.metrics.exposition import exporter_exposition, exposition
from exporter.model import Cause, Layer, LayerResult, Mode, Outcome, Target, Verdict
from exporter.protocol.launcher_log import Login, LoginPhase
from exporter.state.discovery import SourceState, failed, succeeded
from exporter.state.exporter import ExporterState
from exporter.state.histogram import Histogram
from exporter.state.target import TargetState, fold
from exporter.verdict.client_blame import ClientStatus
from exporter.verdict.rules import judge
from tests.core.states import (
    CLIENT_HUNG,
    CLIENT_OK,
    HANDSHAKE_OK,
    HEALTHY,
    INSYNC,
    NAUTILUS,
    PORT_OK,
    T0,
    TARGET,
    TRADING,
    grown,
    handshake_failed,
    port_failed,
    report,
    tried,
)

GOLDEN = Path(__file__).parents[2] / "golden"
NOW = T0 + 31.0
USABILITIES = (
    ClientStatus("ib_insync", INSYNC),
    ClientStatus("nautilus", NAUTILUS),
    ClientStatus('usable?"', problem="not installed"),
)
EXPORTER = ExporterState(
    "0.1.0",
    "3.13.0",
    reloaded_at=T0,
    lag=Histogram.empty((0.001, 1.0)),
    skipped_ticks=2,
    clients=USABILITIES,
    external_url="https://monitor.example/ibkr",
    sources=(
        succeeded(SourceState("file", "file_sd_configs[0]", "lists/*.yaml", targets=3, rejected=1), T0, 0.02),
        failed(SourceState("http", "http_sd_configs[0]", "http://sd.example/"), T0, 1.5, "it answers 503"),
        SourceState("http", "http_sd_configs[1]", "http://not-yet.example/"),
    ),
)
# T0 is Saturday 21 November 2026, 02:00 UTC.
WINDOWS = (
    Window("restart", frozenset(WEEK), time(1, 58), timedelta(minutes=5), UTC),
    Window("weekend", frozenset({Day.FRIDAY}), time(23), time(3), ZoneInfo("America/New_York")),
)


def parse_openmetrics(made: str) -> list[Family]:
    return list(openmetrics_parser.text_string_to_metric_families(made))  # type: ignore[no-untyped-call]


def named(name: str, **changes: object) -> Target:
    return replace(TARGET, name=name, **changes)  # type: ignore[arg-type]


def fleet() -> list[TargetState]:
    silent = handshake_failed(Cause.SILENCE)
    broken = grown(HEALTHY, target=named("probe-broken"))
    fault = report((), T0 + 15, broken.target, fault="OSError: too many open files")
    return [
        grown(HEALTHY, HEALTHY, HEALTHY, target=named("healthy", labels={"desk": "fx"})),
        grown(HEALTHY, silent, silent, target=named("frozen", mode=Mode.LIVE, port=7496)),
        replace(
            grown(port_failed(Cause.CONNECT_REFUSED), target=named("closed", windows=WINDOWS)),
            login=Login(LoginPhase.WAITING_TWO_FACTOR, T0 - 20),
        ),
        grown(port_failed(Cause.NAME_UNKNOWN, Outcome.UNAVAILABLE), target=named("unresolved", host="tws.invalid")),
        fold(broken, fault, judge(fault, broken.target)),
        grown(HEALTHY, target=named("expired", interval=5.0)),
        TargetState(named("unprobed")),
    ]


def trading() -> list[TargetState]:
    """Targets with client ids reserved for us."""
    closed = (*port_failed(Cause.CONNECT_REFUSED), LayerResult(layer=Layer.SESSION, outcome=Outcome.SKIPPED))
    return [
        grown(TRADING, TRADING, target=named("trading", client_ids=(9001, 9002), account="DU1234567", watch=True)),
        grown(closed, target=named("trading-closed", client_ids=(9001,), account="DU1234567")),
    ]


def libraries() -> list[TargetState]:
    """A target on which clients were tried."""
    target = named("libraries", client_ids=(9001,), clients=("ib_insync", "nautilus", 'usable?"'))
    return [tried(grown(TRADING, target=target), CLIENT_OK, CLIENT_HUNG)]


def text(states: Iterable[TargetState], now: float = NOW, *, openmetrics: bool = False) -> str:
    chunks = [*exposition(states, now, openmetrics=openmetrics)]
    chunks += exporter_exposition(
        replace(EXPORTER, lag=ExporterState("", "").lag.observe(0.002)), openmetrics=openmetrics
    )
    return "".join(chunks) + ("# EOF\n" if openmetrics else "")


def samples(states: Iterable[TargetState], now: float = NOW) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(text(states, now))
        for sample in family.samples
    }


def of(states: Iterable[TargetState], name: str, now: float = NOW) -> dict[str, float]:
    """The values of a family with no label but the target, by target."""
    lines = "".join(line for line in text(states, now).splitlines(keepends=True) if line.startswith(name))
    return {
        sample.labels["target"]: sample.value
        for family in parse_text(lines)
        for sample in family.samples
        if sample.name == name
    }


def test_silence_is_zero_while_handshakes_are_answered_and_begins_with_half_an_answer() -> None:
    name = "ibkr_api_silence_seconds"
    assert of([grown(HEALTHY)], name) == {"paper": 0.0}
    assert of([grown(handshake_failed(Cause.SILENCE))], name)["paper"] > 0.0
    assert of([grown(handshake_failed(Cause.BROKEN_OFF))], name)["paper"] > 0.0


def test_the_last_handshake_that_worked_is_zero_where_none_has() -> None:
    name = "ibkr_handshake_last_success_timestamp_seconds"
    assert of([grown(port_failed(Cause.CONNECT_REFUSED))], name) == {"paper": 0.0}
    assert of([grown(HEALTHY, port_failed(Cause.CONNECT_REFUSED))], name) == {"paper": T0}


def test_a_unix_time_is_shown_to_the_millisecond_and_a_duration_to_the_nanosecond() -> None:
    state = fold(
        TargetState(TARGET),
        report((PORT_OK, replace(HANDSHAKE_OK, seconds=0.0000123456)), T0 + 0.123456),
        Verdict.HEALTHY,
    )
    assert of([state], "ibkr_handshake_last_success_timestamp_seconds") == {"paper": T0 + 0.123}
    assert of([state], "ibkr_handshake_last_duration_seconds") == {"paper": 0.0000123456}


def test_targets_of_one_scrape_have_each_their_own_windows() -> None:
    states = [TargetState(named("first", windows=WINDOWS[:1])), TargetState(named("second", windows=WINDOWS[1:]))]
    shown = {
        (dict(labels)["target"], dict(labels)["window"]): value
        for (name, labels), value in samples([*states, TargetState(named("third", windows=WINDOWS[:1]))]).items()
        if name == "ibkr_maintenance_window"
    }
    assert shown == {("first", "restart"): 1.0, ("second", "weekend"): 0.0, ("third", "restart"): 1.0}


@pytest.mark.parametrize(("openmetrics", "file"), [(False, "metrics.txt"), (True, "metrics.openmetrics.txt")])
def test_the_exposition_is_the_golden_file(openmetrics: bool, file: str) -> None:  # noqa: FBT001
    made = text(fleet() + trading() + libraries(), openmetrics=openmetrics)
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / file).write_text(made)
    assert made == (GOLDEN / file).read_text()


def test_the_golden_file_shows_every_metric_of_the_catalogue() -> None:
    families = {family.name for family in parse_openmetrics((GOLDEN / "metrics.openmetrics.txt").read_text())}
    assert families == {metric.name.removesuffix("_total") for metric in CATALOGUE}


def test_both_formats_are_read_by_the_reference_parsers_as_the_same_samples() -> None:
    plain = {(s.name, *sorted(s.labels.items()), s.value) for f in parse_text(text(fleet())) for s in f.samples}
    opened = {
        (s.name, *sorted(s.labels.items()), s.value)
        for f in parse_openmetrics(text(fleet(), openmetrics=True))
        for s in f.samples
    }
    assert plain == opened


def test_every_sample_has_the_labels_of_the_catalogue() -> None:
    extra = {"le"}
    labels = {metric.name: set(metric.labels) for metric in CATALOGUE} | {"ibkr_target_info": {"desk"}}
    for family in parse_text(text(fleet())):
        for sample in family.samples:
            known = next(labels[name] for name in (family.name, f"{family.name}_total") if name in labels)
            if family.name == "ibkr_target_info":
                known = {"target", "host", "port", "mode", "desk"}
            assert set(sample.labels) - extra == known, sample


def test_health_series_disappear_with_an_expired_state() -> None:
    state = grown(HEALTHY)
    healthy = {"ibkr_up", "ibkr_port_open", "ibkr_handshake_success", "ibkr_server_version"}
    healthy |= {"ibkr_handshake_last_duration_seconds", "ibkr_verdict_since_timestamp_seconds"}
    healthy |= {"ibkr_api_silence_seconds", "ibkr_server_release_info"}
    fresh = {name for name, _ in samples([state], T0 + 45.0)}
    stale = {name for name, _ in samples([state], T0 + 45.1)}
    assert fresh - stale == healthy
    assert "ibkr_last_probe_timestamp_seconds" in stale


def test_an_expired_state_has_the_verdict_unknown() -> None:
    found = samples([grown(HEALTHY)], T0 + 46.0)
    ones = [dict(labels)["verdict"] for (name, labels), value in found.items() if name == "ibkr_verdict" and value]
    assert ones == [Verdict.UNKNOWN]


def test_the_health_series_of_a_session_disappear_with_an_expired_state() -> None:
    [state, _] = trading()
    session = {"ibkr_session_success", "ibkr_session_stage_duration_seconds", "ibkr_server_clock_offset_seconds"}
    session |= {"ibkr_accounts", "ibkr_account_present", "ibkr_upstream_connected", "ibkr_farm_connected"}
    assert session <= {name for name, _ in samples([state], T0 + 15 + 45.0)}
    assert not session & {name for name, _ in samples([state], T0 + 15 + 45.1)}


def test_an_account_number_is_in_no_line() -> None:
    assert "DU" not in "".join(line for line in text(trading()).splitlines() if not line.startswith("#"))


def test_a_session_that_was_not_reached_is_no_success_and_one_never_meant_to_be_is_nothing() -> None:
    assert of(fleet() + trading(), "ibkr_session_success") == {"trading": 1, "trading-closed": 0}


def test_a_target_without_client_ids_has_no_session_lines_at_all() -> None:
    names = {name for name, _ in samples(fleet())}
    assert not names & {"ibkr_session_success", "ibkr_client_id_conflicts_total", "ibkr_watch_connected"}
    assert 'layer="session"' not in text(fleet())


def test_a_fault_of_ours_shows_no_health_at_all() -> None:
    assert "probe-broken" not in of(fleet(), "ibkr_up")
    assert "probe-broken" not in of(fleet(), "ibkr_port_open")


def test_exactly_one_verdict_of_each_target_is_one() -> None:
    ones: dict[str, list[str]] = {}
    for (name, labels), value in samples(fleet()).items():
        if name == "ibkr_verdict" and value:
            ones.setdefault(dict(labels)["target"], []).append(dict(labels)["verdict"])
    assert ones == {
        "healthy": ["healthy"],
        "frozen": ["api_silent"],
        "closed": ["port_closed"],
        "unresolved": ["name_unresolved"],
        "probe-broken": ["probe_broken"],
        "expired": ["unknown"],
        "unprobed": ["unknown"],
    }


def test_an_open_port_with_a_silent_api_is_not_up() -> None:
    assert of(fleet(), "ibkr_up") == {"healthy": 1, "frozen": 0, "closed": 0, "unresolved": 0}
    assert of(fleet(), "ibkr_port_open") == {"healthy": 1, "frozen": 1, "closed": 0, "unresolved": 0}
    assert of(fleet(), "ibkr_handshake_success") == {"healthy": 1, "frozen": 0, "closed": 0, "unresolved": 0}


def test_the_duration_of_a_failed_handshake_is_not_shown_as_one() -> None:
    assert set(of(fleet(), "ibkr_handshake_last_duration_seconds")) == {"healthy"}


COULD_CONNECT = {
    Verdict.CLIENT_BREAKS_GATEWAY: 1,  # while the gateway answers: the library is kept away
    Verdict.CLIENT_ID_IN_USE: 1,  # ours are, a program's own is another
    Verdict.ACCOUNT_MISSING: 1,
    Verdict.UPSTREAM_DOWN: 1,
    Verdict.DOWNLOAD_STALLED: 1,
    Verdict.CONTRACT_DETAILS_STALLED: 1,
    Verdict.CLIENTS_FAILING: 0,
    Verdict.CLIENT_FAULT: 1,
    Verdict.FARM_DOWN: 1,
    Verdict.SLOW: 1,
    Verdict.HEALTHY: 1,
    Verdict.PROBE_BROKEN: None,  # says nothing of the target
    Verdict.UNKNOWN: None,
}


@pytest.mark.parametrize("verdict", Verdict)
def test_a_target_is_up_where_a_trading_program_could_connect_now(verdict: Verdict) -> None:
    state = replace(grown(HEALTHY), verdict=verdict)
    assert of([state], "ibkr_up").get(TARGET.name) == COULD_CONNECT.get(verdict, 0)


def test_a_target_and_a_client_named_to_hurt_are_escaped_everywhere() -> None:
    name, client = 'a"b\\nc\nd%s{}\0', 'e\\"%d'
    target = named(name, labels={"x": '"\n'}, client_ids=(9001,), clients=(client,))
    state = grown(TRADING, handshake_failed(Cause.SILENCE), TRADING, target=target)
    state = tried(state, replace(CLIENT_OK, client=client))
    families = parse_openmetrics(text([state], openmetrics=True))
    shown = {
        label: {
            sample.labels[label]
            for family in families
            for sample in family.samples
            if "target" in sample.labels and sample.labels.get(label)
        }
        for label in ("target", "client")
    }
    assert shown == {"target": {name.replace("\0", "\N{REPLACEMENT CHARACTER}")}, "client": {client}}


def test_chunks_of_many_targets_are_small_and_whole_lines() -> None:
    state = grown(HEALTHY)
    states = [replace(state, target=named(f"t{number}")) for number in range(600)]
    chunks = list(exposition(states, T0))
    assert all(chunk.endswith("\n") for chunk in chunks if chunk)
    assert len([chunk for chunk in chunks if chunk]) >= len(TARGET_FAMILIES)
    assert max(map(len, chunks)) < 1_000_000


def test_a_client_that_fails_is_shown_until_three_of_its_intervals_have_passed() -> None:
    def shown(now: float) -> dict[str, float]:
        [state] = libraries()
        state = replace(state, last=replace(state.last, at=now)) if state.last else state
        return {
            dict(labels)["client"]: value
            for (name, labels), value in samples([state], now).items()
            if name == "ibkr_client_success"
        }

    assert shown(T0 + 5 + 180.0) == {"ib_insync": 1, "nautilus": 0}
    assert shown(T0 + 5 + 180.1) == {}


def test_a_client_that_could_not_be_tried_has_no_success_and_is_counted() -> None:
    missing = replace(CLIENT_OK, outcome=Outcome.UNAVAILABLE)
    target = named("libraries", client_ids=(9001,), clients=("ib_insync",))
    made = samples([tried(grown(TRADING, target=target), missing)])
    assert not [name for name, _ in made if name in ("ibkr_client_success", "ibkr_client_last_duration_seconds")]
    labels = frozenset(
        {"target": "libraries", "layer": "client", "client": "ib_insync", "outcome": "unavailable"}.items()
    )
    assert made["ibkr_probe_failures_total", labels] == 1
