"""What the commands `clients list`, `install` and `check` do and print; client_commands.py declares them."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from exporter.cli.install_progress import install_environments
from exporter.cli.marks import bad, good
from exporter.cli.select_clients import INSTALL_HINT, installed
from exporter.clients.check import ClientCheck, check_client
from exporter.clients.environments import Environment, State, default_root, find_python, list_environments
from exporter.clients.libraries import find_libraries, find_recipes, version_text
from exporter.model import ClientSpec

ROOM = 80  # columns that the list of environments takes
LISTS = ("Python",)


def show_list(configured: Mapping[str, ClientSpec]) -> None:
    """Print the environments, then the configured clients."""
    console, root = Console(), default_root()
    table = _table("Environment", "Version", "State", "Python", "MB", wide=console.width >= ROOM)
    for environment in list_environments(root):
        recipe = environment.recipe
        pythons = ", ".join(map(version_text, recipe.pythons))
        table.add_row(recipe.name, _pinned(environment), _state(environment.state), pythons, str(recipe.megabytes))
    console.print(Text(f"Environments in {root}", "bold"), table)
    if configured:
        console.print(Text("Configured clients", "bold"))
        for spec in configured.values():  # lines: a path that is broken in two cannot be copied
            python = spec.python or find_python(spec.name, spec.library, root)
            missing = f"not installed: ibkr-exporter clients install {spec.library}"
            place = Text(str(python)) if python else Text(missing, "yellow")
            console.print(Text.assemble(f"  {spec.name}: {spec.library}, ", place), soft_wrap=True)


def install_all(names: Sequence[str]) -> bool:
    """Install these environments, or all; return whether all are ready. Raises ValueError for an unknown name."""
    recipes, root, console = find_recipes(), default_root(), Console()
    if unknown := [name for name in names if name not in recipes]:
        msg = f"there is no environment {', '.join(unknown)}; known are {', '.join(recipes)}"
        raise ValueError(msg)
    chosen_recipes = [recipes[name] for name in names] or list(recipes.values())
    failed = install_environments(chosen_recipes, root, console)
    left = f"{bad(console)} {len(failed)} of {len(chosen_recipes)} are not ready: {', '.join(failed)}"
    ready = f"{good(console)} all {len(chosen_recipes)} are ready in {root}"
    console.print(Text(left, "red") if failed else Text(ready, "green"), soft_wrap=True)
    return not failed


async def check_all(names: Sequence[str], configured: Mapping[str, ClientSpec]) -> bool:
    """Check these clients, or all configured and installed; return whether all are usable. Raises ValueError."""
    available = {spec.name: spec for spec in installed()} | dict(configured)
    if unknown := [name for name in names if name not in available]:
        environments = ", ".join(available) or "none"
        msg = f"there is no client {', '.join(unknown)}, configured or installed; known are {environments}"
        raise ValueError(msg)
    console, libraries, checked = Console(), find_libraries(), []
    for spec in [available[name] for name in names] or list(available.values()):
        python = spec.python or find_python(spec.name, spec.library, default_root())
        if python is None:
            problem = f"not installed: `ibkr-exporter clients install {spec.library}` does it"
            checked.append(ClientCheck(spec.name, spec.library, "", None, (), problem))
            continue
        with console.status(f"importing {spec.name}"):
            checked.append(await check_client(spec.name, libraries[spec.library], str(python)))
    if not checked:
        console.print(f"No client is configured or installed; {INSTALL_HINT}.")
        return False
    _print_table(console, _checks(checked, console))
    for check in checked:  # lines, which the terminal wraps: a path or a command that is broken in two cannot be copied
        console.print(Text(f"{check.client}: {check.problem or check.python}"), soft_wrap=True)
        for conflict in check.conflicts:
            console.print(Text(f"! {check.client}: {conflict.text}", "yellow"), soft_wrap=True)
            console.print(Text(f"  Remedy: {conflict.remedy}"), soft_wrap=True)
    return all(check.usable for check in checked)


def _checks(checked: Sequence[ClientCheck], console: Console) -> Table:
    table = _table("Client", "Result", "Library", "Python", "Import", wide=True)
    for check in checked:
        version = check.installed
        usable, unusable = f"{good(console)} usable", f"{bad(console)} unusable"
        result = Text(usable, "green") if check.usable else Text(unusable, "red")
        if version is None:
            table.add_row(check.client, result, check.library, "", "")
        else:
            seconds = f"{version.import_seconds:.1f} s"
            table.add_row(check.client, result, f"{version.library} {version.version}", version.python, seconds)
    return table


def _print_table(console: Console, table: Table) -> None:
    """Print a table at its own width: in a narrower terminal its lines are wrapped, not its words."""
    width = max(console.width, Measurement.get(console, console.options.update(max_width=1000), table).maximum)
    console.print(table, width=width, crop=False, soft_wrap=True)


def _pinned(environment: Environment) -> str:
    """Return the pinned version, with the distribution where its name is not the library's."""
    recipe = environment.recipe
    pin = next((pin for pin in recipe.pins if pin.startswith(recipe.library)), recipe.library)
    return pin.removeprefix(f"{recipe.library}==").replace("==", " ")


def _state(state: State) -> Text:
    return Text(state.value, "green" if state is State.READY else "dim" if state is State.MISSING else "yellow")


def _table(*headings: str, wide: bool = False) -> Table:
    """Return an empty table; a `wide` terminal has room to break only lists into lines."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=wide and heading not in LISTS)
    return table
