"""One recording rule as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded series, and what it means."""

    name: str
    meaning: str
    expr: str
