"""The files of a source of targets: which there are, and what is in one."""

import glob
from pathlib import Path

from exporter.config.checks import InvalidValue
from exporter.config.discovery import FileSource
from exporter.config.target_groups import LARGEST, Entry, parse_list
from exporter.config.value_files import open_failure

MOST_FILES = 1000
TOO_MANY = f"more than {MOST_FILES} files have names of this pattern"
PIPE = "this is no regular file", "Write the list into a file"


def list_files(source: FileSource) -> list[Path]:
    """The files that match, and those written without a pattern, which may be missing; MOST_FILES + 1 at most."""
    paths = {path for pattern in source.patterns for path in matching(Path(pattern))}
    paths |= {Path(pattern) for pattern in source.patterns if "*" not in Path(pattern).name}
    return sorted(paths)[: MOST_FILES + 1]


def matching(pattern: Path) -> list[Path]:
    """The files of the pattern's directory, whose own name is no pattern, that match its last part."""
    return [Path(path) for path in glob.glob(f"{glob.escape(str(pattern.parent))}/{pattern.name}")]  # noqa: PTH207 - a pattern


def read_list(path: Path) -> tuple[Entry, ...]:
    """The entries of the list in a file. Raises InvalidValue, and then nothing of it is to be used."""
    if path.exists() and not (path.is_file() or path.is_dir()):  # to open a pipe waits for its writer
        raise InvalidValue(*PIPE)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise InvalidValue(*open_failure(error, "Write the file, or leave it out of the patterns")) from None
    return parse_list(raw, str(path), is_json=path.suffix.lower() == ".json")
