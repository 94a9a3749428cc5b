"""Which release of IBKR's API a server version belongs to (docs/facts.md: releases).

A negotiated version is the lower of both sides, so at our own maximum the gateway may be newer.
"""

from collections.abc import Mapping
from functools import lru_cache

# The highest version that each release of ibapi announces, by its packages' MAX_CLIENT_VER.
RELEASES: Mapping[int, str] = {
    157: "9.81",
    187: "10.30",
    215: "10.40",
    217: "10.41",
    218: "10.42",
    219: "10.43",
    222: "10.44",
    223: "10.45",
    225: "10.47",
    226: "10.50",
}


@lru_cache(maxsize=256)  # a fleet has a few versions, and each scrape asks for every target
def release_of(version: int, announced: int) -> str:
    """The release for people and labels: `10.45`, `10.50 or newer`, `after 10.30`, `before 9.81`."""
    older = [release for release in RELEASES if release <= version]
    if not older:
        return f"before {RELEASES[min(RELEASES)]}"
    latest = max(older)
    if version == announced:
        return f"{RELEASES[latest]} or newer"
    return RELEASES[latest] if latest == version else f"after {RELEASES[latest]}"
