"""The first file that a foreign interpreter reads.

    python -I main.py DRIVER.py CHANNEL_FD [--lazy]
    python -I main.py DRIVER.py --once

It only looks at the Python it runs under, in a syntax that every Python 3 understands, so that an old one can say so,
and then hands over to serve.py beside it. `-I` keeps this directory off sys.path; the files here are loaded by path.
"""

import importlib.util
import json
import os
import sys

OLDEST = (3, 8)


def load(path):
    """The module in the file at `path`, under a name that no library has."""
    name = "ibkr_exporter_" + os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    writes = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a foreign interpreter leaves nothing in our directory
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return module


def main(arguments):
    """Check the version, then serve."""
    if sys.version_info < OLDEST:
        text = "Python %d.%d is too old: a client needs %d.%d or newer" % (tuple(sys.version_info[:2]) + OLDEST)
        out = 1 if arguments[1] == "--once" else int(arguments[1])
        os.write(out, (json.dumps({"unavailable": text}) + "\n").encode("ascii"))
        return 3
    serve = load(os.path.join(os.path.dirname(os.path.abspath(__file__)), "serve.py"))
    return serve.main(arguments, load)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
