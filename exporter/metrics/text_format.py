"""How a line of `/metrics` is written: label values escaped, histograms laid out. Texts only."""

from collections.abc import Callable, Mapping
from itertools import accumulate

from exporter.state.histogram import Histogram

LABELS = "\0"  # stands for the labels in a template; no label value has it


def escaped(value: str) -> str:
    """A label value as both text formats write it. Prometheus' parser takes a NUL for the end of the text."""
    if value.isidentifier():  # most values are: nothing to replace
        return value
    return (
        value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
    )


def sample_line(name: str, labels: Mapping[str, str], value: float) -> str:
    """Write one sample; label values are escaped.

    A value has thirteen digits, which are milliseconds in a unix time. All seventeen take four times as long to write,
    and say nothing.
    """
    text = ",".join(f'{label}="{escaped(of)}"' for label, of in labels.items())
    return f"{name}{{{text}}} {value:.13g}\n" if text else f"{name} {value:.13g}\n"


def histogram_lines(name: str, bounds: tuple[float, ...]) -> Callable[[str, Histogram], str]:
    """What writes every line of a histogram: the buckets, then the sum, then the count.

    Its first argument is `label="value"`, several with a comma in between, or nothing.
    """
    les = [f'le="{bound!r}"' for bound in bounds] + ['le="+Inf"']

    def template(labels: str) -> str:
        """All lines with the labels; for each bucket %d, for the sum %s."""
        comma, braces = ("," if labels else ""), (f"{{{labels}}}" if labels else "")
        buckets = "".join([f"{name}_bucket{{{labels}{comma}{le}}} %d\n" for le in les])
        return f"{buckets}{name}_sum{braces} %s\n{name}_count{braces} %d\n"

    labelled, bare = template(LABELS), template("")

    def lines(labels: str, histogram: Histogram) -> str:
        counts = (*accumulate(histogram.counts),)
        text = (labelled if labels else bare) % (*counts, f"{histogram.total:.13g}", counts[-1])
        return text.replace(LABELS, labels)  # afterwards, because a label may hold a per cent sign

    return lines
