"""The reports of users, replayed: the verdict is right, and the action that helped is among the required ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from exporter.cli.diagnose import examine
from exporter.model import ClientSpec, Mode, Target
from exporter.protocol import settings
from exporter.protocol.wire import Request
from exporter.simulator.gateway import Gateway
from exporter.simulator.settings import GatewaySettings
from exporter.verdict.explanation import explain
from exporter.verdict.rules import judge
from tests.reports import ELSEWHERE, REPORTS, ReportElsewhere, UserReport, as_markdown
from tests.shell.clients_real import make_client

ACCOUNT = "DU1234567"
ASKABLE = GatewaySettings(permitted=frozenset({*Request, settings.REQUEST}))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("row", REPORTS, ids=lambda row: f"{row.mode}-{row.threads.split(',')[0]}")
async def test_what_was_reported_gets_its_verdict_and_the_action_that_helped(row: UserReport) -> None:
    for name in row.clients:
        make_client(name)
    specs = [ClientSpec(name, name.partition("-")[0], deadline=6.0) for name in row.clients]
    setup = GatewaySettings() if row.setting is None else replace(ASKABLE, api_settings=(row.setting,))
    async with Gateway(row.mode, setup=setup) as gateway:
        target = Target(
            "paper",
            gateway.host,
            gateway.port,
            Mode.PAPER,
            deadline=2.0,
            client_ids=(9001, 9002),
            account=ACCOUNT,
            download=row.download,
            settings=row.setting is not None,
        )
        report = await examine(target, specs, None, lambda _: None)
    verdict = judge(report, target)
    assert verdict is row.verdict
    words = explain(report, target, verdict)
    assert row.action in " ".join(words.actions if row.setting is None else words.evidence)


@pytest.mark.parametrize("row", ELSEWHERE, ids=lambda row: row.threads)
def test_the_test_that_a_row_names_exists(row: ReportElsewhere) -> None:
    file, _, name = row.test.partition("::")
    assert f"def {name}(" in (Path(__file__).parents[1] / file).read_text("utf-8")


def test_the_committed_table_of_reports_is_what_the_rows_give() -> None:
    committed = Path(__file__).parents[2] / "docs" / "reports.md"
    assert committed.read_text("utf-8") == as_markdown()
