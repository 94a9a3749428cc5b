"""Where a browser reaches the pages: the external URL and the prefix of the routes, as Prometheus has them."""

import re
from urllib.parse import urlsplit

from exporter.config.checks import MAX_PORT, InvalidValue, check_host

SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]{1,100}"
PATH = re.compile(rf"/*(?:{SEGMENT}(?:/{SEGMENT}){{0,20}})?/*")
PATH_REMEDY = "Write it as /ibkr: letters, digits, dots, hyphens, underscores, and single slashes between them"
URL_REMEDY = "Write the URL at which a browser reaches the status page, such as https://monitor.example/ibkr"


def parse_external_url(text: str) -> str:
    """The URL without a slash at its end. Raises InvalidValue."""
    if not re.fullmatch(r"https?://[\x21-\x7e]+", text):
        raise InvalidValue(f'"{text}" is not a URL of http or https', URL_REMEDY)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidValue(f'"{text}" is not a URL', URL_REMEDY) from None
    if "@" in parts.netloc or set(text) & set("?#"):
        raise InvalidValue("the URL has a user, a query or a fragment", URL_REMEDY)
    host = check_host(parts.hostname or "")
    if port is not None and not 1 <= port <= MAX_PORT:
        raise InvalidValue(f"{port} is not a port", URL_REMEDY)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{parse_route_prefix(parts.path)}"


def parse_route_prefix(text: str) -> str:
    """The prefix with a slash before it and none behind, or an empty text for the root. Raises InvalidValue."""
    if not PATH.fullmatch(text):
        raise InvalidValue(f'"{text}" is not a path for the routes', PATH_REMEDY)
    path = text.strip("/")
    return f"/{path}" if path else ""


def check_route_prefix(text: str) -> str:
    """The text itself, if it is a prefix: an empty one says less than a slash. Raises InvalidValue."""
    parse_route_prefix(text)
    return text


def route_prefix(external_url: str, written: str | None) -> str:
    """The prefix of the routes: the one that is `written`, or the path of the external URL. Empty counts as unset."""
    return parse_route_prefix(written or urlsplit(external_url).path)
