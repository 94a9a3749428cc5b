"""The log as written by a process: nothing that goes wrong with it may touch the probes."""

import json
import os
import subprocess
import sys

import pytest

from tests.shell.support import PATIENCE

SAY = "import structlog; from exporter import log; log.configure('info', {style!r}); "
LINE = "structlog.get_logger().info('said', target='paper')"
FAIL = """
def fail(account):
    return 1 / 0
try:
    fail("DU" + "1234567")
except ZeroDivisionError:
    structlog.get_logger().exception("failed")
"""


def said(code: str, style: str = "console", stderr: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """What a fresh interpreter logs."""
    program = SAY.format(style=style) + code + "\nprint('still here')"
    return subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_log_whose_reader_is_gone_loses_lines_and_raises_nothing(style: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = said(LINE + "; " + LINE, style, writing)
    finally:
        os.close(writing)
    assert done.stdout == "still here\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_under_the_log_raises_nothing() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = said(LINE, stderr=full)
    finally:
        os.close(full)
    assert done.stdout == "still here\n"


def test_a_process_without_standard_error_can_log() -> None:
    done = said("import sys; sys.stderr = None; log.configure('info'); " + LINE)
    assert (done.stdout, done.stderr) == ("still here\n", "")


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_logged_traceback_shows_no_local_variable(style: str) -> None:
    log = said(FAIL, style).stderr
    assert "ZeroDivisionError" in log
    assert "DU1234567" not in log


def test_each_json_line_is_one_object() -> None:
    assert json.loads(said(LINE, "json").stderr)["target"] == "paper"


FOREIGN = """
import logging
from aiohttp.http_exceptions import LineTooLong
def tell(error):
    try:
        raise error
    except Exception:
        logging.getLogger("aiohttp.server").exception("Error handling request")
"""


def test_what_a_library_logs_comes_in_our_form() -> None:
    line = json.loads(said(FOREIGN + "tell(ValueError('x'))", "json").stderr)
    assert (line["event"], line["level"]) == ("Error handling request", "error")
    assert line["exception"][0]["exc_type"] == "ValueError"


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_request_that_is_no_http_leaves_no_traceback(style: str) -> None:
    assert said(FOREIGN + "tell(LineTooLong(b'x' * 9000, 8190))", style).stderr == ""


HOSTILE = r"""
import logging
text = "x\n2026-11-21T02:00:00Z [info     ] all is well\x1b[2J\u2028\u202e"
structlog.get_logger().info(text, host=text, problems=[text], good="ünïcode", url="http://x/", words="two words")
logging.getLogger("aiohttp.server").error("foreign %s", text)
for log in (structlog.get_logger(), logging.getLogger("asyncio")):
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("failed")
"""


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_text_of_others_begins_a_line_or_commands_a_terminal(style: str) -> None:
    log = said(HOSTILE, style).stderr
    assert all(character.isprintable() or character == "\n" for character in log)
    assert not [line for line in log.split("\n") if line.startswith("2026-11-21T02:00:00Z")]
    begun = [line for line in log.split("\n") if not line.startswith("    ")]
    assert len(begun) == 4 + 1  # two lines, two failures, and the end
    if style == "console":
        assert "good=ünïcode" in log
        assert "url=http://x/" in log
        assert "words='two words'" in log
        assert r"host='x\n2026-11-21T02:00:00Z [info     ] all is well\x1b[2J\u2028\u202e'" in log
