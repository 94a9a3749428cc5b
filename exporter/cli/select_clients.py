"""Which clients are probed: the configured ones, or else those whose environment is installed.

no `clients` key     every client whose environment is ready, or what IBKR_EXPORTER_CLIENTS names
clients: {}          none
--clients a,b        of `diagnose`: these
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from exporter.clients.environments import State, default_root, list_environments
from exporter.clients.libraries import find_libraries, find_recipes
from exporter.config import Config, ConfigError, DefaultClients, Problem, with_default_clients
from exporter.model import ClientSpec, Target

NONE = "none"
INSTALL_HINT = "`ibkr-exporter clients install` installs them"
VARIABLE = "IBKR_EXPORTER_CLIENTS"
MEGABYTE = 1_000_000
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of the clients' processes, and what the machine has left for them; None: not known. In megabytes."""

    needed: int
    available: int | None

    @property
    def short(self) -> bool:
        """The machine has less than the processes take."""
        return self.available is not None and self.available < self.needed


def installed() -> list[ClientSpec]:
    """Return a client for each environment that can be used; an outdated one still can."""
    usable = (State.READY, State.OUTDATED)
    return [
        ClientSpec(environment.recipe.name, environment.recipe.library)
        for environment in list_environments(default_root())
        if environment.state in usable
    ]


def default_specs(choice: DefaultClients) -> list[ClientSpec]:
    """Return the clients of a choice. Raises ConfigError for a name that no environment has."""
    recipes = find_recipes()
    if choice == "installed":
        return installed()
    names = list(recipes) if choice == "all" else choice
    if unknown := [name for name in names if name not in recipes]:
        remedy = f"Name some of {', '.join(recipes)}, or write all or none"
        raise ConfigError(
            [Problem("environment", None, None, VARIABLE, f"there is no client {', '.join(unknown)}", remedy)]
        )
    return [ClientSpec(name, recipes[name].library) for name in names]


def complete(config: Config) -> Config:
    """Return the configuration with clients for the targets that list none, and the libraries that are not installed.

    Raises ConfigError.
    """
    if not config.open_targets and not (config.sources and config.default_clients):
        return config
    specs = default_specs(config.default_clients)
    if config.default_clients != "installed":
        return with_default_clients(config, specs)
    probed = {spec.library for spec in specs}
    absent = tuple(name for name in sorted(find_libraries()) if name not in probed)
    return replace(with_default_clients(config, specs), not_installed=absent)


def announce(config: Config) -> None:
    """Log which clients are probed, which would be if they were installed, and the memory that their processes take."""
    log = structlog.get_logger(__name__)
    discovered = config.rules.clients if config.sources else ()
    tried = sorted({*discovered, *(name for target in config.targets for name in target.clients)})
    if not tried and not config.not_installed:
        return
    memory = memory_of([config.clients[name] for name in tried if name in config.clients])
    remedy = {"not_installed": list(config.not_installed), "remedy": INSTALL_HINT} if config.not_installed else {}
    log.info("client libraries", tried=tried, memory_mb=memory.needed, **remedy)
    if memory.short:
        log.warning(
            "little memory for the client libraries",
            needed_mb=memory.needed,
            available_mb=memory.available,
            remedy=f"name fewer in {VARIABLE} or in the configuration, or write none",
        )


def memory_of(specs: Sequence[ClientSpec]) -> Memory:
    """Return what the processes of these clients take: each library is imported once and stays."""
    recipes = find_recipes()
    sizes = {recipe.library: recipe.memory for recipe in recipes.values()}
    needed = sum(recipes[spec.name].memory if spec.name in recipes else sizes.get(spec.library, 0) for spec in specs)
    return Memory(needed, available_memory())


def available_memory(meminfo: Path = Path("/proc/meminfo"), limit: Path = CGROUP_LIMIT) -> int | None:
    """Return the megabytes that are free for new processes, within the container's limit; None where unknown."""
    if not sys.platform.startswith("linux"):
        return None
    megabytes = []
    with suppress(OSError, ValueError, IndexError):
        line = next(line for line in meminfo.read_text("ascii").splitlines() if line.startswith("MemAvailable:"))
        megabytes.append(int(line.split()[1]) * 1024 // MEGABYTE)
    with suppress(OSError, ValueError):
        megabytes.append(
            (int(limit.read_text("ascii")) - int(limit.with_name("memory.current").read_text("ascii"))) // MEGABYTE
        )
    return min(megabytes, default=None)


def select_clients(
    names: str | None, target: Target, configured: Mapping[str, ClientSpec]
) -> tuple[Sequence[ClientSpec], str | None]:
    """Return the clients that `diagnose` probes, and a remark where the choice needs one.

    By default those of a configured target; for any other, those that IBKR_EXPORTER_CLIENTS says, or every environment
    that is ready. Raises ValueError for a name that is neither configured nor that of an environment.
    """
    if names == NONE:
        return (), None
    if names is not None:
        available = {
            **{name: ClientSpec(name, recipe.library) for name, recipe in find_recipes().items()},
            **configured,
        }
        client_names = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
        if unknown := [name for name in client_names if name not in available]:
            listed = ", ".join(sorted(available))
            msg = f"--clients: there is no client {', '.join(unknown)}; known are {listed}, and none"
            raise ValueError(msg)
        specs: Sequence[ClientSpec] = [available[name] for name in client_names]
    elif target.clients:
        specs = [configured[name] for name in target.clients if name in configured]
    else:
        specs = []
    if specs and not target.probe_ids:
        return (), "No client was tried: no client id is reserved for that."
    if names is None and not specs and not configured and not installed():
        return (), f"No client library was tried: none is installed; {INSTALL_HINT}."
    return specs, None
