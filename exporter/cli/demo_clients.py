"""The client libraries of the demo: the small ones with a permissive licence are installed at its first start.

One of them is a version that fails at every gateway: ib_async 1.0.0 raises an exception instead of asking for contract
details. It is installed beside the others, in a folder of the demo, so that `serve` never tries it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from exporter.clients.environments import Environment, State, default_root, find_environment
from exporter.clients.install import InstallError, find_uv, install
from exporter.clients.libraries import find_demo_recipes, find_recipes
from exporter.model import ClientSpec
from exporter.probes.threads import in_daemon_thread

SMALL = ("ib_async", "ib_insync")  # BSD, some 100 MB each with numpy
FAULTY = "ib_async-1.0.0"
PATIENCE = 120.0  # seconds for all of them; without an index pip takes long to give up
INTERVAL, DEADLINE = 12.0, 5.0  # seconds

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class DemoClients:
    """The clients that can be tried, and why others cannot."""

    specs: dict[str, ClientSpec]
    missing: dict[str, str]


def environments() -> dict[str, Environment]:
    """Return every environment that the demo may use, installed or not."""
    root = default_root()
    usual = {name: find_environment(recipe, root) for name, recipe in find_recipes().items()}
    return usual | {name: find_environment(recipe, root / "demo") for name, recipe in find_demo_recipes().items()}


async def prepare(say: Say) -> DemoClients:
    """Install the small libraries that are missing; return what can be probed. A failure is printed, not raised."""
    missing: dict[str, str] = {}
    try:
        async with asyncio.timeout(PATIENCE):
            for name in (*SMALL, FAULTY):
                environment = environments()[name]
                if environment.state is State.READY:
                    continue
                say(f"Installing {name} ({environment.recipe.megabytes} MB, once) ...")
                missing[name] = "it was not installed in time"
                work = partial(_install, environment)
                problem = await in_daemon_thread(work, f"install {name}")
                missing.pop(name)
                if problem is not None:
                    missing[name] = problem
    except TimeoutError:
        pass
    usable = {name: entry for name, entry in environments().items() if entry.state in (State.READY, State.OUTDATED)}
    specs = {
        name: ClientSpec(name, entry.recipe.library, str(entry.python), interval=INTERVAL, deadline=DEADLINE)
        for name, entry in usable.items()
    }
    for name, problem in missing.items():
        say(f"  {name} is not tried: {problem}")
    return DemoClients(specs, missing)


def _install(environment: Environment) -> str | None:
    """Install one environment; return the reason in one line if that failed."""
    try:
        install(environment.recipe, environment.path.parent, lambda _: None, find_uv())
    except InstallError as error:
        return str(error).splitlines()[0][:200]
    except OSError as error:
        return str(error)
    return None
