"""ib_async, ib_insync's successor: it has the same low-level client under another name."""

from functools import partial

from .ib_insync_driver import begin_library, load_library

LIBRARY = "ib_async"
PYTHONS = ((3, 10), (3, 13))

load = partial(load_library, LIBRARY)
begin = partial(begin_library, LIBRARY)
