"""What a gateway stopped answering after: counted in a row, forgotten after a good try, never held against chance."""

from exporter.model import Cause, InstalledVersion, Outcome, Report
from exporter.state.falls import (
    FALL_TIMINGS,
    Falls,
    begin_run,
    blocked_by,
    end_run,
    is_partial,
    observe,
)
from tests.core.states import HEALTHY, T0, TRADING, handshake_failed, port_failed, report

VERSION = InstalledVersion("ib_async", "2.0.1", "3.13.0")
SILENT = handshake_failed(Cause.SILENCE)
HOUR = 3600.0


def ok(at: float) -> Report:
    return report(HEALTHY, T0 + at)


def silent(at: float) -> Report:
    return report(SILENT, T0 + at)


def after(*reports: Report, falls: Falls | None = None) -> Falls:
    falls = Falls() if falls is None else falls
    for each in reports:
        falls = observe(falls, each, FALL_TIMINGS)
    return falls


def tried(falls: Falls, at: float, client: str = "one", seconds: float = 1.0) -> Falls:
    return end_run(begin_run(falls, client, VERSION, T0 + at), T0 + at + seconds)


def blocked(falls: Falls, at: float, client: str = "one") -> Cause | None:
    return blocked_by(falls, client, T0 + at, FALL_TIMINGS)


def test_a_gateway_that_stops_answering_within_a_clients_minute_is_a_fall_with_that_client() -> None:
    for at, later in ((12.0, 0.0), (40.0, 29.0), (71.0, 60.0)):
        fall = after(silent(at), falls=tried(after(ok(0)), 10.0)).present
        assert fall is not None
        assert (fall.client, fall.installed, fall.count, fall.after) == ("one", VERSION, 1, later)


def test_one_that_stops_later_or_was_silent_before_is_none() -> None:
    assert after(silent(72.0), falls=tried(after(ok(0)), 10.0)).present is None
    assert after(silent(0), silent(20.0)).present is None


def test_every_way_of_not_answering_is_a_fall_but_our_own_fault_and_a_name_without_address_are_none() -> None:
    known = tried(after(ok(0)), 10.0)
    for results in (port_failed(Cause.CONNECT_REFUSED), handshake_failed(Cause.EOF, Outcome.CLOSED), SILENT):
        assert observe(known, report(results, T0 + 12), FALL_TIMINGS).present
    for other in (
        report((), T0 + 12, fault="OSError: too many open files"),
        report(port_failed(Cause.NAME_UNKNOWN, Outcome.UNAVAILABLE), T0 + 12),
    ):
        assert observe(known, other, FALL_TIMINGS) == known


def test_a_client_rests_until_the_gateway_has_answered_for_an_hour_and_is_suspended_at_the_second_fall() -> None:
    falls = after(silent(12.0), falls=tried(after(ok(0)), 10.0))
    assert blocked(falls, 13.0) is Cause.RESTING
    assert blocked(falls, 13.0, "other") is None
    falls = after(ok(100.0), falls=falls)
    assert blocked(falls, 99.0 + HOUR) is Cause.RESTING
    assert blocked(falls, 100.0 + HOUR) is None
    falls = after(silent(110.0 + HOUR), falls=tried(falls, 101.0 + HOUR))
    assert falls.present is not None
    assert falls.present.count == 2
    assert blocked(after(ok(9 * HOUR), falls=falls), 20 * HOUR) is Cause.SUSPENDED


def test_another_silence_meanwhile_begins_the_hour_again() -> None:
    falls = after(silent(12.0), falls=tried(after(ok(0)), 10.0))
    falls = after(ok(100.0), silent(2000.0), ok(2100.0), falls=falls)
    assert blocked(falls, 100.0 + HOUR) is Cause.RESTING
    assert blocked(falls, 2100.0 + HOUR) is None


def test_a_retry_that_the_gateway_survives_clears_the_client() -> None:
    falls = after(silent(12.0), falls=tried(after(ok(0)), 10.0))
    falls = tried(after(ok(100.0), falls=falls), 101.0 + HOUR)
    falls = after(ok(102.0 + HOUR), ok(170.0 + HOUR), falls=falls)
    assert not falls.by_client
    again = after(silent(8 * HOUR), falls=tried(falls, 8 * HOUR - 5))
    assert again.present is not None
    assert again.present.count == 1


def test_a_silence_right_after_our_first_session_counts_twice_in_a_row_and_one_after_a_settled_session_ends_that() -> (
    None
):
    def session(at: float) -> Report:
        return report(TRADING, T0 + at)

    falls = after(session(0), silent(15), session(100), silent(115))
    assert falls.sessions_suspended
    falls = after(session(0), silent(15), session(100), session(115), silent(130), session(200), silent(215))
    assert not falls.sessions_suspended
    alive = observe(after(session(0), silent(15), session(100)), silent(115), FALL_TIMINGS, alive_at=T0 + 110)
    assert not alive.by_session


def test_a_gateway_of_which_some_connections_are_answered_in_between_has_no_falls() -> None:
    falls = Falls()
    for turn in range(8):
        falls = after(ok(3 * turn), falls=falls)
        if blocked(falls, 3 * turn) is None:
            falls = tried(falls, 3 * turn + 0.1, seconds=0.1)
        falls = after(silent(3 * turn + 1), ok(3 * turn + 2), falls=falls)
    assert is_partial(falls)
    assert not falls.by_client
    assert falls.present is None


def test_a_gateway_that_freezes_now_and_then_for_long_is_not_taken_for_a_relay() -> None:
    falls = Falls()
    for turn in range(4):
        reports = [silent(100 * turn + 10 * place) for place in range(5)]
        falls = after(*reports, ok(100 * turn + 60), falls=falls)
    assert not is_partial(falls)
    assert not falls.by_client
