"""Write deploy/grafana/dashboards/*.json, or with --check say whether they are what the code gives."""

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import fleet, gateway, libraries

PLACE = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"
ALL = {"fleet": fleet.build, "gateway": gateway.build, "libraries": libraries.build}


def as_json(board: Dashboard) -> str:
    """The file's content."""
    return json.dumps(board, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write or check; 1 if a file differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a committed file differs")
    check = parser.parse_args().check
    differing = []
    for name, build in ALL.items():
        content = as_json(build().build())
        path = PLACE / f"{name}.json"
        if not check:
            path.write_text(content, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != content:
            differing.append(path.name)
    if differing:
        sys.stderr.write(f"{', '.join(differing)} differ from the code: run python -m dashboards\n")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
