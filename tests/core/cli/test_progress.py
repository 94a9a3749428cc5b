"""What `diagnose` shows while it runs."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from exporter.cli.diagnose import DOWNLOAD, Progress
from exporter.cli.progress import Lines, LiveTable
from exporter.model import Layer, LayerResult, Outcome, Stage
from exporter.verdict.client_blame import skipped
from tests.core.states import CLIENT_HUNG, CLIENT_OK, TARGET, TRADING, report

WIRE = report((*TRADING, skipped("ib_insync"), skipped("nautilus")))
START = Progress(WIRE, importing=("nautilus",), waiting=("ib_insync",))
FIRST = Progress(WIRE, running="ib_insync", importing=("nautilus",))
SECOND = Progress(replace(WIRE, results=(*TRADING, CLIENT_OK, skipped("nautilus"))), running="nautilus")
END = Progress(replace(WIRE, results=(*TRADING, CLIENT_OK, CLIENT_HUNG)))


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(to: Console) -> list[str]:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue().splitlines()


def test_each_result_is_one_line_as_it_comes_and_the_wires_verdict_is_before_the_libraries() -> None:
    to = console()
    lines = Lines(to, TARGET)
    counts = []
    for progress in (START, FIRST, SECOND, END):
        lines.show(progress)
        counts.append(len(printed(to)))
    text = printed(to)
    assert [line.split(":")[0] for line in text[:4]] == ["TCP connect", "API handshake", "API session", "So far"]
    assert text[3].startswith("So far: healthy")
    assert text[4] == "importing nautilus; then ib_insync"
    assert text[5] == "probing ib_insync; importing nautilus"
    assert text[6].startswith("ib_insync: ✓ ok")
    assert text[7] == "probing nautilus"
    assert text[8].startswith("nautilus: ✗ timeout")
    assert counts == [5, 6, 8, 9]


def test_the_account_download_comes_after_the_wires_verdict_and_has_the_verdict_repeated() -> None:
    to = console()
    lines = Lines(to, TARGET)
    download = LayerResult(layer=Layer.DOWNLOAD, outcome=Outcome.TIMEOUT, seconds=15.6, stage=Stage.EXECUTIONS)
    lines.show(Progress(report(TRADING), running=DOWNLOAD))
    assert [line.split(":")[0] for line in printed(to)] == [
        "TCP connect",
        "API handshake",
        "API session",
        "So far",
        "probing the account download",
    ]
    lines.show(Progress(report((*TRADING, download)), waiting=("ib_async",)))
    assert [line.split(":")[0] for line in printed(to)[5:]] == ["Account download", "So far"]


@pytest.mark.parametrize("progress", [START, FIRST, SECOND, END])
def test_the_table_holds_what_is_done_and_names_what_is_left(progress: Progress) -> None:
    to, table = console(), LiveTable(TARGET)
    table.show(progress)
    to.print(table)
    text = "\n".join(printed(to))
    assert "So far: " in text
    assert "TCP connect" in text  # the wire's rows stay also while no library is being probed
    assert ("ib_insync 0.9.86" in text) is (progress in (SECOND, END))
    for client in (progress.running, *progress.importing, *progress.waiting):
        assert client is None or client in text.splitlines()[-1]


def test_before_the_wire_is_probed_the_endpoint_is_named() -> None:
    to = console()
    to.print(LiveTable(TARGET))
    assert printed(to)[0].startswith(f"probing {TARGET.endpoint}")
