"""The `clients` commands: list, install, check."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.cli.select_clients import INSTALL_HINT, installed
from exporter.clients.check import ClientCheck, check_client
from exporter.clients.environments import Environment, State, default_root, find_python, list_environments
from exporter.clients.install import InstallError, find_uv, install
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
        table = _table("Client", "Library", "Interpreter")
        for spec in configured.values():
            python = spec.python or find_python(spec.name, spec.library, root)
            missing = f"not installed: ibkr-exporter clients install {spec.library}"
            table.add_row(spec.name, spec.library, str(python) if python else Text(missing, "yellow"))
        console.print(Text("Configured clients", "bold"), table)


def install_all(names: Sequence[str]) -> bool:
    """Install these environments, or all; return whether all are ready. Raises ValueError for an unknown name."""
    recipes, root, console = find_recipes(), default_root(), Console()
    if unknown := [name for name in names if name not in recipes]:
        msg = f"there is no environment {', '.join(unknown)}; known are {', '.join(recipes)}"
        raise ValueError(msg)
    failed = []
    wanted = [recipes[name] for name in names] or list(recipes.values())
    for number, recipe in enumerate(wanted, 1):
        console.print(Text(f"[{number}/{len(wanted)}] {recipe.name}, {recipe.megabytes} MB", "bold"))
        if recipe.terms:
            console.print(Text(recipe.terms, "dim"))
        try:
            install(recipe, root, lambda line: console.print(Text(f"  {line}")), find_uv())
        except InstallError as error:
            failed.append(recipe.name)
            console.print(Text(f"  ✗ {error}", "red"), Text(f"    Remedy: {error.remedy}"), sep="\n")
    left = f"{len(failed)} of {len(wanted)} are not ready: {', '.join(failed)}"
    console.print(Text(left, "red") if failed else Text(f"✓ all {len(wanted)} are ready in {root}", "green"))
    return not failed


async def check_all(names: Sequence[str], configured: Mapping[str, ClientSpec]) -> bool:
    """Check these clients, or all configured and installed; return whether all are usable. Raises ValueError."""
    available = {spec.name: spec for spec in installed()} | dict(configured)
    if unknown := [name for name in names if name not in available]:
        found = ", ".join(available) or "none"
        msg = f"there is no client {', '.join(unknown)}, configured or installed; known are {found}"
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
    console.print(_checks(checked))
    for one in checked:
        for conflict in one.conflicts:
            console.print(
                Text(f"! {one.client}: {conflict.text}", "yellow"), Text(f"  Remedy: {conflict.remedy}"), sep="\n"
            )
    return all(one.usable for one in checked)


def _checks(checked: Sequence[ClientCheck]) -> Table:
    table = _table("Client", "Result", "Library", "Python", "Import", "Details")
    for one in checked:
        installed = one.installed
        result = Text("✓ usable", "green") if one.usable else Text("✗ unusable", "red")
        row = (
            (f"{installed.library} {installed.version}", installed.python, f"{installed.import_seconds:.1f} s")
            if installed
            else (one.library, "", "")
        )
        details = one.problem or ("conflicts, see below" if one.conflicts else one.python)
        table.add_row(one.client, result, *row, details)
    return table


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
