"""What pydantic complains of, in plain words and with a remedy. A complaint that is not known here keeps its words."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails

from exporter.config.checks import quoted
from exporter.config.yaml_source import suggestion

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


def reword(error: ErrorDetails, known_keys: Sequence[str]) -> tuple[str, str]:
    """Message and remedy for one complaint. `known_keys` are those of the mapping in which the value is."""
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "unfit":
            said = context["message"], context["remedy"]
        case "missing":
            said = "is missing", f"Add {error['loc'][-1]}"
        case "extra_forbidden":
            near = suggestion(str(error["loc"][-1]), known_keys)
            said = "unknown key", near or f"Remove it; known here are {', '.join(known_keys)}"
        case "literal_error":
            said = _not_one_of(error["input"], context["expected"].replace("'", ""))
        case "string_too_short":
            said = "is empty", "Write a value, or remove the key"
        case _ if kind in EXPECTED:
            said = _not_what_it_should_be(error["input"], *EXPECTED[kind])
        case _:
            said = error["msg"], "See the configuration reference"
    return said


def _not_one_of(value: Any, expected: str) -> tuple[str, str]:
    near = suggestion(value, expected.replace(" or ", ", ").split(", ")) if isinstance(value, str) else ""
    return f"{_shown(value)} is not one of {expected}", near or "Write one of them"


def _not_what_it_should_be(value: Any, expected: str, remedy: str) -> tuple[str, str]:
    if value is None:
        return f"is empty, and should be {expected}", "Write a value, or remove the key"
    return f"{_shown(value)} is not {expected}", remedy


def _shown(value: Any) -> str:
    return f"the text {quoted(value)}" if isinstance(value, str) else quoted(value)
