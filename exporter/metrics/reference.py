"""The metric catalogue as a document: for `ibkr-exporter metrics` and docs/metrics.md."""

import json

from exporter.metrics.catalogue import CATALOGUE

INTRODUCTION = """\
# Metrics

Everything that `/metrics` shows, beside `process_*` and `python_*`. Generated from the catalogue by
`ibkr-exporter metrics`; a test proves it equal. Units are base units. A target whose last report is older than three
intervals claims nothing: its health series disappear, and its verdict is `unknown`.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def as_markdown() -> str:
    """One table row a metric."""
    rows = (
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.help} |\n" for metric in CATALOGUE
    )
    return INTRODUCTION + "".join(rows)


def as_json() -> str:
    """A list of objects: name, type, labels, help."""
    rows = [
        {"name": metric.name, "type": metric.kind.value, "labels": list(metric.labels), "help": metric.help}
        for metric in CATALOGUE
    ]
    return json.dumps(rows, indent=2) + "\n"
