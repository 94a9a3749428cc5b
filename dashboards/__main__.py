"""Write deploy/grafana/dashboards/*.json, or with --check say whether they are what the code gives.

With --out the files go elsewhere, for a Grafana of your own, and their links to --exporter-url.
"""

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import fleet, gateway, libraries, parts

PLACE = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"
ALL = {"fleet": fleet.build, "gateway": gateway.build, "libraries": libraries.build}


def as_json(board: Dashboard) -> str:
    """The file's content."""
    plain = json.loads(json.dumps(board, cls=JSONEncoder))
    for control in plain["links"] + plain["annotations"]["list"]:
        del control["placement"]  # the SDK puts them into a menu; Grafana shows what has no placement above the panels
    return json.dumps(plain, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write or check; 1 if a file differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a committed file differs")
    parser.add_argument("--out", type=Path, default=PLACE, metavar="DIRECTORY", help="where the files go")
    parser.add_argument(
        "--exporter-url", default=parts.EXPORTER_URL, metavar="URL", help="where a browser reaches the exporter"
    )
    arguments = parser.parse_args()
    differing = []
    for name, build in ALL.items():
        content = as_json(build(arguments.exporter_url).build())
        path = arguments.out / f"{name}.json"
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != content:
            differing.append(path.name)
    if differing:
        sys.stderr.write(f"{', '.join(differing)} differ from the code: run python -m dashboards\n")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
