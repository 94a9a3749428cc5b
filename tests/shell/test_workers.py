"""What a library may do to us, done by real processes: it ends within the deadline, and nothing is left behind."""

import ast
import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from exporter.clients.forkserver import UnusableError
from exporter.clients.libraries import RUNNER
from exporter.clients.worker import Worker, WorkerResult, open_worker
from exporter.model import Cause, ClientSpec, Layer, Outcome, Stage
from tests.shell.clients_fakes import ESCAPE, make_worker, write_driver
from tests.shell.support import PATIENCE, alive, descendants, descriptors, until

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc to count processes and files")

SHORT = 3.0  # seconds for a probe that ends by its deadline: the copy must have got there on a busy machine
HANGS = {
    "in python": "time.sleep(1000)",
    "in C with the interpreter's lock held": "import ctypes; ctypes.PyDLL(None).sleep(1000)",
    "in a thread that it joins": "t = threading.Thread(target=time.sleep, args=(1000,)); t.start(); t.join()",
    "in a child that it waits for": "subprocess.run([sys.executable, '-c', 'import time; time.sleep(1000)'])",
    "by stopping itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "deaf to every signal": "[signal.signal(s, signal.SIG_IGN) for s in (1, 2, 3, 15)]; time.sleep(1000)",
}

Make = Callable[..., Worker]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No process and no file more than before, whatever a test did."""
    before, files = descendants(), descriptors()
    yield
    assert descendants() <= before
    assert descriptors() <= files


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Workers that are stopped at the end."""
    made: list[Worker] = []

    def making(extra: str = "", *, fork: bool = True, import_limit: float = PATIENCE) -> Worker:
        made.append(make_worker(tmp_path, extra, fork=fork, import_limit=import_limit))
        return made[-1]

    await asyncio.sleep(0)  # the loop's own files are open
    yield making
    for worker in made:
        await worker.stop()


UNKNOWN = """

def time_comes(observer):
    observer.error(505, "Fatal Error: Unknown message id.")
    threading.Timer(0.3, observer.reach, ("time", 1)).start()
"""


async def probe(worker: Worker, deadline: float = PATIENCE) -> WorkerResult:
    return await worker.probe("127.0.0.1", 1, 9001, deadline, spacing=0.0)


def begin_with(lines: str) -> str:
    return (
        "def begin(host, port, client_id, observer):\n"
        "    observer.reach('connected', 176)\n"
        "    session = Session(observer)\n" + textwrap.indent(textwrap.dedent(lines), "    ") + "\n    return session\n"
    )


@pytest.mark.parametrize("fork", [True, False])
async def test_a_library_that_works_gives_every_stage_and_its_versions(make: Make, *, fork: bool) -> None:
    worker = make(fork=fork)
    done = await probe(worker)
    assert (done.result.layer, done.result.outcome, done.result.client) == (Layer.CLIENT, Outcome.OK, "fake-client")
    reached = [stage for stage, _ in done.result.stages if stage is not Stage.IMPORTED]
    assert reached == [Stage.CONNECTED, Stage.READY, Stage.TIME, Stage.ACCOUNTS, Stage.CONTRACT]
    assert done.result.server is not None
    assert done.result.server.version == 176
    assert worker.installed is not None
    assert worker.installed.version == "1.2.3"
    assert worker.installed.python == ".".join(map(str, sys.version_info[:3]))
    assert worker.preloaded is fork


async def test_the_import_is_done_once_for_many_probes(make: Make, tmp_path: Path) -> None:
    worker = make(
        f"def load():\n    open({str(tmp_path / 'imports')!r}, 'a').write('x')\n    return {{'version': '1'}}\n"
    )
    for _ in range(5):
        assert (await probe(worker)).result.ok
    assert (tmp_path / "imports").read_text() == "x"


@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.parametrize("how", HANGS)
async def test_a_hang_is_killed_at_the_deadline_and_its_stage_is_named(make: Make, how: str, *, fork: bool) -> None:
    worker = make(begin_with(HANGS[how]), fork=fork)
    if fork:
        await worker.start()
    done = await probe(worker, SHORT)
    assert (done.result.outcome, done.result.stage) == (Outcome.TIMEOUT, Stage.CONNECT)


async def test_a_hang_after_a_stage_is_reported_as_the_next_stage(make: Make) -> None:
    worker = make("Session.ask_time = lambda self: time.sleep(1000)")
    done = await probe(worker, SHORT)
    assert (done.result.outcome, done.result.stage) == (Outcome.TIMEOUT, Stage.TIME)
    assert [stage for stage, _ in done.result.stages] == [Stage.CONNECTED, Stage.READY]


async def test_silence_that_the_driver_notices_itself_is_reported_in_time_and_closed_in_order(
    make: Make, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    worker = make(
        f"Session.ask_time = lambda self: None\nSession.close = lambda self, s: open({str(closed)!r}, 'w').close()"
    )
    done = await probe(worker, SHORT)
    assert (done.result.outcome, done.result.stage, done.result.cause) == (Outcome.TIMEOUT, Stage.TIME, "silence")
    assert closed.exists()


async def test_a_library_that_has_the_whole_reply_and_stays_stuck_is_not_waited_for_until_the_deadline(
    make: Make,
) -> None:
    worker = make("""
        def begin(host, port, client_id, observer):
            observer.opened = True
            observer.take(b"\\x00\\x00\\x00\\x08176\\x00now\\x00")
            return Session(observer)
        """)
    async with asyncio.timeout(PATIENCE):
        result = (await worker.probe("h", 1, 1, deadline=1000.0)).result
    assert (result.outcome, result.stage, result.cause) == (Outcome.TIMEOUT, Stage.CONNECT, None)
    assert result.detail == "the whole reply to the hello arrived, and the library still waits for it"


async def test_a_message_that_a_library_does_not_know_ends_nothing(make: Make) -> None:
    """The library itself calls that error 505 and reads on."""
    result = (await probe(make("Session.ask_time = lambda self: time_comes(self.observer)" + UNKNOWN))).result
    assert (result.outcome, result.code) == (Outcome.OK, None)


async def test_a_close_that_hangs_does_not_spoil_the_result(make: Make) -> None:
    worker = make("Session.close = lambda self, seconds: time.sleep(1000)")
    done = await probe(worker)
    assert done.result.ok
    assert done.result.seconds is not None
    assert done.result.seconds < PATIENCE / 2  # and it does not wait for its deadline


@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGTERM"])
async def test_a_crash_by_a_signal_names_the_signal_and_the_stage(make: Make, name: str, *, fork: bool) -> None:
    worker = make(begin_with(f"os.kill(os.getpid(), signal.{name})\ntime.sleep(1000)"), fork=fork)
    done = await probe(worker)
    assert (done.result.outcome, done.result.stage) == (Outcome.CRASHED, Stage.CONNECT)
    assert f"killed by {name}" in done.result.detail


@pytest.mark.parametrize("fork", [True, False])
async def test_a_process_that_is_killed_for_lack_of_memory_is_not_accused(make: Make, *, fork: bool) -> None:
    done = await probe(make(begin_with("os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(9)"), fork=fork))
    assert (done.result.outcome, done.result.stage) == (Outcome.UNAVAILABLE, Stage.CONNECT)
    assert "SIGKILL, and not by us" in done.result.detail


@pytest.mark.parametrize(
    "error",
    [
        "OSError(24, 'Too many open files')",
        "OSError(99, 'Cannot assign requested address')",
        "MemoryError()",
        'RuntimeError("can\'t start new thread")',
    ],
)
async def test_what_our_own_machine_has_no_room_for_is_blamed_on_no_library(make: Make, error: str) -> None:
    done = await probe(make(begin_with(f"raise {error}")))
    assert done.result.outcome is Outcome.UNAVAILABLE
    assert error.partition("(")[0] in done.result.detail


async def test_a_refusal_at_each_of_several_addresses_is_a_refusal(make: Make) -> None:
    """So asyncio tells of localhost, which has two."""
    several = "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 101] no route"
    done = await probe(make(begin_with(f"raise OSError({several!r})")))
    assert (done.result.outcome, done.result.cause) == (Outcome.REFUSED, Cause.CONNECT_REFUSED)


async def test_a_send_into_a_lost_connection_is_a_closed_one_whatever_the_library_makes_of_it(make: Make) -> None:
    done = await probe(make(begin_with("raise ConnectionResetError(104, 'Connection reset by peer')")))
    assert (done.result.outcome, done.result.cause) == (Outcome.CLOSED, Cause.RESET)
    sending = "observer.finish('eof')\nobserver.error(550, 'Start API Sending Error')\nreturn Session(observer)"
    done = await probe(make(begin_with(sending)))
    assert (done.result.outcome, done.result.cause) == (Outcome.CLOSED, Cause.EOF)


async def test_a_crash_is_a_crash_even_while_a_child_of_it_keeps_the_pipes(make: Make, tmp_path: Path) -> None:
    worker = make(ESCAPE + begin_with(f"escape({str(tmp_path / 'pid')!r})\nos.kill(os.getpid(), signal.SIGSEGV)"))
    done = await probe(worker, SHORT)
    assert (done.result.outcome, done.result.stage) == (Outcome.CRASHED, Stage.CONNECT)
    assert "SIGSEGV" in done.result.detail


async def test_an_exit_says_its_status_and_the_last_things_printed(make: Make) -> None:
    worker = make(begin_with("print('so long'); sys.stdout.flush(); os._exit(7)"))
    done = await probe(worker)
    assert done.result.outcome is Outcome.CRASHED
    assert done.result.detail == "exited with 7; it said: so long"


async def test_an_exception_of_the_library_is_a_crash_in_its_words(make: Make) -> None:
    worker = make(begin_with("raise ValueError('no such thing')"))
    done = await probe(worker)
    assert done.result.outcome is Outcome.CRASHED
    assert "ValueError: no such thing" in done.result.detail


@pytest.mark.parametrize("fork", [True, False])
async def test_a_grandchild_that_leaves_the_session_does_not_hold_the_deadline(
    make: Make, tmp_path: Path, *, fork: bool
) -> None:
    worker = make(ESCAPE + begin_with(f"escape({str(tmp_path / 'pid')!r})\ntime.sleep(1000)"), fork=fork)
    done = await probe(worker, SHORT)
    assert done.result.outcome is Outcome.TIMEOUT
    stray = int((tmp_path / "pid").read_text())
    if not fork:  # the fork server does not adopt it there: the container's init must
        os.kill(stray, signal.SIGKILL)
    else:
        assert done.orphans == 1
        assert not alive(stray)


async def test_a_worker_that_works_but_leaves_children_is_cleaned_up_too(make: Make, tmp_path: Path) -> None:
    worker = make(
        ESCAPE
        + begin_with(f"escape({str(tmp_path / 'pid')!r})\nobserver.reach('ready'); observer.reach('accounts', [])")
    )
    done = await probe(worker)
    assert done.result.ok
    assert not alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.parametrize("stream", [1, 2])
async def test_a_megabyte_of_noise_neither_blocks_nor_is_kept(make: Make, stream: int, *, fork: bool) -> None:
    lines = f"for i in range(1024): os.write({stream}, b'x' * 1023 + b'\\n')\nobserver.reach('ready'); observer.reach('accounts', [])"
    done = await probe(make(begin_with(lines), fork=fork))
    assert done.result.ok
    assert 0 < len(done.printed) <= 4096


async def test_noise_that_never_ends_does_not_hold_the_deadline(make: Make) -> None:
    worker = make(begin_with("while True: os.write(1, b'y' * 65536)"))
    await worker.start()
    done = await probe(worker, SHORT)
    assert done.result.outcome is Outcome.TIMEOUT


async def test_an_import_that_hangs_says_nothing_about_the_target_and_goes_on(make: Make) -> None:
    worker = make("def load():\n    time.sleep(1.2)\n    return {'version': '1'}\n")
    done = await probe(worker, 0.5)
    assert (done.result.outcome, done.result.stage) == (Outcome.UNAVAILABLE, Stage.IMPORTED)
    assert (await probe(worker)).result.ok


async def test_an_import_that_never_ends_is_killed_at_its_own_limit(make: Make) -> None:
    worker = make("def load():\n    time.sleep(1000)\n", import_limit=0.7)
    with pytest.raises(UnusableError, match=r"import fake did not end within 0.7 s"):
        await worker.start()


@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("raise ModuleNotFoundError(\"No module named 'google'\")", "No module named 'google'"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os._exit(9)", "exited with 9"),
    ],
)
async def test_an_import_that_fails_is_unavailable_with_the_reason(
    make: Make, load: str, said: str, *, fork: bool
) -> None:
    worker = make(f"def load():\n    {load}\n", fork=fork)
    done = await probe(worker)
    assert (done.result.outcome, done.result.stage) == (Outcome.UNAVAILABLE, Stage.IMPORTED)
    assert said in done.result.detail


async def test_a_failed_import_is_not_tried_again_at_once(make: Make, tmp_path: Path) -> None:
    worker = make(f"def load():\n    open({str(tmp_path / 'tries')!r}, 'a').write('x')\n    raise ImportError('no')\n")
    for _ in range(3):
        assert "ImportError: no" in (await probe(worker)).result.detail
    assert (tmp_path / "tries").read_text() == "x"
    assert worker.unusable is not None


async def test_a_python_outside_the_librarys_range_is_named_as_the_cause(make: Make) -> None:
    worker = make("PYTHONS = ((3, 8), (3, 9))\ndef load():\n    raise RuntimeError('There is no current event loop')\n")
    done = await probe(worker)
    assert "needs Python 3.8 to 3.9, and this is" in done.result.detail


async def test_threads_left_by_the_import_forbid_forking_and_each_probe_imports_again(make: Make) -> None:
    worker = make(
        "def load():\n    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n    return {'version': '1'}\n"
    )
    assert (await probe(worker)).result.ok
    assert (await probe(worker)).result.ok
    assert not worker.preloaded
    assert worker.installed is not None
    assert worker.installed.version == "1"


async def test_a_missing_interpreter_says_nothing_about_the_target(tmp_path: Path) -> None:
    worker = Worker("c", write_driver(tmp_path), str(tmp_path / "no" / "python"))
    done = await probe(worker)
    assert done.result.outcome is Outcome.UNAVAILABLE
    assert "does not start: No such file or directory" in done.result.detail


async def test_something_that_is_no_python_says_what_it_printed(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'Unknown option: -I' >&2\nexit 2\n")
    fake.chmod(0o755)
    worker = Worker("c", write_driver(tmp_path), str(fake))
    done = await probe(worker)
    await worker.stop()
    assert done.result.outcome is Outcome.UNAVAILABLE
    assert "exited with 2" in done.result.detail
    assert "Unknown option: -I" in done.result.detail


async def test_a_driver_gets_no_variables_of_ours(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_ACCOUNT_ID", "DU1234567")
    worker = make(begin_with("print(sorted(os.environ)); sys.stdout.flush(); os._exit(0)"))
    done = await probe(worker)
    assert "PATH" in done.printed
    assert "IB_ACCOUNT_ID" not in done.printed


async def test_a_lost_fork_server_is_no_verdict_and_is_replaced(make: Make) -> None:
    worker = make("Session.ask_time = lambda self: time.sleep(1000)")
    await worker.start()
    fork_server = worker._fork_server
    assert fork_server is not None
    before = descendants()
    task = asyncio.create_task(probe(worker))
    await until(lambda: descendants() - before)
    os.kill(fork_server.process.pid, signal.SIGKILL)
    done = await asyncio.wait_for(task, PATIENCE)
    assert done.result.outcome is Outcome.UNAVAILABLE
    again = await probe(worker, SHORT)
    assert (again.result.outcome, again.result.stage) == (Outcome.TIMEOUT, Stage.TIME)


async def test_a_fork_server_that_does_not_answer_is_killed_and_replaced(make: Make) -> None:
    worker = make()
    await worker.start()
    fork_server = worker._fork_server
    assert fork_server is not None
    os.kill(fork_server.process.pid, signal.SIGSTOP)
    done = await probe(worker, 1.0)
    assert done.result.outcome is Outcome.UNAVAILABLE
    assert (await probe(worker)).result.ok


async def test_a_machine_without_processes_left_is_not_the_librarys_fault(make: Make) -> None:
    worker = make("import os\ndef no_fork():\n    raise BlockingIOError(11, 'no more processes')\nos.fork = no_fork")
    done = await probe(worker)
    assert done.result.outcome is Outcome.UNAVAILABLE
    assert "cannot fork" in done.result.detail
    assert worker.pid != 0


async def test_a_cancelled_probe_leaves_nothing(make: Make) -> None:
    worker = make("Session.ask_time = lambda self: time.sleep(1000)")
    await worker.start()
    before = descendants()
    task = asyncio.create_task(probe(worker))
    await until(lambda: len(descendants() - before) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: descendants() <= before)


# Answers only when eight copies wait for the answer.
MEET = """
def meet(self):
    open(os.path.join({folder}, "here-%d" % os.getpid()), "w").close()
    while len([name for name in os.listdir({folder}) if name.startswith("here-")]) < 8:
        time.sleep(0.01)
    self.observer.reach("time", 1)
Session.ask_time = meet
"""


async def test_several_targets_are_probed_at_once_with_one_client(make: Make, tmp_path: Path) -> None:
    worker = make(MEET.replace("{folder}", repr(str(tmp_path))))
    await worker.start()
    done = await asyncio.gather(*(probe(worker) for _ in range(8)))
    assert all(each.result.ok for each in done)


async def test_our_own_violent_death_takes_the_workers_along(tmp_path: Path) -> None:
    library = write_driver(
        tmp_path,
        f"def begin(h, p, c, w):\n    open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n    time.sleep(1000)\n",
    )
    script = f"""
import asyncio, sys
from pathlib import Path
from exporter.clients.libraries import Library
from exporter.clients.worker import Worker
worker = Worker("c", Library("fake", Path({str(library.driver)!r}), (3, 8), (3, 99)), sys.executable)
asyncio.run(worker.probe("127.0.0.1", 1, 9001, 60.0))
"""
    process = subprocess.Popen([sys.executable, "-c", script])  # noqa: ASYNC220 - it is waited for below
    try:
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        copy = int((tmp_path / "pid").read_text())
        assert alive(copy)
    finally:
        process.kill()
        process.wait()
    await until(lambda: not alive(copy))


async def test_many_probes_some_of_them_hung_leave_no_process_and_no_file(make: Make) -> None:
    worker = make(
        "Session.ask_time = lambda self: self.observer.reach('time', 1) if os.getpid() % 10 else time.sleep(1000)"
    )
    await worker.start()
    for _ in range(3):
        await asyncio.gather(*(probe(worker, 0.4) for _ in range(8)))
    processes, files = descendants(), descriptors()
    outcomes = []
    for _ in range(25):
        outcomes += [done.result.outcome for done in await asyncio.gather(*(probe(worker, 0.4) for _ in range(8)))]
    assert outcomes.count(Outcome.TIMEOUT) >= 5
    assert outcomes.count(Outcome.OK) + outcomes.count(Outcome.TIMEOUT) == len(outcomes)
    assert descendants() == processes
    assert descriptors() == files


async def test_a_client_without_an_environment_says_how_to_install_it_and_is_found_later(tmp_path: Path) -> None:
    worker = open_worker(ClientSpec("mine", "ib_insync"), tmp_path)
    done = await probe(worker)
    assert (done.result.outcome, done.connections) == (Outcome.UNAVAILABLE, 0)
    assert done.result.detail == "not installed: `ibkr-exporter clients install ib_insync` does it"
    found: list[str | None] = [None]
    later = Worker("mine", write_driver(tmp_path), lambda: found[0])
    assert (await probe(later)).result.outcome is Outcome.UNAVAILABLE
    found[0] = sys.executable
    assert (await probe(later)).result.ok
    await later.stop()


@pytest.mark.parametrize("path", sorted(RUNNER.parent.glob("*.py")), ids=lambda path: path.name)
def test_the_scripts_of_foreign_interpreters_keep_to_old_syntax(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=(3, 4) if path == RUNNER else (3, 8))


def test_an_old_python_says_that_it_is_too_old(tmp_path: Path) -> None:
    script = f"import runpy, sys; sys.version_info = (3, 6, 15); sys.argv = ['main.py', 'x', '--once']; runpy.run_path({str(RUNNER)!r}, run_name='__main__')"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert said.stdout == '{"unavailable": "Python 3.6 is too old: a client needs 3.8 or newer"}\n'
