"""`check-config`: every error of a configuration file, and of the lists of targets in the files that it names."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.config import Config, ConfigError, Problem, load
from exporter.config.checks import InvalidValue
from exporter.config.discovered import resolve_entries
from exporter.config.discovery import FileSource
from exporter.config.list_files import MOST_FILES, TOO_MANY, list_files, matching, read_list
from exporter.config.merge_targets import merge_targets
from exporter.config.types import LIBRARIES
from exporter.model import Target

if TYPE_CHECKING:
    from exporter.config.target_groups import Entry


def check(file: Path, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """What the file holds, in one line, and what was not checked. Raises ConfigError with every problem.

    Files of lists that are missing are no error: what writes them may not have run here. No URL is asked.
    """
    config = load(file, environ)
    sources = [source for source in config.sources if isinstance(source, FileSource)]
    problems: list[Problem] = []
    found = {source.name: tuple(_targets(file, source, config, problems)) for source in sources}
    merged = merge_targets(config.targets, found, ())
    for name, clashes in merged.left_out.items():
        problems += [Problem(str(file), None, None, name, clash, "The exporter leaves it out") for clash in clashes]
    if problems:
        raise ConfigError(problems)
    counts = [_counted(len(config.targets), "target"), _counted(len(config.clients), "client")]
    if sources:
        more = len(merged.targets) - len(config.targets)
        counts.append(f"{_counted(more, 'target')} in {_counted(len(_files(sources)), 'list')}")
    return f"{file}: good: {', '.join(counts)}", [*_notes(file, config, sources)]


def _targets(file: Path, source: FileSource, config: Config, problems: list[Problem]) -> list[Target]:
    """The targets of all lists of the source, as the exporter would watch them."""
    entries: list[Entry] = []
    paths = _existing(source)
    if len(paths) > MOST_FILES:
        problems.append(Problem(str(file), None, None, source.name, TOO_MANY, "Name fewer"))
        return []
    for path in paths:
        try:
            entries += read_list(path)
        except InvalidValue as fault:
            problems.append(Problem(str(path), None, None, "", fault.message, fault.remedy))
    # Which libraries are installed where the exporter runs is not known here.
    rules = replace(config.rules, clients=tuple(LIBRARIES)) if config.default_clients else config.rules
    resolved = resolve_entries(entries, rules, {})
    problems += resolved.problems
    return list(resolved.targets.values())


def _existing(source: FileSource) -> list[Path]:
    return [path for path in list_files(source) if path.exists()]


def _files(sources: list[FileSource]) -> set[Path]:
    return {path for source in sources for path in _existing(source)}


def _notes(file: Path, config: Config, sources: list[FileSource]) -> Iterator[str]:
    for source in sources:
        for pattern in source.patterns:
            if not matching(Path(pattern)):
                yield f"{file}: {source.name}: there is no file {pattern}"
    for other in config.sources:
        if not isinstance(other, FileSource):
            yield f"{file}: {other.name}: not asked: {other.where}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
