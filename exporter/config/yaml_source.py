"""YAML with places: plain values, and for every path the line where it is written.

Only null, true and false, whole and decimal numbers have a type; all else (dates, octal, 1:30) stays text. Tags and
second documents are refused.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from exporter.config.errors import ConfigError, Problem

# libyaml is some ten times faster; the wheels of PyYAML have it, a build from source may not.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
DECIMAL = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{0,18}")
DEEP = re.compile(r"(?:[\[{?-]\s*){1000}")  # libyaml's composer recurses in C, where no RecursionError ends it
TAG = "tag:yaml.org,2002:"
KINDS = ("null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge", "value")
TAGS = frozenset(TAG + kind for kind in KINDS)

Mark = Any  # of yaml or of its C part, which share no type: `line` and `column`, from 0
Loc = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its plain values, and the nodes that know where they are written.

    `faults` are those that leave the rest readable: a key written twice, of which the last counts, or one that is no
    text, which is left out.
    """

    file: str
    data: Any
    root: yaml.Node
    faults: tuple[Problem, ...] = ()

    def problem(self, loc: Loc, message: str, remedy: str) -> Problem:
        """A fault of the value at `loc`, with the place of the deepest part of `loc` that is written."""
        mark = _mark(self.root, loc)
        return Problem(self.file, mark.line + 1, mark.column + 1, dotted(loc), message, remedy)


def dotted(loc: Loc) -> str:
    """`("targets", 0, "port")` as `targets[0].port`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


CONFIG_OPTION = "Give the path of the configuration with --config"
FIRST_TARGET = "Write at least one target: targets: [{name, host, port}]"


def read(path: str | Path, when_empty: str = FIRST_TARGET, when_missing: str = CONFIG_OPTION) -> Document:
    """Read and parse the file; the two remedies are for an empty and for a missing one. Raises ConfigError."""
    try:
        raw = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(str(path), None, None, "", *unreadable(error, when_missing))]) from None
    try:
        return parse(raw.decode("utf-8"), str(path), when_empty)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"the byte 0x{raw[error.start]:02x} is not UTF-8 text"
        raise ConfigError([Problem(str(path), line, None, "", message, "Save the file as UTF-8")]) from None


def parse(text: str, file: str, when_empty: str = FIRST_TARGET) -> Document:
    """Parse one YAML document. Raises ConfigError, with the place, for what cannot be read."""
    faults: list[Problem] = []
    try:
        root = _compose(text)
        data = _value(root, (), file, faults) if root else None
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_problem(error, text, file)]) from None
    except RecursionError:
        remedy = "Remove the excess brackets, or the alias"
        raise ConfigError(
            [Problem(file, 1, None, "", "a value is nested too deep or contains itself", remedy)]
        ) from None
    if root is None or data is None:
        raise ConfigError([Problem(file, 1, 1, "", "the file is empty", when_empty)])
    return Document(file, data, root, tuple(faults))


def _compose(text: str) -> yaml.Node | None:
    if DEEP.search(text):
        raise RecursionError
    return yaml.compose(text, Loader=LOADER)


def unreadable(error: OSError | ValueError, when_missing: str = CONFIG_OPTION) -> tuple[str, str]:
    """Message and remedy for a file that cannot be opened or read."""
    match error:
        case FileNotFoundError():
            return "there is no such file", when_missing
        case IsADirectoryError():
            remedy = "Docker makes such a directory when the file to mount does not exist on the host"
            return "this is a directory", f"Name the file in it. {remedy}"
        case PermissionError():
            return "the file may not be read", "Let the user that runs the exporter read it (chmod, chown)"
    return f"the file cannot be read: {error}", "Give the path of a regular file"


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:  # a character that YAML forbids has a position only
        position = getattr(error, "position", 0) or 0
        line = text.count("\n", 0, position) + 1
        message = "there is a character that YAML does not allow"
        return Problem(
            file, line, None, "", message, "Remove the control character, or write it as an escape in quotes"
        )
    lines = text.splitlines()
    for number in (mark.line, mark.line - 1):
        if 0 <= number < len(lines) and re.match(r" *\t", lines[number]):
            column = lines[number].index("\t") + 1
            return Problem(file, number + 1, column, "", "a tab indents this line", "Indent with spaces")
    context = getattr(error, "context", None)
    if context == "expected a single document in the stream":
        message, remedy = "a second document begins here", "Keep one document: remove the line ---"
        return Problem(file, mark.line + 1, mark.column + 1, "", message, remedy)
    began = getattr(error, "context_mark", None)
    where = f" ({context}, begun on line {began.line + 1})" if context and began else ""
    what = f"{getattr(error, 'problem', None) or 'it cannot be parsed'}{where}"
    remedy = "See the indentation, the brackets and the quotes of this line and the one before"
    return Problem(file, mark.line + 1, mark.column + 1, "", f"this is not YAML: {what}", remedy)


def _value(node: yaml.Node, loc: tuple[str | int, ...], file: str, faults: list[Problem]) -> Any:
    if node.tag not in TAGS:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        message = f"the tag {node.tag} is not read here"
        faults.append(Problem(file, line, column, dotted(loc), message, "Remove the tag, and put text in quotes"))
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*loc, index), file, faults) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, loc, file, faults)
    return _scalar(node)


def _mapping(node: yaml.MappingNode, loc: tuple[str | int, ...], file: str, faults: list[Problem]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    first: dict[str, int] = {}
    for key, value in node.value:
        line, column = key.start_mark.line + 1, key.start_mark.column + 1
        if not isinstance(key, yaml.ScalarNode):
            faults.append(Problem(file, line, column, dotted(loc), "a key is not plain text", "Write key: value"))
            continue
        name = key.value
        here = (*loc, name)
        if not isinstance(_scalar(key), str):
            message = f"YAML does not read the key {name} as text"
            faults.append(Problem(file, line, column, dotted(here), message, "Put the key in quotes"))
            continue
        if name in first:
            message = f"this key is written twice, first on line {first[name]}"
            faults.append(Problem(file, line, column, dotted(here), message, "Keep one of them"))
        first.setdefault(name, line)
        values[name] = _value(value, here, file, faults)
    return values


def _scalar(node: yaml.Node) -> str | int | float | bool | None:
    kind, text = node.tag.removeprefix(TAG), node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("yes", "true", "on")
    if kind == "int" and WHOLE.fullmatch(text):
        return int(text)
    if kind == "float" and DECIMAL.fullmatch(text):
        return float(text)
    return str(text)


def _entries(node: yaml.Node) -> Iterator[tuple[str | int, Mark, yaml.Node]]:
    """The parts of a collection, each with the place that a reader looks at: the key, or the item."""
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, key.start_mark, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((index, item.start_mark, item) for index, item in enumerate(node.value))


def _mark(root: yaml.Node, loc: Loc) -> Mark:
    """The place of the deepest part of `loc` that exists."""
    node, mark = root, root.start_mark
    for part in loc:
        entry = next((entry for entry in _entries(node) if entry[0] == part), None)
        if entry is None:
            break
        _, mark, node = entry
    return mark
