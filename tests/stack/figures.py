"""The figures of the last run, kept by the tests as they go.

python -m tests.stack.figures               write all of them into docs/stack.md
python -m tests.stack.figures WHAT FIGURE   keep one
"""

import fcntl
import json
import os
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

PLACE = Path(os.environ.get("STACK_FIGURES", "build/stack-figures.json"))
PAGE = Path(__file__).parents[2] / "docs" / "stack.md"
BEGIN, END = "<!-- written by tests/stack/run -->", "<!-- end of what tests/stack/run writes -->"


def keep(what: str, figure: str) -> None:
    """Keep a figure under what it is of, and print it."""
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    with PLACE.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the workers of tests/stack/run keep theirs at the same time
        file.seek(0)
        kept = json.loads(file.read() or "{}")
        file.truncate(0)
        file.write(json.dumps({**kept, what: figure}, indent=1))
    print(f"{what}: {figure}")


def spread(seconds: Sequence[float]) -> str:
    """Least, median and most of some times."""
    return f"{min(seconds):.1f} / {statistics.median(seconds):.1f} / {max(seconds):.1f} s ({len(seconds)} times)"


def table(figures: dict[str, str]) -> str:
    """The table as it stands in the page."""
    rows = "".join(f"| {what} | {figure} |\n" for what, figure in sorted(figures.items()))
    return f"{BEGIN}\n| measured | |\n|---|---|\n{rows}{END}"


def main() -> int:
    """Write the table into the page, or keep one figure."""
    if len(sys.argv) > 1:
        keep(*sys.argv[1:])
        return 0
    if not PLACE.exists():
        sys.stderr.write(f"no figures in {PLACE}: run tests/stack/run\n")
        return 1
    made = table(json.loads(PLACE.read_text(encoding="utf-8")))
    text = PAGE.read_text(encoding="utf-8")
    print(made)
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: made, text, flags=re.DOTALL), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
