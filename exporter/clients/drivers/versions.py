"""The version of an installed distribution. Standard library, Python 3.8."""

from importlib import metadata


def distribution_version(*names):
    """The version of the first of these distributions that is installed; None if none is.

    A package's own `__version__` may be another: ib_async 1.0.3 has 1.0.0, and ibapi 10 has 9.81.1.
    """
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
