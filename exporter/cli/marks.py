"""The marks of a success and of a failure, as far as a terminal's encoding has them."""

from rich.console import Console


def good(console: Console) -> str:
    """Return the mark of a success."""
    return _encodable("✓", "ok", console)


def bad(console: Console) -> str:
    """Return the mark of a failure."""
    return _encodable("✗", "FAIL", console)


def _encodable(mark: str, word: str, console: Console) -> str:
    try:
        mark.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return word
    return mark
