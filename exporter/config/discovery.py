"""Where targets are discovered: plain values. Nothing is read here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from exporter.config.value_files import read_value


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that no message shows, or the file that holds it."""

    text: str = field(default="", repr=False)
    file: Path | None = None

    def read(self) -> str:
        """The text; a file is read now. Raises InvalidValue."""
        return self.text if self.file is None else read_value(self.file)


@dataclass(frozen=True, slots=True)
class FileSource:
    """Files that list targets. `patterns` may have a * in their last part; the interval is in seconds.

    `name` is the place in the configuration, such as `file_sd_configs[0]`.
    """

    name: str = field(compare=False)
    patterns: tuple[str, ...]
    refresh_interval: float

    @property
    def where(self) -> str:
        """What is read, for people."""
        return ", ".join(self.patterns)


@dataclass(frozen=True, slots=True)
class HttpSource:
    """A URL that answers with targets. Of `basic` and `authorization` (a type, and credentials) at most one is set."""

    name: str = field(compare=False)
    url: str = field(repr=False)
    refresh_interval: float
    basic: tuple[Secret, Secret] | None = None
    authorization: tuple[str, Secret] | None = None
    headers: Mapping[str, tuple[Secret, ...]] = field(default_factory=dict)
    ca: Path | None = None
    certificate: tuple[Path, Path] | None = None
    server_name: str | None = None
    verify: bool = True
    follow_redirects: bool = True

    @property
    def where(self) -> str:
        """What is asked, for people: without a query, which may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"


Source = FileSource | HttpSource
