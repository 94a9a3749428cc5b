"""Write what is made for Kubernetes: python -m deploy.kubernetes [--check] [values] [rules] [bases].

values: values.schema.json and the table in README.md of the chart. rules: those of deploy/kustomize/monitoring. bases:
the others of deploy/kustomize, for which helm is needed (scripts/kubernetes-tools). By default all, without helm the
first two.
"""

import argparse
import json
import sys
from pathlib import Path

from deploy.kubernetes import values
from deploy.kubernetes.kustomize import HELM, bases, rules

BEGIN, END = "<!-- generated: make generate -->\n", "<!-- end of what is generated -->\n"


def main() -> int:
    """Write or check; 1 if a file differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a committed file differs")
    parser.add_argument("what", nargs="*", metavar="|".join(MADE), help="by default all")
    options = parser.parse_args()
    differing = []
    wanted = options.what or [what for what in MADE if what != "bases" or HELM.exists()]
    for path, content in [made for what in wanted for made in MADE[what]().items()]:
        if options.check:
            if not path.exists() or path.read_text("utf-8") != content:
                differing.append(str(path))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, "utf-8")
    if differing:
        sys.stderr.write("\n".join([*differing, "differ: run python -m deploy.kubernetes", ""]))
    return 1 if differing else 0


def of_values() -> dict[Path, str]:
    """The schema of the chart's values, and its README.md with the table of them."""
    read = values.read((values.CHART / "values.yaml").read_text("utf-8"))
    schema = json.loads(values.CONFIG_SCHEMA.read_text("utf-8"))
    readme = values.CHART / "README.md"
    before, _, rest = readme.read_text("utf-8").partition(BEGIN)
    return {
        values.CHART / "values.schema.json": values.schema_text(read, schema),
        readme: before + BEGIN + "\n" + values.table(read) + "\n" + END + rest.partition(END)[2],
    }


MADE = {"values": of_values, "rules": rules, "bases": bases}

if __name__ == "__main__":
    raise SystemExit(main())
