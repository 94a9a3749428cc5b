"""The figures of the bench of scale as tables, and compared with the bounds."""

from collections.abc import Sequence
from typing import Any

Figures = dict[str, Any]

LARGEST = 5000
MOST = {  # of 5,000 targets, whatever their kind
    "cores": 0.6,
    "rss_mb": 300.0,
    "scrape_p50_seconds": 0.3,
    "missed_ticks": 0,
}
FLAT = 1.1  # the processor time of a target at 5,000, to that at 100
P99_ADDED = 0.001  # seconds that faults of others may add to the p99 of the error


def verdicts(figures: Figures) -> Figures:
    """For each bound: the figure, the bound, and whether it is kept."""
    bounds: Figures = {}
    for row in figures.get("fleet", ()):
        if row["targets"] == LARGEST:
            measured = {
                "cores": row["cores"],
                "rss_mb": row["rss_mb"],
                "scrape_p50_seconds": row["scrape"]["p50"],
                "missed_ticks": row["ticks_missed"] + row["ticks_skipped"],
            }
            bounds |= {f"{row['kind']}: {name}": at_most(measured[name], bound) for name, bound in MOST.items()}
            small = [one for one in figures["fleet"] if one["targets"] == 100 and one["kind"] == row["kind"]]  # noqa: PLR2004
            for one in small:
                ratio = row["cpu_ms_per_target_minute"] / one["cpu_ms_per_target_minute"]
                bounds[f"{row['kind']}: cost of a target, 5,000 to 100"] = at_most(ratio, FLAT)
    faults = figures.get("faults", {})
    for fault, row in faults.items():
        if fault != "none":
            added = row["error_p99"] - faults["none"]["error_p99"]
            bounds[f"{fault}: seconds added to the p99 of the others' error"] = at_most(added, P99_ADDED)
    for manner in ("evenly spread", "sixteen at once"):
        if "probe" in figures:
            ratios = figures["probe"][manner]["ratios"]
            bounds[f"/probe, {manner}: p99 to blackbox's"] = at_most(ratios["p99"], 1.0)
            throughput = ratios["per_second"]
            bounds[f"/probe, {manner}: throughput to blackbox's"] = {
                "measured": throughput,
                "bound": 0.999,
                "kept": throughput >= 0.999,  # noqa: PLR2004 - evenly spread both have what was asked for
                "least": True,
            }
    return bounds


def at_most(measured: float, bound: float) -> Figures:
    """A figure that may not be higher."""
    return {"measured": measured, "bound": bound, "kept": measured <= bound}


def as_markdown(figures: Figures) -> str:
    """The tables."""
    load = f"load {figures['load_before']:.1f} before, {figures['load_after']:.1f} after"
    lines = [
        f"{figures['date']}, CPython {figures['python']}, {figures['machine']}; {load}.",
        "",
        *table(
            ("bound", "measured", "at most, or at least", "kept"),
            [
                (
                    name,
                    f"{row['measured']:.4g}",
                    f"{'at least' if row.get('least') else 'at most'} {row['bound']:g}",
                    "yes" if row["kept"] else "NO",
                )
                for name, row in figures["bounds"].items()
            ],
        ),
    ]
    if "fleet" in figures:
        lines += ["", *fleet(figures["fleet"])]
    if "faults" in figures:
        lines += ["", *faults(figures["faults"])]
    if "probe" in figures:
        lines += ["", *probe(figures["probe"])]
    return "\n".join([*lines, ""])


def fleet(rows: list[Figures]) -> list[str]:
    """What each fleet costs, and what is known of its handshakes and scrapes."""
    rows = sorted(rows, key=lambda row: (row["kind"], row["targets"]))
    costs = [
        (
            row["kind"],
            f"{row['targets']:,}",
            f"{row['ticks_missed'] + row['ticks_skipped']:.0f}",
            f"{row['cores']:.3f}",
            f"{row['cpu_ms_per_target_minute']:.1f} ms",
            f"{row['rss_mb']:.0f}",
            f"{row['probes'] / row['seconds']:.0f}",
            f"{row['connections']:,}",
            f"{row['gateways_cores']:.3f}",
        )
        for row in rows
    ]
    scrapes = [
        (
            row["kind"],
            f"{row['targets']:,}",
            f"{row['series']:,}",
            f"{row['bytes'] / 1e6:.1f}",
            f"{row['gzipped'] / 1e6:.2f}",
            milliseconds(row["scrape"]["p50"]),
            milliseconds(row["scrape"]["max"]),
            *(milliseconds(row["handshake"][name]) for name in ("p50", "p99", "true_p50", "true_p99")),
            *(milliseconds(row["handshake"][name]) for name in ("error_p50", "error_p99")),
        )
        for row in rows
    ]
    return [
        *table(
            (
                "kind",
                "targets",
                "missed ticks",
                "cores",
                "CPU of a target in a minute",
                "RSS, MB",
                "probes a second",
                "connections at a time",
                "cores of the gateways",
            ),
            costs,
        ),
        "",
        *table(
            (
                "kind",
                "targets",
                "series",
                "MB",
                "MB gzipped",
                "scrape p50",
                "max",
                "handshake p50",
                "p99",
                "true p50",
                "p99",
                "error p50",
                "p99",
            ),
            scrapes,
        ),
    ]


def faults(figures: Figures) -> list[str]:
    """The handshakes of the well gateways beside each fault."""
    return table(
        (
            "one gateway in ten is",
            "handshakes",
            "p50 of the others",
            "p99",
            "true p99",
            "error p50",
            "error p99",
            "cores",
        ),
        [
            (
                "well" if fault == "none" else fault,
                f"{row['compared']:,.0f}",
                *(milliseconds(row[name]) for name in ("p50", "p99", "true_p99", "error_p50", "error_p99")),
                f"{row['cores']:.3f}",
            )
            for fault, row in figures.items()
        ],
    )


def probe(figures: Figures) -> list[str]:
    """Both sides of `/probe`."""
    rows: list[tuple[str, ...]] = []
    for manner in ("evenly spread", "sixteen at once"):
        for name in ("ibkr-exporter", "blackbox_exporter"):
            row = figures[manner][name]
            rows.append(
                (
                    f"{manner}: {name}",
                    f"{row['per_second']:.0f}",
                    milliseconds(row["p50"]),
                    milliseconds(row["p99"]),
                    f"{row['cpu_seconds_per_1000']:.3f}",
                    f"{figures['rss_mb'][name]:.0f}",
                )
            )
        ratios = figures[manner]["ratios"]
        rows.append(
            (
                f"{manner}: ratio",
                *(f"{ratios[name]:.2f}" for name in ("per_second", "p50", "p99", "cpu")),
                "",
            )
        )
    return table(("/probe", "a second", "p50", "p99", "CPU seconds per 1,000", "RSS, MB"), rows)


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def milliseconds(seconds: float) -> str:
    """Seconds for people."""
    return f"{seconds * 1000:.3f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"  # noqa: PLR2004
