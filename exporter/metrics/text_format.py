"""How a line of `/metrics` is written: label values escaped, histograms laid out. Texts only."""

from collections.abc import Callable, Mapping
from itertools import accumulate

from exporter.state.histogram import Histogram


def escaped(value: str) -> str:
    """A label value as both text formats write it. Prometheus' parser takes a NUL for the end of the text."""
    if value.isidentifier():  # most values are: nothing to replace
        return value
    return (
        value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
    )


def sample_line(name: str, labels: Mapping[str, str], value: object) -> str:
    """Write one sample; label values are escaped."""
    text = ",".join(f'{label}="{escaped(of)}"' for label, of in labels.items())
    return f"{name}{{{text}}} {value}\n" if text else f"{name} {value}\n"


def histogram_lines(name: str, bounds: tuple[float, ...]) -> Callable[[str, Histogram], str]:
    """What writes every line of a histogram: the buckets, then the sum, then the count.

    Its first argument is `label="value"`, several with a comma in between, or nothing.
    """
    tails = [f'le="{bound!r}"}} ' for bound in bounds] + ['le="+Inf"} ']

    def lines(labels: str, histogram: Histogram) -> str:
        head = f"{name}_bucket{{{labels}{',' if labels else ''}"
        braces = f"{{{labels}}}" if labels else ""
        buckets = "".join(
            [f"{head}{tail}{count}\n" for tail, count in zip(tails, accumulate(histogram.counts), strict=True)]
        )
        return f"{buckets}{name}_sum{braces} {histogram.total!r}\n{name}_count{braces} {sum(histogram.counts)}\n"

    return lines
