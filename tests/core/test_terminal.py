"""What `diagnose` prints, on terminals of every kind."""

from io import BytesIO, TextIOWrapper

import pytest
from rich.console import Console

from exporter.model import Cause, Layer, LayerResult, Mode, Outcome, Report, Stage, Target, Verdict
from exporter.terminal import print_report

PAPER = Target("paper", "127.0.0.1", 7497, Mode.PAPER)
REFUSED = Report(
    "paper",
    0.0,
    0.1,
    (
        LayerResult(Layer.PORT, Outcome.REFUSED, 0.0003, Stage.CONNECT, Cause.CONNECT_REFUSED),
        LayerResult(Layer.HANDSHAKE, Outcome.SKIPPED),
    ),
)


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
