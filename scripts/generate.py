"""Write what is generated from the code: the configuration's schema and reference, the metrics' reference.

A contract test proves the committed files equal.
"""

import sys
from pathlib import Path

from exporter.config.reference import key_tables, schema_text
from exporter.metrics.reference import as_markdown

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- generated: make generate -->\n", "<!-- end of what is generated -->\n"


def main() -> None:
    """Write the files."""
    (ROOT / "exporter/config.schema.json").write_text(schema_text(), "utf-8")
    (ROOT / "docs/metrics.md").write_text(as_markdown(), "utf-8")
    sys.path.insert(0, str(ROOT))
    from tests.reports import as_markdown as reports  # noqa: PLC0415 - found from here on

    (ROOT / "docs/reports.md").write_text(reports(), "utf-8")
    page = ROOT / "docs/configuration.md"
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    page.write_text(before + BEGIN + "\n" + key_tables() + "\n" + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    main()
