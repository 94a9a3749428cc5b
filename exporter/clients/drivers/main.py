"""The first file that a foreign interpreter reads.

    python -I main.py DRIVER.py CHANNEL_FD [--lazy]
    python -I main.py DRIVER.py --once

It uses a syntax that every Python 3 understands, so that an old interpreter can say that it is too old. Then it starts
serve.py. `-I` keeps this directory off sys.path: its files are modules of a package with a name that no library has,
so that they can import each other relatively.
"""

import importlib
import importlib.util
import json
import os
import sys
import types

OLDEST = (3, 8)
PACKAGE = "ibkr_exporter_drivers"
HERE = os.path.dirname(os.path.abspath(__file__))


def load(path):
    """Import the file at `path` as a module of the package."""
    name = PACKAGE + "." + os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(arguments):
    """Check the version, then serve."""
    if sys.version_info < OLDEST:
        text = "Python %d.%d is too old: a client needs %d.%d or newer" % (tuple(sys.version_info[:2]) + OLDEST)
        out = 1 if arguments[1] == "--once" else int(arguments[1])
        os.write(out, (json.dumps({"unavailable": text}) + "\n").encode("ascii"))
        return 3
    package = types.ModuleType(PACKAGE)
    package.__path__ = [HERE]
    sys.modules[PACKAGE] = package
    writes = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a foreign interpreter leaves nothing in our directory
    try:
        serve = importlib.import_module(PACKAGE + ".serve")
        driver = load(arguments[0])
    finally:
        sys.dont_write_bytecode = writes
    return serve.main(driver, arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
