"""What is wrong with a configuration: every fault at once, each with its place and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass

from exporter.text import printable

MAX_LINE = 400


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a configuration.

    `file` is the file as it was named, or the word `environment`. `line` and `column` count from 1; None where there is
    none. `path` is the way from the top of the document, such as `targets[0].client_ids[1]`, or a variable's name, and
    empty when the fault is of the document as a whole. `message` and `remedy` are sentences without the final stop.
    """

    file: str
    line: int | None
    column: int | None
    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """`FILE:LINE: PATH: message. Remedy`, as compilers write it, so that editors can jump there."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return _shortened(": ".join(part for part in (place, self.path, f"{self.message}. {self.remedy}") if part))


def _shortened(text: str) -> str:
    """One line that is safe on a terminal, the middle of a long one left out."""
    line = printable(text)
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE // 2]} ... {line[-MAX_LINE // 2 :]}"


class ConfigError(Exception):
    """A configuration that cannot be used. `problems` has every fault that was found, in the order of the lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep the problems; the text of the error is one line for each."""
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
        super().__init__("\n".join(map(str, self.problems)))
