"""Write the JSON Schemas that manifests are checked with: python scripts/kubernetes_schemas.py FOLDER.

Run by scripts/kubernetes-tools in an environment that has the two packages. Kubernetes' are of the oldest version that
the chart permits and of the newest known; those of the Prometheus Operator are made from models that were made from its
CRDs. All are strict: an unknown key, which a cluster would drop, is an error.
"""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

VERSIONS = ("1.25.0", "1.37.0")
KINDS = ("PodMonitor", "Probe", "PrometheusRule", "ServiceMonitor")


def main() -> None:
    """Write the schemas into the folder of the first argument."""
    folder = Path(sys.argv[1])
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None or found.origin is None:
        sys.exit("kubernetes_schemas: kubernetes-validate is not installed here")
    for version in VERSIONS:
        source = Path(found.origin).parent / "kubernetes-json-schema" / f"v{version}-local-strict"
        shutil.copytree(source, folder / version, ignore=shutil.ignore_patterns("all.json"))

    from cloudcoil.models.prometheus_operator import v1  # type: ignore[import-not-found]  # noqa: PLC0415 - takes seconds

    for kind in KINDS:
        schema = closed(getattr(v1, kind).model_json_schema())
        (folder / f"{kind}.json").write_text(json.dumps(schema), "utf-8")


def closed(schema: Any) -> Any:
    """The schema without room for keys that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


if __name__ == "__main__":
    main()
