"""The bench's figures as a table, compared with the bounds."""

from typing import Any

Figures = dict[str, Any]


def verdicts(figures: Figures, bounds: dict[str, float]) -> Figures:
    """For each bound: the figure, the bound, and whether it is kept."""
    accuracy, scrapes = figures["accuracy"], figures["scrapes"]
    crowded = [accuracy["1000"], accuracy["1000, scraped every second"]]
    measured = {
        "cpu_ratio": figures["cpu"]["cpu_seconds_per_1000"] / figures["blackbox"]["cpu_seconds_per_1000"],
        "p50_error_seconds": max(row["p50_error"] for row in crowded),
        "p99_error_seconds": max(row["p99_error"] for row in crowded),
        "scrape_seconds": max(scrapes["1000"]["gzip"]["p50"], scrapes["1000"]["identity"]["p50"]),
        "hold_seconds": accuracy["holds"]["scraped_work_seconds"],
        "rest_mb": scrapes["1"]["rest_mb"],
        "loaded_mb": scrapes["1000"]["loaded_mb"],
        "first_verdict_seconds": scrapes["1"]["first_verdict_seconds"],
    }
    return {
        name: {"measured": measured[name], "bound": bound, "kept": measured[name] <= bound}
        for name, bound in bounds.items()
    }


def as_markdown(figures: Figures) -> str:
    """The tables."""
    blackbox, cpu, accuracy, scrapes = (figures[name] for name in ("blackbox", "cpu", "accuracy", "scrapes"))
    rate = f"{cpu['per_second']:.0f} probes a second, evenly spread"
    lines = [
        f"Python {figures['python']} on {figures['machine']}",
        "",
        "| bound | measured | at most | kept |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['measured']:.5g} | {row['bound']:g} | {'yes' if row['kept'] else 'NO'} |"
        for name, row in figures["bounds"].items()
    ]
    lines += [
        "",
        "| per 1,000 probes, each scraped once | ibkr-exporter: whole handshake | blackbox_exporter: TCP connect |",
        "|---|---|---|",
        f"| CPU seconds, {rate} | {cpu['cpu_seconds_per_1000']:.3f} | {blackbox['cpu_seconds_per_1000']:.3f} |",
        f"| CPU seconds, sixteen at once | | {blackbox['cpu_seconds_per_1000_sixteen_at_once']:.3f} |",
        f"| resident MB at rest | {scrapes['1']['rest_mb']:.0f} | {blackbox['rest_mb']:.0f} |",
        f"| resident MB loaded | {scrapes['1000']['loaded_mb']:.0f} | {blackbox['loaded_mb']:.0f} |",
    ]
    heads = ["probes at once", "reported p50", "true p50", "reported p99", "true p99", "error of each, p50", "p99"]
    heads += ["blackbox reports a TCP connect as p50", "p99"]
    lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, row in accuracy.items():
        if "reported" not in row:
            continue
        rival = blackbox["reported_connect"].get(int(name)) if name.isdigit() else None
        seconds = [row["reported"]["p50"], row["true"]["p50"], row["reported"]["p99"], row["true"]["p99"]]
        seconds += [row["error_of_each"]["p50"], row["error_of_each"]["p99"]]
        seconds += [rival["p50"], rival["p99"]] if rival else []
        lines.append(f"| {name} | " + " | ".join(f"{one * 1000:.3f} ms" for one in seconds) + " |")
    lines += [
        "",
        "| targets | gzip p50 | identity p50 | bytes | gzipped | CPU of a gzipped scrape | first verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for size, row in scrapes.items():
        gzipped, identity = row["gzip"], row["identity"]
        cells = [f"{gzipped['p50'] * 1000:.1f} ms", f"{identity['p50'] * 1000:.1f} ms"]
        cells += [f"{identity['bytes']:,}", f"{gzipped['bytes']:,}", f"{gzipped['cpu_seconds'] * 1000:.1f} ms"]
        lines.append(f"| {size} | {' | '.join(cells)} | {row['first_verdict_seconds']:.2f} s |")
    holds, meanwhile = accuracy["holds"], accuracy["scrapes_meanwhile"]
    milliseconds = {name: f"{seconds * 1000:.1f} ms" for name, seconds in holds.items()}
    closing = (
        f"Scrapes of 1,000 targets every second while all are probed: p50 {meanwhile['p50'] * 1000:.1f} ms. "
        f"While scraped, the event loop worked for {milliseconds['scraped_work_seconds']} at most before the next in "
        f"line got its turn (with nothing to do: {milliseconds['idle_work_seconds']}); by the clock on the wall, which "
        f"holds what this machine gave to others meanwhile, {milliseconds['scraped_seconds']} "
        f"({milliseconds['idle_seconds']})."
    )
    lines += ["", closing, ""]
    return "\n".join(lines)
