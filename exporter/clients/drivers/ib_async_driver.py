"""ib_async, ib_insync's successor: the same low-level client under another name, so the same driver."""

import importlib.util
import os

LIBRARY = "ib_async"
PYTHONS = ((3, 10), (3, 13))

_SPEC = importlib.util.spec_from_file_location(
    "ibkr_exporter_" + LIBRARY, os.path.join(os.path.dirname(os.path.abspath(__file__)), "ib_insync_driver.py")
)
_FAMILY = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FAMILY)
_FAMILY.LIBRARY = LIBRARY

load, begin = _FAMILY.load, _FAMILY.begin
