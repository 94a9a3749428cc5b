"""A package index that breaks connections in the middle of a file: an install goes on all the same."""

import contextlib
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from exporter.clients.environments import MARK, State
from exporter.clients.install import TRIES, InstallError, install
from tests.shell.wheels import make_recipe, write_wheel

pytestmark = pytest.mark.slow

AGAIN = "the connection to the package index broke: trying again"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment that venv made and nothing was installed into: pip takes seconds to come."""
    root = tmp_path_factory.mktemp("empty")
    environment = install(make_recipe(root / "recipes"), root, str)
    assert (environment.path / MARK).exists()
    return root


@pytest.mark.parametrize("breaks", range(1, TRIES + 1))
def test_a_download_that_breaks_in_the_middle_is_tried_again_but_not_for_ever(
    tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch, breaks: int
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    root = tmp_path / "copy"
    shutil.copytree(empty, root, symlinks=True)
    wheel = write_wheel(tmp_path, "fake", "1.2.3", {"fake.py": "VALUE = 1"})
    told: list[str] = []
    with breaking_index(wheel, breaks) as (url, asked):
        recipe = make_recipe(root / "recipes", f"fake @ {url}")
        if breaks < TRIES:
            assert install(recipe, root, told.append).state is State.READY
        else:
            with pytest.raises(InstallError, match=r"(?i)connection broken|IncompleteRead"):
                install(recipe, root, told.append)
    assert len(asked) == min(breaks + 1, TRIES)
    assert told.count(AGAIN) == min(breaks, TRIES - 1)


@contextlib.contextmanager
def breaking_index(wheel: Path, breaks: int) -> Iterator[tuple[str, list[str]]]:
    """An index that resets the first connections in the middle of the file: where it is, and what it was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = wheel.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if len(asked) > breaks:
                self.wfile.write(content)
                return
            self.wfile.write(content[: len(content) // 2])
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{wheel.name}", asked
        finally:
            server.shutdown()
