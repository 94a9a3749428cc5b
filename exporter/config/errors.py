"""What is wrong with a configuration: every fault at once, each with its place and what to do about it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.config.checks import yaml_text
from exporter.config.stamps import Stamp
from exporter.text import printable

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_LINE = 1000  # characters; a message may name three files, each with a long path


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
        return shortened(": ".join(part for part in (place, self.path, f"{self.message}. {self.remedy}") if part))


def shortened(text: str) -> str:
    """One line that is safe on a terminal, the middle of a long one left out."""
    line = printable(text)
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE // 2]} ... {line[-MAX_LINE // 2 :]}"


class ConfigError(Exception):
    """A configuration that cannot be used. `problems` has every fault, in the order of the lines.

    `files` are those that were read, with their stamps.
    """

    def __init__(self, problems: Iterable[Problem], files: Mapping[Path, Stamp] | None = None) -> None:
        """Keep the problems; the text of the error is one line for each."""
        self.files = files or {}
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
        super().__init__("\n".join(map(str, self.problems)))


def suggestion(word: str, words: Sequence[str]) -> str:
    """`Did you mean "port"?`, or an empty text when none of `words` is near."""
    near = get_close_matches(word, words, n=1)
    return f'Did you mean "{near[0]}"?' if near else ""


# type of the complaint: what it should be, what to do
EXPECTED = {
    "string_type": ("text", "Write text, in quotes where YAML would read something else"),
    "int_type": ("a whole number", "Write a whole number, without quotes"),
    "int_from_float": ("a whole number", "Write a whole number, without a point"),
    "float_type": ("a number", "Write a number, without quotes"),
    "bool_type": ("true or false", "Write true or false, without quotes"),
    "list_type": ("a list", "Write [a, b], or one item a line after a hyphen"),
    "dict_type": ("a mapping", "Write key: value, one a line, indented"),
    "model_type": ("a mapping", "Write key: value, one a line, indented"),
    "model_attributes_type": ("a mapping", "Write key: value, one a line, indented"),
}


def reword(error: "ErrorDetails", known_keys: Sequence[str]) -> tuple[str, str]:
    """Message and remedy for one complaint. `known_keys` are those of the mapping in which the value is."""
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "unfit":
            wording = context["message"], context["remedy"]
        case "missing":
            wording = "is missing", f"Add {error['loc'][-1]}"
        case "extra_forbidden":
            near = suggestion(str(error["loc"][-1]), known_keys)
            wording = "unknown key", near or f"Remove it; known here are {', '.join(known_keys)}"
        case "literal_error":
            wording = _not_one_of(error["input"], context["expected"].replace("'", ""))
        case "string_too_short":
            wording = "is empty", "Write a value, or remove the key"
        case _ if kind in EXPECTED:
            wording = _not_what_it_should_be(error["input"], *EXPECTED[kind])
        case _:
            wording = error["msg"], "See the configuration reference"
    return wording


def _not_one_of(value: Any, expected: str) -> tuple[str, str]:
    near = suggestion(value, expected.replace(" or ", ", ").split(", ")) if isinstance(value, str) else ""
    return f"{_shown(value)} is not one of {expected}", near or "Write one of them"


def _not_what_it_should_be(value: Any, expected: str, remedy: str) -> tuple[str, str]:
    if value is None:
        return f"is empty, and should be {expected}", "Write a value, or remove the key"
    return f"{_shown(value)} is not {expected}", remedy


def _shown(value: Any) -> str:
    return f"the text {yaml_text(value)}" if isinstance(value, str) else yaml_text(value)
