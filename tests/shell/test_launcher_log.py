import asyncio
import os
import random
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.probes.launcher_log import MOST, NOTHING, LogFollower, Snapshot, read_log
from exporter.protocol.launcher_log import Login, LoginPhase, LogProblem
from tests.shell.support import PATIENCE

IDLE = b"2026-08-28 22:35:02.112 INFO  [JTS-Main] - instance of control is not created yet\n"
LOGGING_IN = b"2026-08-28 22:30:02.112 INFO  [JTS-Main] - LauncherLoginThread.runLoginWithUI()[loginAttempt=1]\n"
CHALLENGE = b"2026-08-28 22:30:05.000 INFO  [JTS-Main] - Received CHALLENGE\n"
HEARTBEAT = b"2026-08-28 22:30:25.000 INFO  [JTS-Main] - something that happens\n"
LOGGED_IN = b"2026-08-28 22:30:40.000 INFO  [JTS-Main] - Switching to a new encrypted log\n"
NOBODY = 65534


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may read everything, so these tests run as the user `nobody`."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    yield
    if root:
        os.seteuid(0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "launcher.log"


def write(path: Path, data: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(data)


def phase(log: Path) -> str:
    return read_log(log).login.phase.value


def test_a_log_is_followed_as_it_grows_even_by_pieces_of_lines(log: Path) -> None:
    write(log, LOGGING_IN)
    assert phase(log) == "logging_in"
    write(log, CHALLENGE[:50])
    assert phase(log) == "logging_in"
    write(log, CHALLENGE[50:])
    assert phase(log) == "waiting_two_factor"
    write(log, LOGGED_IN)
    assert phase(log) == "logged_in"


def test_the_phase_begins_when_its_line_was_written(log: Path) -> None:
    write(log, LOGGING_IN + CHALLENGE + HEARTBEAT)
    os.utime(log, (1e9, 1e9))
    assert read_log(log).login == Login(LoginPhase.WAITING_TWO_FACTOR, 1e9 - 20)


def test_a_log_that_has_not_changed_is_not_opened_again(log: Path) -> None:
    write(log, IDLE)
    snapshot = read_log(log)
    os.utime(log, ns=(0, log.stat().st_mtime_ns))
    assert read_log(log, snapshot) is snapshot
    assert log.stat().st_atime_ns == 0


def test_only_the_end_of_a_gigabyte_is_read_in_little_memory(log: Path) -> None:
    with log.open("wb") as stream:
        stream.write(CHALLENGE)
        stream.truncate(1 << 30)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\n" + IDLE)
    tracemalloc.start()
    snapshot = read_log(log)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert snapshot.login.phase is LoginPhase.IDLE
    assert peak < 8 * MOST


def test_a_gigabyte_without_a_line_is_passed_over(log: Path) -> None:
    with log.open("wb") as stream:
        stream.truncate(1 << 30)
    assert phase(log) == "unknown"
    write(log, b"end of that line\n" + CHALLENGE)
    assert phase(log) == "waiting_two_factor"


def test_of_a_flood_only_the_end_is_read(log: Path) -> None:
    write(log, CHALLENGE + HEARTBEAT * (2 * MOST // len(HEARTBEAT)))
    assert phase(log) == "unknown"
    write(log, LOGGING_IN)
    assert phase(log) == "logging_in"


def test_a_line_that_was_cut_by_the_limit_is_not_taken_for_a_whole_one(log: Path) -> None:
    tail = HEARTBEAT * ((MOST - 40) // len(HEARTBEAT))
    cut = CHALLENGE[-(MOST - len(tail)) :]
    assert b"Received CHALLENGE" in cut
    write(log, b"y" * 1000 + b"Received CHALLENGE and more\n"[:0] + CHALLENGE.rstrip()[: -len(cut)] + cut + tail)
    assert phase(log) == "unknown"


def test_binary_rubbish_does_no_harm_and_what_follows_is_read(log: Path) -> None:
    write(log, LOGGING_IN)
    write(log, random.Random(4).randbytes(MOST // 2))  # noqa: S311 - rubbish
    assert phase(log) == "logging_in"
    write(log, b"\n" + CHALLENGE)
    assert phase(log) == "waiting_two_factor"


def test_a_rotated_log_counts_until_the_new_one_says_more(log: Path) -> None:
    write(log, LOGGING_IN + CHALLENGE)
    log.rename(log.with_name("launcher.20260828.log"))
    assert phase(log) == "waiting_two_factor"  # the new one is not there yet
    write(log, HEARTBEAT)
    assert phase(log) == "waiting_two_factor"
    write(log, LOGGED_IN)
    assert phase(log) == "logged_in"


def test_a_new_log_that_is_long_stands_for_itself(log: Path) -> None:
    write(log.with_name("launcher.20260828.log"), CHALLENGE)
    write(log, HEARTBEAT * (MOST // len(HEARTBEAT) + 1))
    assert phase(log) == "unknown"


def test_a_log_that_was_rotated_before_we_started_still_counts(log: Path) -> None:
    write(log.with_name("launcher.20260827.log"), CHALLENGE)
    write(log.with_name("launcher.20260828.log"), LOGGED_IN)
    write(log.with_name("launcher.2026.log"), IDLE)
    os.utime(log.with_name("launcher.20260827.log"), (1e9, 1e9))
    write(log, HEARTBEAT)
    assert phase(log) == "logged_in"


@pytest.mark.parametrize("longer", [b"", HEARTBEAT * 9], ids=["shorter", "longer"])
def test_a_log_that_was_emptied_and_written_again_is_read_from_its_beginning(log: Path, longer: bytes) -> None:
    write(log, HEARTBEAT * 3 + IDLE)
    snapshot = read_log(log)
    log.write_bytes(CHALLENGE + longer)  # the same inode
    assert read_log(log, snapshot).login.phase is LoginPhase.WAITING_TWO_FACTOR


def test_another_file_under_the_name_is_read(log: Path) -> None:
    write(log, HEARTBEAT * 3 + IDLE)
    snapshot = read_log(log)
    other = log.with_name("other")
    write(other, HEARTBEAT * 3 + CHALLENGE[: len(IDLE) - 1] + b"\n")  # of the same size
    other.replace(log)
    assert read_log(log, snapshot) != snapshot


def test_a_log_that_vanished_says_nothing_until_it_is_back(log: Path) -> None:
    write(log, LOGGED_IN)
    snapshot = read_log(log)
    hidden = log.with_name("hidden")
    log.rename(hidden)
    assert read_log(log, snapshot).login == Login(problem=LogProblem.MISSING)
    hidden.rename(log)
    assert phase(log) == "logged_in"


def test_a_log_that_never_was_is_missing_at_once(log: Path) -> None:
    assert read_log(log).login.problem is LogProblem.MISSING


def test_neither_a_directory_nor_a_pipe_nor_a_device_is_read_or_waited_for(log: Path) -> None:
    log.mkdir()
    assert read_log(log).login.problem is LogProblem.NOT_A_FILE
    log.rmdir()
    os.mkfifo(log)
    assert read_log(log).login.problem is LogProblem.NOT_A_FILE
    assert read_log(Path("/dev/zero")).login.problem is LogProblem.NOT_A_FILE
    log.unlink()
    write(log, CHALLENGE)
    assert phase(log) == "waiting_two_factor"


@pytest.fixture
def locked(log: Path) -> Path:
    write(log, CHALLENGE)
    log.chmod(0)
    return log


def test_a_log_that_may_not_be_read_says_so(locked: Path, unprivileged: None) -> None:
    assert read_log(locked).login.problem is LogProblem.FORBIDDEN


def test_paths_that_no_system_call_takes_are_unreadable(tmp_path: Path) -> None:
    loop = tmp_path / "launcher.log"
    loop.symlink_to(loop)
    assert read_log(loop).login.problem is LogProblem.UNREADABLE
    assert read_log(Path("a\0b")).login.problem is LogProblem.UNREADABLE


def test_no_descriptor_is_left_open(log: Path) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    write(log, CHALLENGE)
    before = opened()
    for number in range(20):
        phase(log)
        if number % 3 == 0:
            log.rename(log.with_name(f"launcher.{number:08}.log"))
        write(log, HEARTBEAT)
    assert opened() == before


def test_a_writer_that_rotates_and_stops_at_any_point_is_followed_to_the_same_phase(log: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - the same each time
    for _ in range(100):
        for old in log.parent.iterdir():
            old.unlink()
        snapshot, last = NOTHING, b""
        for number in range(30):
            last = chance.choice([LOGGING_IN, CHALLENGE, LOGGED_IN, IDLE])
            cut = chance.randrange(len(last))
            write(log, last[:cut])
            snapshot = read_log(log, snapshot) if chance.random() < 0.5 else snapshot
            write(log, last[cut:])
            if chance.random() < 0.2:
                log.rename(log.with_name(f"launcher.{number:08}.log"))
                snapshot = read_log(log, snapshot) if chance.random() < 0.5 else snapshot
                write(log, HEARTBEAT)
            snapshot = read_log(log, snapshot) if chance.random() < 0.7 else snapshot
        expected = {LOGGING_IN: "logging_in", CHALLENGE: "waiting_two_factor", LOGGED_IN: "logged_in", IDLE: "idle"}
        assert read_log(log, snapshot).login.phase.value == expected[last]


async def test_a_follower_reads_once_at_a_time_and_says_that_a_hanging_read_is_stuck(log: Path) -> None:
    write(log, CHALLENGE)
    gate = threading.Event()

    def hang(path: Path, before: Snapshot) -> Snapshot:
        gate.wait(PATIENCE)
        return read_log(path, before)

    follower = LogFollower(str(log), patience=0.01, read=hang)
    assert await follower.login() == await follower.login() == Login(problem=LogProblem.STUCK)
    assert [thread.name for thread in threading.enumerate()].count(f"read {log}") == 1
    gate.set()
    async with asyncio.timeout(PATIENCE):
        while (login := await follower.login()).problem is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert login.phase is LoginPhase.WAITING_TWO_FACTOR


async def test_only_the_first_to_meet_a_hanging_read_waits_for_it(log: Path) -> None:
    gate = threading.Event()

    def hang(path: Path, before: Snapshot) -> Snapshot:
        gate.wait(PATIENCE)
        return before

    follower = LogFollower(str(log), patience=0.2, read=hang)
    began = time.perf_counter()
    await follower.login()
    assert time.perf_counter() - began >= 0.2
    follower._patience = PATIENCE
    async with asyncio.timeout(PATIENCE / 2):
        for _ in range(2):
            assert (await follower.login()).problem is LogProblem.STUCK
    gate.set()


async def test_our_own_fault_in_a_read_is_raised_and_the_next_read_is_a_new_one(log: Path) -> None:
    write(log, CHALLENGE)
    faults = [ZeroDivisionError()]

    def fail(path: Path, before: Snapshot) -> Snapshot:
        if faults:
            raise faults.pop()
        return read_log(path, before)

    follower = LogFollower(str(log), read=fail)
    with pytest.raises(ZeroDivisionError):
        await follower.login()
    assert (await follower.login()).phase is LoginPhase.WAITING_TWO_FACTOR


async def test_a_follower_follows(log: Path) -> None:
    follower = LogFollower(str(log))
    assert (await follower.login()).problem is LogProblem.MISSING
    write(log, CHALLENGE)
    assert (await follower.login()).phase is LoginPhase.WAITING_TWO_FACTOR


async def test_a_follower_that_is_given_up_leaves_no_error_behind(log: Path) -> None:
    write(log, CHALLENGE)
    follower = LogFollower(str(log))
    waiting = asyncio.create_task(follower.login())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await follower.login()).phase is LoginPhase.WAITING_TWO_FACTOR
