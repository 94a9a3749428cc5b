"""The version of a client is that of its distribution."""

from importlib import metadata
from typing import Any

from exporter.clients.drivers import versions

distribution_version: Any = versions.distribution_version  # the drivers have no annotations


def test_the_first_installed_distribution_gives_the_version() -> None:
    assert distribution_version("no-such-distribution", "pytest", "ruff") == metadata.version("pytest")


def test_without_any_there_is_no_version() -> None:
    assert distribution_version("no-such-distribution") is None
