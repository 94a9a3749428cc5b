import re
from pathlib import Path

from exporter.metrics.catalogue import CATALOGUE
from exporter.metrics.reference import as_markdown


def test_the_committed_reference_is_what_the_catalogue_gives(repository: Path) -> None:
    assert (repository / "docs/metrics.md").read_text() == as_markdown(), "run make generate"


def test_every_metric_that_the_docs_name_is_in_the_catalogue(repository: Path) -> None:
    known = {metric.name for metric in CATALOGUE}
    known |= {f"{name}_{suffix}" for name in known for suffix in ("bucket", "sum", "count")}
    for page in (*repository.glob("docs/*.md"), repository / "README.md", *repository.glob("exporter/runbooks/*.md")):
        text = page.read_text()
        text = re.sub(r"\w+:ibkr_[\w:]+|\bibkr_exporter\b", "", text)  # what rules record, and ourselves
        assert set(re.findall(r"\bibkr_[a-z0-9_]+", text)) - known == set(), page


def test_names_types_and_help_keep_to_prometheus_ways() -> None:
    for metric in CATALOGUE:
        assert metric.name.startswith("ibkr_")
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") is (metric.kind == "counter")
        assert not metric.name.endswith(("_milliseconds", "_ms"))
        assert metric.name not in metric.help
    names = [metric.name for metric in CATALOGUE]
    assert len(names) == len(set(names))
