"""YAML with places: plain values, and for every path the line where it is written.

Only null, true and false, whole and decimal numbers have a type; all else (dates, octal, 1:30) stays text. Tags and
second documents are refused. Variables are replaced in values (variables.py), never in keys.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from exporter.config.checks import InvalidValue
from exporter.config.errors import ConfigError, Problem
from exporter.config.value_files import open_failure
from exporter.config.variables import expand

# libyaml is some ten times faster; the wheels of PyYAML have it, a build from source may not.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
DECIMAL = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{0,18}")
BOOLEAN = re.compile(r"yes|no|true|false|on|off", re.IGNORECASE)
TYPES = {"int": WHOLE, "float": DECIMAL, "bool": BOOLEAN}
MOST_VALUES = 500_000  # aliases of aliases multiply
# libyaml's composer recurses in C, where no RecursionError ends it: some ten thousand levels end the process.
MOST_LEVELS = 1000
INDENTED = re.compile(r"^[ \t?-]{1000}", re.MULTILINE)
TAG = "tag:yaml.org,2002:"
KINDS = ("null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge", "value")
TAGS = frozenset(TAG + kind for kind in KINDS)

Mark = Any  # of yaml or of its C part, which share no type: `line` and `column`, from 0
Loc = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its plain values, and the nodes that know where they are written.

    `faults` are those that leave the rest readable: a key written twice, of which the last counts, one that is no
    text, which is left out, or a variable that is unset. `expanded` has the value and the written text of each scalar
    with a variable; the two are the same where a variable is unset.
    """

    file: str
    data: Any
    root: yaml.Node
    faults: tuple[Problem, ...] = ()
    expanded: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def problem(self, loc: Loc, message: str, remedy: str) -> Problem:
        """A fault of the value at `loc`, with the place of the deepest part of `loc` that is written.

        A value from a variable may be a secret: the message shows how it is written.
        """
        mark = _mark(self.root, loc)
        path = dotted(loc)
        value, written = self.expanded.get(path, ("", ""))
        if value:
            message = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", lambda _: written, message)
        return Problem(self.file, mark.line + 1, mark.column + 1, path, message, remedy)

    def retype(self, loc: Loc) -> bool:
        """Type the text that a variable gave, as if it were written there; returns whether it has a type."""
        text, written = self.expanded.get(dotted(loc), ("", ""))
        kind = next((kind for kind, pattern in TYPES.items() if pattern.fullmatch(text)), None)
        if text == written or kind is None:
            return False
        parent = self.data
        for part in loc[:-1]:
            parent = parent[part]
        parent[loc[-1]] = _typed(TAG + kind, text)
        return True

    def unset(self, path: str) -> bool:
        """The value at this path has a variable that is not set: a fault that has been reported."""
        value, written = self.expanded.get(path, ("", ""))
        return bool(written) and value == written


def dotted(loc: Loc) -> str:
    """`("targets", 0, "port")` as `targets[0].port`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


CONFIG_OPTION = "Give the path of the configuration with --config"
FIRST_TARGET = "Write at least one target: targets: [{name, host, port}]"


def read_document(
    path: str | Path,
    when_empty: str = FIRST_TARGET,
    when_missing: str = CONFIG_OPTION,
    environ: Mapping[str, str] | None = None,
) -> Document:
    """Read and parse the file; the two remedies are for an empty and for a missing one. Raises ConfigError.

    Variables are those of `environ`; None: a dollar sign means nothing.
    """
    try:
        raw = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(str(path), None, None, "", *open_failure(error, when_missing))]) from None
    try:
        return parse(raw.decode("utf-8"), str(path), when_empty, environ)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"the byte 0x{raw[error.start]:02x} is not UTF-8 text"
        raise ConfigError([Problem(str(path), line, None, "", message, "Save the file as UTF-8")]) from None


def parse(
    text: str,
    file: str,
    when_empty: str = FIRST_TARGET,
    environ: Mapping[str, str] | None = None,
    *,
    typed: bool = True,
) -> Document:
    """Parse one YAML document. Raises ConfigError, with the place, for what cannot be read.

    Not `typed`: every scalar but null is the text that is written.
    """
    reader = _Reader(file, environ, typed=typed)
    try:
        root = _compose(text)
        data = reader.value(root, ()) if root else None
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_problem(error, text, file)]) from None
    except RecursionError:
        remedy = "Remove the excess brackets, or the alias"
        raise ConfigError(
            [Problem(file, 1, None, "", "a value is nested too deep or contains itself", remedy)]
        ) from None
    if root is None or data is None:
        raise ConfigError([Problem(file, 1, 1, "", "the file is empty", when_empty)])
    return Document(file, data, root, tuple(reader.faults), reader.expanded)


def _compose(text: str) -> yaml.Node | None:
    if INDENTED.search(text) or _levels(text) > MOST_LEVELS:
        raise RecursionError
    return yaml.compose(text, Loader=LOADER)


def _levels(text: str) -> int:
    """How many brackets are open at most; those in quotes count too."""
    brackets = re.sub(r"[^][{}]+", "", text)
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0)


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
    message = f"{getattr(error, 'problem', None) or 'it cannot be parsed'}{where}"
    remedy = "See the indentation, the brackets and the quotes of this line and the one before"
    return Problem(file, mark.line + 1, mark.column + 1, "", f"this is not YAML: {message}", remedy)


class _Reader:
    """From nodes to plain values; collects the faults and where variables are written."""

    def __init__(self, file: str, environ: Mapping[str, str] | None, *, typed: bool) -> None:
        self._file = file
        self._environ = environ
        self._typed = typed
        self._left = MOST_VALUES
        self.faults: list[Problem] = []
        self.expanded: dict[str, tuple[str, str]] = {}

    def value(self, node: yaml.Node, loc: tuple[str | int, ...]) -> Any:
        """The plain value of a node."""
        self._left -= 1
        if self._left < 0:
            raise RecursionError
        if node.tag not in TAGS:
            self._complain(node, loc, f"the tag {node.tag} is not read here", "Remove the tag, and put text in quotes")
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*loc, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if self._environ is not None and "$" in node.value:
            return self._expanded(node, loc, self._environ)
        if not self._typed and node.tag != TAG + "null":
            return str(node.value)
        return _typed(node.tag, node.value)

    def _mapping(self, node: yaml.MappingNode, loc: tuple[str | int, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._complain(key, loc, "a key is not plain text", "Write key: value")
                continue
            name = key.value
            here = (*loc, name)
            if not isinstance(_typed(key.tag, name), str):
                self._complain(key, here, f"YAML does not read the key {name} as text", "Put the key in quotes")
                continue
            if name in first:
                message = f"this key is written twice, first on line {first[name]}"
                self._complain(key, here, message, "Keep one of them")
            first.setdefault(name, key.start_mark.line + 1)
            values[name] = self.value(value, here)
        return values

    def _expanded(self, node: yaml.Node, loc: tuple[str | int, ...], environ: Mapping[str, str]) -> Any:
        path, text = dotted(loc), node.value
        try:
            value = expand(text, environ)
        except InvalidValue as fault:
            self._complain(node, loc, fault.message, fault.remedy)
            self.expanded[path] = (text, text)
            return text
        if "${" not in text.replace("$$", ""):
            return value
        self.expanded[path] = (value, text)
        return value

    def _complain(self, node: yaml.Node, loc: tuple[str | int, ...], message: str, remedy: str) -> None:
        mark = node.start_mark
        self.faults.append(Problem(self._file, mark.line + 1, mark.column + 1, dotted(loc), message, remedy))


def _typed(tag: str, text: str) -> str | int | float | bool | None:
    kind = tag.removeprefix(TAG)
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
