"""What is published, and how: the image's labels and libraries, the workflows' rights and pins, the pins' digests."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__
from exporter.clients.libraries import find_recipes

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
BAKE = (ROOT / "docker-bake.hcl").read_text("utf-8")
WORKFLOWS: dict[str, dict[str, Any]] = {
    path.name: yaml.safe_load(path.read_text("utf-8")) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
}
LABELS = ["title", "description", "licenses", "documentation", "version", "revision", "created", "source", "base.name"]
DIGEST = "sha256:" + "a" * 64
BESIDE, AVAILABLE = "deploy/compose.ib-gateway.yaml", "deploy/compose.high-availability.yaml"
CI = "./.github/workflows/ci.yml"


def test_the_images_labels_are_filled_and_its_version_is_the_programs() -> None:
    assert re.findall(r"org\.opencontainers\.image\.([\w.]+)=", DOCKERFILE) == LABELS
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE
    assert f'variable "VERSION" {{ default = "{__version__}" }}' in BAKE
    for name in ("VERSION", "REVISION", "CREATED", "SOURCE"):
        assert re.search(rf"\b{name} += {name}\b", BAKE)


def test_what_is_installed_in_the_image_is_installed_by_its_hash() -> None:
    assert DOCKERFILE.count("--require-hashes -r") == 2
    for file in ("requirements/build.txt", "requirements/runtime.txt"):
        pins = re.findall(r"^(\S+==.*)$", (ROOT / file).read_text("utf-8"), re.MULTILINE)
        assert pins
        assert all(pin.endswith("\\") for pin in pins), file


def test_nothing_in_the_image_has_the_date_of_its_build() -> None:
    assert "compileall -q -f --invalidation-mode unchecked-hash" in DOCKERFILE
    assert "PYTHONHASHSEED=0" in DOCKERFILE
    assert "find /layers -exec touch -h -d @" in DOCKERFILE
    assert re.findall(r"^COPY --from=(\S+)", DOCKERFILE, re.MULTILINE) == ["dated", "dated"]


def test_no_published_image_carries_a_library_under_terms_of_its_own() -> None:
    published = " ".join(re.findall(r'CLIENTS = "([^"]*)"', BAKE)).split()
    recipes = find_recipes()
    assert published
    assert [name for name in published if recipes[name].terms] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_no_more_rights_than_it_says_and_pins_what_it_uses(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    text = (ROOT / ".github/workflows" / name).read_text("utf-8")
    used = [one for one in re.findall(r"uses: (.+)", text) if one != CI]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")
    assert "secrets." not in text


def test_what_is_published_waits_for_the_whole_verification() -> None:
    assert "\n  workflow_call:" in (ROOT / CI).read_text("utf-8")
    for name, first in (("release.yml", "build"), ("image.yml", "image")):
        jobs = WORKFLOWS[name]["jobs"]
        assert jobs["ci"]["uses"] == CI
        assert jobs[first]["needs"] == "ci"
    assert WORKFLOWS["release.yml"]["jobs"]["pypi"]["needs"] == "build"


def test_a_release_needs_no_stored_token() -> None:
    pypi = WORKFLOWS["release.yml"]["jobs"]["pypi"]
    assert pypi["environment"] == "pypi"
    assert pypi["permissions"] == {"id-token": "write"}
    assert "password" not in str(pypi)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The pinned files and the script, with a program in the place of docker that knows one digest."""
    for folder in ("scripts", "deploy"):
        (tmp_path / folder).mkdir()
    for file in ("Dockerfile", "compose.yaml", BESIDE, AVAILABLE, "scripts/digests"):
        shutil.copy(ROOT / file, tmp_path / file)
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\ncase $6 in [a-z]*:*[0-9]*) echo {DIGEST} ;; esac\n")
    docker.chmod(0o755)
    return tmp_path


def run(folder: Path, *arguments: str) -> int:
    environment = {**os.environ, "DOCKER": str(folder / "docker")}
    return subprocess.run([folder / "scripts/digests", *arguments], env=environment, check=False).returncode


def test_the_pinned_digests_are_renewed_by_a_script_that_can_also_check_them(copied: Path) -> None:
    before = (copied / "compose.yaml").read_text()
    assert run(copied, "--check") == 1
    assert (copied / "compose.yaml").read_text() == before
    assert run(copied) == 0
    assert (copied / "compose.yaml").read_text().count(DIGEST) == 3
    assert (copied / "Dockerfile").read_text().count(DIGEST) == 1
    assert (copied / BESIDE).read_text().count(DIGEST) == 1
    assert (copied / AVAILABLE).read_text().count(DIGEST) == 2
    assert run(copied, "--check") == 0


def test_an_answer_that_is_no_digest_changes_nothing(copied: Path) -> None:
    (copied / "docker").write_text("#!/bin/sh\necho no such manifest\n")
    before = (copied / "compose.yaml").read_text()
    assert run(copied) == 1
    assert (copied / "compose.yaml").read_text() == before
