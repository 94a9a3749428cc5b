"""Print what is installed in this interpreter as one JSON object: `python -I list_packages.py`. Imports no library.

    {"python": [3, 12, 1], "distributions": {"ib-insync": "0.9.86"},
     "owners": {"ibapi": ["ibapi", "ibapi-latest"]},
     "requires": {"nautilus-trader": ["nautilus-ibapi==10.45.1"]}, "protobuf_code": true}

`owners`: which distributions have files in the packages that several distributions provide. `requires`: what
nautilus_trader requires of ibapi. `protobuf_code`: the installed ibapi needs google.protobuf.
"""

import importlib.metadata
import json
import os
import sys

SHARED = ("ibapi", "eventkit")
RELEVANT = (
    "aeventkit",
    "eventkit",
    "ib-async",
    "ib-insync",
    "ibapi",
    "ibapi-latest",
    "ibapi-stable",
    "nautilus-ibapi",
    "nautilus-trader",
    "protobuf",
)


def list_packages():
    """Read the metadata of what is installed."""
    versions, owners, requires, protobuf_code = {}, {}, {}, False
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name in versions:
            continue
        versions[name] = distribution.version
        if name not in RELEVANT:
            continue
        if name == "nautilus-trader":
            requires[name] = [each.split(";")[0].strip() for each in distribution.requires or () if "ibapi" in each]
        for file in distribution.files or ():
            package = file.parts[0]
            if package in SHARED and name not in owners.setdefault(package, []):
                owners[package].append(name)
            if file.parts[:2] == ("ibapi", "protobuf") and os.path.exists(str(distribution.locate_file(file))):
                protobuf_code = True
    return {
        "python": list(sys.version_info[:3]),
        "distributions": versions,
        "owners": {package: sorted(names) for package, names in owners.items()},
        "requires": requires,
        "protobuf_code": protobuf_code,
    }


if __name__ == "__main__":
    print(json.dumps(list_packages()))
