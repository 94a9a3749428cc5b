"""How a line of `/metrics` is written: families headed, labels escaped, histograms laid out. Texts only.

Both formats, Prometheus' own and OpenMetrics, come from here; they differ in the header of a counter alone.
"""

from itertools import accumulate

from exporter.metrics.catalogue import Kind, Metric
from exporter.state.target import Histogram

HERE = "\0"  # where the target's label goes in a template; no label value can hold it


def header(metric: Metric, *, openmetrics: bool) -> str:
    """HELP and TYPE. OpenMetrics names a counter's family without the `_total` of its samples."""
    name = metric.name.removesuffix("_total") if openmetrics and metric.kind is Kind.COUNTER else metric.name
    return f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind.value}\n"


def escaped(value: str) -> str:
    """A label value as both text formats write it."""
    return (
        value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace(HERE, "\N{REPLACEMENT CHARACTER}")
    )


def histogram_template(metric: Metric, bounds: tuple[float, ...], label: str) -> str:
    """Every line of a histogram, with %s for each value: the buckets, then the sum, then the count.

    `label` is `name="value"`, several with a comma in between, or nothing. A percent sign in it is written twice.
    """
    comma = "," if label else ""
    buckets = [f'{metric.name}_bucket{{{label}{comma}le="{bound!r}"}} %s\n' for bound in bounds]
    buckets.append(f'{metric.name}_bucket{{{label}{comma}le="+Inf"}} %s\n')
    braces = f"{{{label}}}" if label else ""
    return "".join(buckets) + f"{metric.name}_sum{braces} %s\n{metric.name}_count{braces} %s\n"


def filled(template: str, histogram: Histogram) -> str:
    """The lines of a histogram by its template."""
    cumulative = tuple(accumulate(histogram.counts))
    return template % (*cumulative, repr(histogram.total), cumulative[-1])
