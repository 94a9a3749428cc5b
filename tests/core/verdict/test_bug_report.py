"""The block of text for a bug report."""

from dataclasses import replace

import pytest

from exporter.model import Verdict
from exporter.verdict.bug_report import bug_report
from tests.core.states import CLIENT_HUNG, CLIENT_OK, TARGET, TRADING, report

EXPORTER = "ibkr-exporter 0.1.0, Python 3.13.0, Linux"
RESULTS = (*TRADING, CLIENT_OK, replace(CLIENT_HUNG, detail="DU7654321 is in /home/trader/bot and C:\\Users\\me\\x"))


def block(host: str = "127.0.0.1", account: str | None = None) -> str:
    target = replace(TARGET, host=host, account=account)
    return bug_report(report(RESULTS), target, Verdict.CLIENT_FAULT, EXPORTER)


def test_it_has_the_versions_the_layers_the_libraries_the_times_the_verdict_and_the_evidence() -> None:
    text = block()
    for words in (
        EXPORTER,
        f"127.0.0.1:{TARGET.port}",
        "server version",
        "Verdict:  client_fault. nautilus (nautilus_trader 1.220.0 on Python 3.12.4) is at fault",
        "| port ",
        "| session ",
        "ib_insync 0.9.86 on Python 3.13.0",
        "PASS",
        "FAIL timeout",
        "Evidence\n- ",
    ):
        assert words in text


def test_its_table_has_as_many_cells_in_every_row() -> None:
    rows = [line for line in block().splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {7}
    assert len({len(line) for line in rows}) == 1
    assert len(rows) == 2 + len(RESULTS)


@pytest.mark.parametrize("account", [None, "DU1234567"])
def test_it_names_no_account_and_no_user(account: str | None) -> None:
    text = block(account=account)
    for secret in ("1234567", "7654321", "trader/", "Users\\me"):
        assert secret not in text
    assert "DU…321 is in /home/USER/bot and C:\\Users\\USER\\x" in text


def test_it_names_this_machine_and_no_other() -> None:
    assert "127.0.0.1" in block()
    assert "localhost:" in block("localhost")
    for host in ("tws.example.com", "10.1.2.3"):
        text = block(host)
        assert host not in text
        assert f"HOST:{TARGET.port}" in text
