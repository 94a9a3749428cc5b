"""What `diagnose` prints, on terminals of every kind."""

from io import BytesIO, TextIOWrapper

import pytest
from rich.console import Console

from exporter.cli.report import print_report, rows_of
from exporter.model import Cause, InstalledVersion, Layer, LayerResult, Mode, Outcome, Report, Stage, Target, Verdict

PAPER = Target("paper", "127.0.0.1", 7497, Mode.PAPER)
REFUSED = Report(
    target="paper",
    at=0.0,
    seconds=0.1,
    results=(
        LayerResult(
            layer=Layer.PORT, outcome=Outcome.REFUSED, seconds=0.0003, stage=Stage.CONNECT, cause=Cause.CONNECT_REFUSED
        ),
        LayerResult(layer=Layer.HANDSHAKE, outcome=Outcome.SKIPPED),
    ),
)


ENDED = Report(
    target="paper",
    at=0.0,
    seconds=0.1,
    results=(
        LayerResult(layer=Layer.PORT, outcome=Outcome.OK, seconds=0.0003),
        LayerResult(
            layer=Layer.HANDSHAKE,
            outcome=Outcome.TIMEOUT,
            seconds=0.9999,
            stage=Stage.REPLY,
            cause=Cause.SILENCE,
            detail="a long explanation of it",
        ),
        LayerResult(
            layer=Layer.CLIENT,
            outcome=Outcome.UNAVAILABLE,
            client="a-client-with-a-name",
            detail="not \x1b[2J\ninstalled",
            installed=InstalledVersion("nautilus_trader", "1.231.0", "3.13.0"),
        ),
    ),
)


def printed(width: int, report: Report = ENDED, verdict: Verdict = Verdict.API_SILENT) -> list[str]:
    raw = BytesIO()
    stream = TextIOWrapper(raw, encoding="utf-8")
    print_report(Console(file=stream, width=width), PAPER, report, verdict)
    stream.flush()
    return raw.getvalue().decode().splitlines()


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 70, 80, 100, 200])
def test_no_word_is_lost_or_cut_on_a_narrow_terminal(width: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(lines).split())
    for word in (
        "a-client-with-a-name",
        "unavailable",
        "timeout",
        "1.0 s",
        "nautilus_trader",
        "1.231.0",
        "silence",
        "explanation",
    ):
        assert word in words, word


def test_a_wide_terminal_shows_a_table_and_a_narrow_one_the_same_below_each_other() -> None:
    assert any("Test" in line and "Details" in line for line in printed(100))
    narrow = printed(40)
    assert not any("Details" in line for line in narrow)
    assert narrow[:4] == [
        "TCP connect: ✓ ok, 0.30 ms",
        "  our own socket",
        "API handshake: ✗ timeout, 1.0 s",
        "  our own socket",
    ]


@pytest.mark.parametrize("layer", [layer for layer in Layer if layer is not Layer.CLIENT])
def test_every_layer_of_our_own_has_a_name_in_the_table(layer: Layer) -> None:
    (row,) = rows_of([LayerResult(layer=layer, outcome=Outcome.OK)])
    assert row.test
    assert row.library == "our own socket"


def test_what_a_library_said_cannot_command_the_terminal() -> None:
    for width in (40, 120):
        text = "\n".join(printed(width))
        assert r"not \x1b[2J\ninstalled" in text.replace("\n", "") or r"\x1b[2J\ninstalled" in text
        assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_the_report_is_printed_whatever_the_terminal_can_show(encoding: str) -> None:
    raw = BytesIO()
    stream = TextIOWrapper(raw, encoding=encoding)
    print_report(Console(file=stream, width=100), PAPER, REFUSED, Verdict.PORT_CLOSED)
    stream.flush()
    text = raw.getvalue().decode(encoding)
    assert "Verdict: port_closed" in text
    assert "refused" in text
    assert "Required actions" in text
