"""The messages of a library's connection: their names, never their contents, however the bytes are cut."""

import json
from typing import Any

import pytest

from exporter.clients.driver_result import ExitStatus, read_result
from exporter.clients.drivers import exchange as driver
from exporter.model import Direction, Exchanged, Layer, LayerResult, Mode, Outcome, Report, Target, Verdict
from exporter.verdict.evidence import exchange
from exporter.verdict.explanation import explain

Exchange: Any = driver.Exchange  # the drivers have no annotations


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


HELLO = b"API\0" + framed(b"v100..226")
REPLY = framed(b"176\x0020261121 12:00:00 UTC\0")
ACCOUNTS = framed(b"15\x001\x00DU1234567\0")
RAW_ID = framed(b"\0\0\0\x091\x00")
PROTOBUF_ACCOUNTS = framed(b"\0\0\x00\xd7\x0a\x09DU1234567")


def names(recorded: Any) -> list[tuple[str, str, int]]:
    return [(direction, name, count) for direction, name, _, count in recorded.lines()]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_every_cut_of_the_stream_gives_the_same_names(size: int) -> None:
    recorded, stream = Exchange(), REPLY + ACCOUNTS + RAW_ID + PROTOBUF_ACCOUNTS
    for start in range(0, len(stream), size):
        recorded.received(stream[start : start + size])
    assert [name for _, name, _ in names(recorded)] == [
        "server version",
        "managedAccounts",
        "nextValidId",
        "managedAccounts",
    ]


def test_a_frame_before_the_reply_to_the_hello_has_its_own_name() -> None:
    recorded = Exchange()
    recorded.received(framed(b"14\x001\x002\x00news\x00NYSE\0") + REPLY)
    assert [name for _, name, _ in names(recorded)] == ["newsBulletins", "server version"]


def test_repeated_messages_are_counted_and_only_the_last_entries_are_kept() -> None:
    recorded = Exchange()
    recorded.received(REPLY + framed(b"6\x002\x00NetLiquidation\x00canary\0") * 1000)
    assert names(recorded)[-1] == ("received", "updateAccountValue", 1000)
    for number in range(1000):
        recorded.received(framed(b"%d\x00" % (300 + number % 7)))
    assert len(recorded.lines()) == driver.KEPT


def test_no_contents_are_kept() -> None:
    recorded = Exchange()
    recorded.sent(HELLO, withheld=False)
    recorded.received(REPLY + ACCOUNTS + PROTOBUF_ACCOUNTS + framed(b"canary") + framed(b""))
    recorded.sent(framed(b"61\x001\0"), withheld=True)
    recorded.closed("library")
    text = json.dumps(recorded.lines())
    assert "DU1234567" not in text
    assert "canary" not in text
    assert [name for _, name, _ in names(recorded)[-4:]] == [
        "a frame without a message id",
        "an empty frame",
        "reqPositions",
        "library",
    ]
    assert names(recorded)[-2][0] == "withheld"


def test_another_protocol_is_one_entry() -> None:
    recorded = Exchange()
    recorded.received(b"HTTP/1.1 400 Bad Request\r\n" * 50)
    assert names(recorded) == [("received", "bytes of another protocol", 1)]


def test_the_latest_line_of_a_probe_has_the_exchange_also_when_the_process_was_killed() -> None:
    lines = [
        {"stage": "connected", "seconds": 0.1, "exchange": [["sent", "hello", 0.001, 1]]},
        {
            "stage": "ready",
            "seconds": 0.1,
            "exchange": [["sent", "hello", 0.001, 1], ["received", "nextValidId", 1, 1]],
        },
    ]
    result = read_result("c", lines, 5.0, ExitStatus(killed=True), "")
    assert result.exchange == (
        Exchanged(Direction.SENT, "hello", 0.001),
        Exchanged(Direction.RECEIVED, "nextValidId", 1.0),
    )


@pytest.mark.parametrize(
    ("stages", "words"),
    [(["positions", "executions"], ["account downloaded", "EUR.USD qualified"]), ([], ["EUR.USD qualified"])],
)
def test_what_a_library_did_says_whether_it_downloaded_the_account(stages: list[str], words: list[str]) -> None:
    names = ["connected", "ready", "time", "accounts", *stages, "contract"]
    lines = [{"stage": name, "seconds": 0.1} for name in names]
    result = read_result("c", [*lines, {"accounts": 1}, {"end": "ok"}], 5.0, ExitStatus(killed=False, status=0), "")
    assert result.detail == ", ".join(["1 managed account", *words])


@pytest.mark.parametrize("entry", [None, [], ["sent"], ["shouted", "hello", 1, 1], ["sent", "hello", "1", 1], 7])
def test_an_entry_of_another_form_is_left_out(entry: object) -> None:
    result = read_result(
        "c", [{"stage": "connected", "seconds": 1, "exchange": [entry]}], 5.0, ExitStatus(killed=True), ""
    )
    assert result.exchange == ()


def test_the_exchange_of_a_client_that_failed_is_a_line_of_evidence() -> None:
    messages = (
        Exchanged(Direction.SENT, "startApi", 0.001),
        Exchanged(Direction.RECEIVED, "managedAccounts", 0.0021),
        Exchanged(Direction.RECEIVED, "nextValidId", 0.003),
        Exchanged(Direction.RECEIVED, "error or notice", 0.004, 6),
        Exchanged(Direction.CLOSED, "library", 0.005),
    )
    failed = LayerResult(layer=Layer.CLIENT, outcome=Outcome.CRASHED, client="ib_insync", exchange=messages)
    expected = (
        "sent startApi after 1.00 ms; "
        "received managedAccounts, nextValidId, error or notice ×6 after 4.00 ms; "  # noqa: RUF001
        "closed by the library after 5.00 ms"
    )
    assert exchange(failed) == expected
    target = Target("paper", "127.0.0.1", 7497, Mode.PAPER)
    report = Report(target="paper", at=0.0, seconds=1.0, results=(failed,))
    assert f"ib_insync {expected}" in explain(report, target, Verdict.CLIENT_FAULT).evidence
