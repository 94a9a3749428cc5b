"""`clients install / list / check`: real virtual environments, filled from wheels made here, so that no network is needed."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from exporter.clients.check import check_client
from exporter.clients.environments import MARK, State, clients_root, find_environment, find_python
from exporter.clients.install import InstallError, check_room, install
from exporter.clients.interpreters import ask_version, candidates, find_interpreter
from exporter.clients.libraries import Library, Recipe, find_libraries, find_recipes
from tests.shell.clients_fakes import write_driver
from tests.shell.support import PATIENCE, alive, until
from tests.shell.wheels import make_recipe, write_wheel

pytestmark = pytest.mark.slow

HOME = Path("/home/someone")
WRONG_HASH = f"    --hash=sha256:{'0' * 64}"
UV = shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))


@pytest.fixture(scope="module")
def pin(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A requirement that needs no network."""
    wheel = write_wheel(tmp_path_factory.mktemp("wheels"), "fake", "1.2.3", {"fake.py": "VALUE = 1"})
    return f"fake @ {wheel.as_uri()}"


@pytest.fixture(scope="module")
def installed_with_pip(tmp_path_factory: pytest.TempPathFactory, pin: str) -> tuple[Path, list[str]]:
    """The folder of an environment that venv and pip made, and what the install printed: pip takes seconds."""
    root = tmp_path_factory.mktemp("pip")
    lines: list[str] = []
    install(make_recipe(root / "recipes", pin), root, lines.append)
    return root, lines


def test_an_install_with_pip_makes_an_environment_that_imports_and_prints_its_steps(
    installed_with_pip: tuple[Path, list[str]], pin: str
) -> None:
    root, lines = installed_with_pip
    recipe = make_recipe(root / "recipes", pin)
    assert_installed(recipe, root, lines)
    again: list[str] = []
    install(recipe, root, again.append)
    assert again == ["ready already"]


def test_an_install_with_uv_makes_an_environment_that_imports_and_prints_its_steps(tmp_path: Path, pin: str) -> None:
    recipe = make_recipe(tmp_path / "recipes", pin)
    assert find_environment(recipe, tmp_path).state is State.MISSING
    lines: list[str] = []
    install(recipe, tmp_path, lines.append, UV)
    assert_installed(recipe, tmp_path, lines)


def assert_installed(recipe: Recipe, root: Path, lines: list[str]) -> None:
    environment = find_environment(recipe, root)
    assert environment.state is State.READY
    assert ask_version(str(environment.python), "fake") is not None
    assert any("installing 1 packages" in line for line in lines)


def test_of_an_install_that_was_stopped_nothing_is_trusted(tmp_path: Path, pin: str) -> None:
    """A package may have its metadata and not its files: pip takes it for installed."""
    recipe = make_recipe(tmp_path / "recipes", pin)
    environment = install(recipe, tmp_path, str, UV)
    (tmp_path / "fake" / MARK).unlink()
    [module] = environment.path.glob("lib/*/site-packages/fake.py")
    module.unlink()
    assert find_environment(recipe, tmp_path).state is State.HALF_MADE
    told: list[str] = []
    assert install(recipe, tmp_path, told.append, UV).state is State.READY
    assert ask_version(str(environment.python), "fake") is not None
    assert any("removing what is left" in line for line in told)


def test_an_environment_whose_python_is_gone_is_made_again(tmp_path: Path, pin: str) -> None:
    recipe = make_recipe(tmp_path / "recipes", pin)
    environment = install(recipe, tmp_path, str, UV)
    environment.python.unlink()
    assert find_environment(recipe, tmp_path).state is State.HALF_MADE
    told: list[str] = []
    assert install(recipe, tmp_path, told.append, UV).state is State.READY
    assert any("removing what is left" in line for line in told)


def test_other_pins_make_it_outdated_and_an_install_mends_that(tmp_path: Path, pin: str) -> None:
    install(make_recipe(tmp_path / "recipes", pin), tmp_path, str, UV)
    newer = make_recipe(tmp_path / "recipes", pin.replace("fake @", "fake  @"))
    assert find_environment(newer, tmp_path).state is State.OUTDATED
    assert install(newer, tmp_path, str, UV).state is State.READY


def test_a_failed_step_says_what_failed_and_leaves_it_half_made(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path / "recipes", f"fake @ {(tmp_path / 'absent.whl').as_uri()}")
    with pytest.raises(InstallError, match=r"absent\.whl") as raised:
        install(recipe, tmp_path, str, UV)
    assert "run the same command again" in raised.value.remedy
    assert find_environment(recipe, tmp_path).state is State.HALF_MADE


def test_too_little_room_is_reported_before_anything_is_made(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path / "recipes", "fake==1", megabytes=10**9)
    with pytest.raises(InstallError, match=r"fake needs 1500000000 MB, and .* has") as raised:
        check_room(recipe, tmp_path / "not" / "yet")
    assert "IBKR_EXPORTER_CLIENTS_DIR" in raised.value.remedy


def test_no_fitting_python_is_reported_with_the_wanted_versions(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path / "recipes", "fake==1", python="3.97 3.98")
    with pytest.raises(InstallError, match=r"needs one of Python 3.97, 3.98 with venv, and none was found"):
        install(recipe, tmp_path, str)


def test_a_shim_that_stands_for_nothing_is_not_believed(tmp_path: Path) -> None:
    shims = tmp_path / "bin"
    shims.mkdir()
    for name, says in (("python3.98", "pyenv: python3.98: command not found"), ("python3.99", "3 11 0")):
        (shims / name).write_text(f"#!/bin/sh\necho '{says}'\nexit 127\n")
        (shims / name).chmod(0o755)
    variables = {"PATH": str(shims)}
    assert list(candidates((3, 98), variables, tmp_path)) == [str(shims / "python3.98")]
    assert ask_version(str(shims / "python3.98")) is None
    assert ask_version(str(shims / "python3.99")) is None
    assert ask_version(str(tmp_path / "absent")) is None


def test_pyenvs_and_uvs_own_pythons_are_candidates_newest_first(tmp_path: Path) -> None:
    for name in (".pyenv/versions/3.12.9/bin/python", ".pyenv/versions/3.12.11/bin/python"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    uv = tmp_path / ".local/share/uv/python/cpython-3.12.7-linux-x86_64-gnu/bin/python3"
    uv.parent.mkdir(parents=True)
    uv.touch()
    found = [path for path in candidates((3, 12), {"PATH": ""}, tmp_path) if path.startswith(str(tmp_path))]
    assert [Path(path).relative_to(tmp_path).parts[2] for path in found[:2]] == ["3.12.11", "3.12.9"]
    assert found[2] == str(uv)


def test_this_very_python_is_found(tmp_path: Path) -> None:
    del tmp_path
    found = find_interpreter([sys.version_info[:2]])
    assert found is not None
    assert found.version[:2] == sys.version_info[:2]


@pytest.mark.parametrize(
    ("variables", "platform", "expected"),
    [
        ({}, "linux", "/home/someone/.local/share/ibkr-exporter/clients"),
        ({"XDG_DATA_HOME": "/data"}, "linux", "/data/ibkr-exporter/clients"),
        ({}, "darwin", "/home/someone/Library/Application Support/ibkr-exporter/clients"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/ibkr-exporter/clients"),
        ({"IBKR_EXPORTER_CLIENTS_DIR": "/mine", "XDG_DATA_HOME": "/data"}, "linux", "/mine"),
    ],
)
def test_the_environments_are_where_the_platform_keeps_data(
    variables: dict[str, str], platform: str, expected: str
) -> None:
    assert clients_root(variables, platform, HOME) == Path(expected)


def test_a_client_finds_the_environment_of_its_own_name_before_its_librarys(tmp_path: Path) -> None:
    assert find_python("ibapi-9.81.1", "ibapi", tmp_path) is None
    for name in ("ibapi", "ibapi-9.81.1"):
        environment = find_environment(find_recipes()[name], tmp_path)
        environment.python.parent.mkdir(parents=True)
        environment.python.touch()
        (environment.path / MARK).write_text('{"digest": "older"}')
    assert find_python("ibapi-9.81.1", "ibapi", tmp_path) == tmp_path / "ibapi-9.81.1" / "bin" / "python"
    assert find_python("mine", "ibapi", tmp_path) == tmp_path / "ibapi" / "bin" / "python"
    assert find_python("ib_async", "ibapi", tmp_path) == tmp_path / "ibapi" / "bin" / "python"


def test_uv_does_not_install_a_package_that_is_not_the_pinned_one(tmp_path: Path, pin: str) -> None:
    recipe = make_recipe(tmp_path / "recipes", f"{pin} \\", WRONG_HASH)
    with pytest.raises(InstallError, match=r"(?i)hash"):
        install(recipe, tmp_path, print, UV)
    assert find_environment(recipe, tmp_path).state is State.HALF_MADE


def test_pip_does_not_install_a_package_that_is_not_the_pinned_one(
    tmp_path: Path, installed_with_pip: tuple[Path, list[str]], pin: str
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(installed_with_pip[0], root, symlinks=True)
    recipe = make_recipe(root / "recipes", f"{pin.replace('fake @', 'fake  @')} \\", WRONG_HASH)
    assert find_environment(recipe, root).state is State.OUTDATED
    with pytest.raises(InstallError, match=r"(?i)hash"):
        install(recipe, root, print)
    assert find_environment(recipe, root).state is State.HALF_MADE


def test_every_library_has_a_driver_and_a_recipe_and_their_pythons_agree() -> None:
    libraries, recipes = find_libraries(), find_recipes()
    assert set(libraries) >= {"ib_async", "ib_insync", "ibapi", "nautilus_trader"}
    assert set(libraries) <= set(recipes)
    for recipe in recipes.values():
        library = libraries[recipe.library]
        assert all(library.oldest <= version <= library.newest for version in recipe.pythons)
        assert all("==" in pin for pin in recipe.pins)
        assert all("\\" not in pin and "--hash" not in pin for pin in recipe.pins)
        pinned = recipe.requirements.read_text("utf-8")
        assert all(f"{pin} \\\n    --hash=sha256:" in pinned for pin in recipe.pins), "run: make lock"
        assert ("terms" in recipe.requirements.read_text("utf-8")) is any("ibapi" in pin for pin in recipe.pins)


async def test_a_check_imports_for_real_and_names_what_is_wrong(tmp_path: Path) -> None:
    recipe = make_recipe(
        tmp_path / "recipes",
        f"ibapi @ {write_wheel(tmp_path, 'ibapi', '9.81.1', {'ibapi/__init__.py': '# old'}).as_uri()}",
        f"ibapi-latest @ {write_wheel(tmp_path, 'ibapi-latest', '10.51.1', {'ibapi/__init__.py': '', 'ibapi/protobuf/X_pb2.py': ''}).as_uri()}",
    )
    environment = install(recipe, tmp_path, str, UV)
    checked = await check_client("mine", find_libraries()["ibapi"], str(environment.python))
    assert not checked.usable
    assert checked.problem is not None
    assert "No module named 'ibapi.client'" in checked.problem
    texts = [conflict.text for conflict in checked.conflicts]
    assert "ibapi and ibapi-latest are both installed and overwrite each other's package `ibapi`" in texts
    assert any("needs protobuf" in text for text in texts)


async def test_a_check_of_a_library_that_works_tells_its_versions(tmp_path: Path) -> None:
    checked = await check_client("mine", write_driver(tmp_path), sys.executable)
    assert checked.usable
    assert checked.installed is not None
    assert checked.installed.version == "1.2.3"


async def test_a_check_of_a_missing_interpreter_is_reported_plainly(tmp_path: Path) -> None:
    library = Library("fake", write_driver(tmp_path).driver, (3, 8), (3, 99))
    checked = await check_client("mine", library, str(tmp_path / "python"))
    assert not checked.usable
    assert "does not start" in str(checked.problem)


async def test_a_check_ends_although_a_grandchild_lives_and_leaves_no_process(tmp_path: Path) -> None:
    """An interpreter that is a script, whose child holds its output open and outlives it."""
    python, number = tmp_path / "python", tmp_path / "pid"
    python.write_text(f'#!/bin/sh\nsleep 1000 &\necho $! >> {number}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    checked = await asyncio.wait_for(check_client("mine", write_driver(tmp_path), str(python)), PATIENCE)
    assert checked.usable
    await until(lambda: not any(alive(int(pid)) for pid in number.read_text().split()))


async def test_a_check_of_an_interpreter_that_never_ends_is_given_up_with_all_its_children(tmp_path: Path) -> None:
    python, number = tmp_path / "python", tmp_path / "pid"
    python.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! >> {number}\nwait\n")
    python.chmod(0o755)
    library = write_driver(tmp_path)
    checked = await asyncio.wait_for(check_client("mine", library, str(python), limit=1.0, list_limit=1.0), PATIENCE)
    assert checked.problem == "import fake did not end within 1 s"
    await until(lambda: not any(alive(int(pid)) for pid in number.read_text().split()))


async def test_a_check_of_an_interpreter_that_prints_for_ever_is_bounded(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec yes x\n")
    python.chmod(0o755)
    checked = await check_client("mine", write_driver(tmp_path), str(python), limit=1.0, list_limit=1.0)
    assert checked.problem == "import fake did not end within 1 s"
