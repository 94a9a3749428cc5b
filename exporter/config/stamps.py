"""Whether a file has changed, without reading it."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

Stamp = tuple[int, int, int] | None  # time of the last change, inode and size; None: no such file


def stamp(path: Path) -> Stamp:
    """A file's stamp; another one shows a change. Links are followed: Kubernetes changes a volume by swapping one."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a path's own stat() is the same; this says that links are followed
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def stamps(paths: Iterable[Path]) -> Mapping[Path, Stamp]:
    """The stamp of each file."""
    return {path: stamp(path) for path in paths}
