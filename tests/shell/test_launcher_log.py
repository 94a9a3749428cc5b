import asyncio
import os
import random
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.probes.launcher_log import MOST, LogFollower, Place, read_tail
from exporter.protocol.launcher_log import Login, LoginPhase, LogProblem

IDLE = b"2026-08-28 22:35:02.112 INFO  [JTS-Main] - instance of control is not created yet\n"
LOGGING_IN = b"2026-08-28 22:30:02.112 INFO  [JTS-Main] - LauncherLoginThread.runLoginWithUI()[loginAttempt=1]\n"
CHALLENGE = b"2026-08-28 22:30:05.000 INFO  [JTS-Main] - Received CHALLENGE\n"
HEARTBEAT = b"2026-08-28 22:30:25.000 INFO  [JTS-Main] - something that happens\n"
LOGGED_IN = b"2026-08-28 22:30:40.000 INFO  [JTS-Main] - Switching to a new encrypted log\n"
NOBODY = 65534


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may read everything: be nobody for a while."""
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


def phase(place: Place) -> str:
    return place.login.phase.value


def test_a_log_is_followed_as_it_grows_even_by_pieces_of_lines(log: Path) -> None:
    write(log, LOGGING_IN)
    place = read_tail(Place(log))
    assert phase(place) == "logging_in"
    write(log, CHALLENGE[:50])
    place = read_tail(place)
    assert phase(place) == "logging_in"
    write(log, CHALLENGE[50:])
    place = read_tail(place)
    assert phase(place) == "waiting_two_factor"
    write(log, LOGGED_IN)
    assert phase(read_tail(place)) == "logged_in"


def test_the_phase_begins_when_its_line_was_written(log: Path) -> None:
    write(log, LOGGING_IN + CHALLENGE + HEARTBEAT)
    os.utime(log, (1e9, 1e9))
    assert read_tail(Place(log)).login == Login(LoginPhase.WAITING_TWO_FACTOR, 1e9 - 20)


def test_what_has_been_read_is_not_opened_again(log: Path) -> None:
    write(log, IDLE)
    place = read_tail(Place(log))
    before = log.stat().st_atime_ns
    os.utime(log, ns=(0, log.stat().st_mtime_ns))
    assert read_tail(place) == place
    assert log.stat().st_atime_ns == 0 < before


def test_only_the_end_of_a_gigabyte_is_read_in_little_time_and_memory(log: Path) -> None:
    with log.open("wb") as stream:
        stream.write(CHALLENGE)
        stream.truncate(1 << 30)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\n" + IDLE)
    tracemalloc.start()
    began = time.perf_counter()
    place = read_tail(Place(log))
    took = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert phase(place) == "idle"
    assert took < 0.5
    assert peak < 8 * MOST


def test_a_gigabyte_without_a_line_is_passed_over(log: Path) -> None:
    with log.open("wb") as stream:
        stream.truncate(1 << 30)
    place = read_tail(Place(log))
    assert (phase(place), place.offset) == ("unknown", 1 << 30)
    write(log, b"end of that line\n" + CHALLENGE)
    assert phase(read_tail(place)) == "waiting_two_factor"


def test_of_a_flood_between_two_looks_only_the_end_is_read(log: Path) -> None:
    write(log, IDLE)
    place = read_tail(Place(log))
    write(log, CHALLENGE + b"x" * 99 + b"\n" + HEARTBEAT * (2 * MOST // len(HEARTBEAT)) + LOGGING_IN)
    place = read_tail(place)
    assert (phase(place), place.offset) == ("logging_in", log.stat().st_size)


def test_a_line_that_was_cut_by_the_limit_is_not_taken_for_a_whole_one(log: Path) -> None:
    tail = HEARTBEAT * ((MOST - 40) // len(HEARTBEAT))
    cut = CHALLENGE[-(MOST - len(tail)) :]
    assert b"Received CHALLENGE" in cut
    write(log, b"y" * 1000 + b"Received CHALLENGE and more\n"[:0] + CHALLENGE.rstrip()[: -len(cut)] + cut + tail)
    assert phase(read_tail(Place(log))) == "unknown"


def test_binary_rubbish_does_no_harm_and_what_follows_is_read(log: Path) -> None:
    write(log, LOGGING_IN)
    place = read_tail(Place(log))
    write(log, random.Random(4).randbytes(3 * MOST))  # noqa: S311 - rubbish
    place = read_tail(place)
    assert phase(place) == "logging_in"
    write(log, b"\n" + CHALLENGE)
    assert phase(read_tail(place)) == "waiting_two_factor"


@pytest.mark.parametrize("between", [False, True], ids=["at once", "with a look between"])
def test_a_rotated_log_is_read_to_its_end_and_then_the_new_one(log: Path, between: bool) -> None:  # noqa: FBT001
    write(log, LOGGING_IN)
    place = read_tail(Place(log))
    write(log, CHALLENGE)
    log.rename(log.with_name("launcher.20260828.log"))
    if between:
        place = read_tail(place)
        assert (phase(place), place.login.problem) == ("logging_in", None)
    write(log, HEARTBEAT)
    place = read_tail(place)
    assert phase(place) == "waiting_two_factor"
    write(log, LOGGED_IN)
    assert phase(read_tail(place)) == "logged_in"


def test_a_log_that_was_rotated_before_we_started_still_counts(log: Path) -> None:
    write(log.with_name("launcher.20260827.log"), CHALLENGE)
    write(log.with_name("launcher.20260828.log"), LOGGED_IN)
    write(log.with_name("launcher.2026.log"), IDLE)
    os.utime(log.with_name("launcher.20260827.log"), (1e9, 1e9))
    write(log, HEARTBEAT)
    assert phase(read_tail(Place(log))) == "logged_in"


@pytest.mark.parametrize("longer", [b"", HEARTBEAT * 9], ids=["shorter", "longer"])
def test_a_log_that_was_emptied_and_written_anew_is_read_from_its_beginning(log: Path, longer: bytes) -> None:
    write(log, HEARTBEAT * 3 + IDLE)
    place = read_tail(Place(log))
    log.write_bytes(CHALLENGE + longer)  # the same inode
    assert phase(read_tail(place)) == "waiting_two_factor"


def test_another_file_under_the_name_is_read_from_its_beginning(log: Path) -> None:
    write(log, HEARTBEAT * 3 + IDLE)
    place = read_tail(Place(log))
    other = log.with_name("other")
    write(other, CHALLENGE + HEARTBEAT * 20)
    other.replace(log)
    assert phase(read_tail(place)) == "waiting_two_factor"


def test_a_log_that_vanished_says_nothing_from_the_second_look_on_and_again_when_it_is_back(log: Path) -> None:
    write(log, LOGGED_IN)
    place = read_tail(Place(log))
    hidden = log.with_name("hidden")
    log.rename(hidden)
    place = read_tail(place)
    assert phase(place) == "logged_in"
    place = read_tail(place)
    assert place.login == Login(problem=LogProblem.MISSING)
    hidden.rename(log)
    place = read_tail(place)
    assert (phase(place), place.login.problem) == ("logged_in", None)


def test_a_log_that_never_was_is_missing_at_once(log: Path) -> None:
    assert read_tail(Place(log)).login.problem is LogProblem.MISSING


def test_neither_a_directory_nor_a_pipe_nor_a_device_is_read_or_waited_for(log: Path) -> None:
    log.mkdir()
    assert read_tail(Place(log)).login.problem is LogProblem.NOT_A_FILE
    log.rmdir()
    os.mkfifo(log)
    assert read_tail(Place(log)).login.problem is LogProblem.NOT_A_FILE
    assert read_tail(Place(Path("/dev/zero"))).login.problem is LogProblem.NOT_A_FILE
    log.unlink()
    write(log, CHALLENGE)
    assert phase(read_tail(read_tail(Place(log)))) == "waiting_two_factor"


@pytest.fixture
def locked(log: Path) -> Path:
    write(log, CHALLENGE)
    log.chmod(0)
    return log


def test_a_log_that_may_not_be_read_says_so(locked: Path, unprivileged: None) -> None:
    assert read_tail(Place(locked)).login.problem is LogProblem.FORBIDDEN


def test_paths_that_no_system_call_takes_are_unreadable(tmp_path: Path) -> None:
    loop = tmp_path / "launcher.log"
    loop.symlink_to(loop)
    assert read_tail(Place(loop)).login.problem is LogProblem.UNREADABLE
    assert read_tail(Place(Path("a\0b"))).login.problem is LogProblem.UNREADABLE


def test_no_descriptor_is_left_open(log: Path) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    write(log, CHALLENGE)
    before, place = opened(), Place(log)
    for number in range(20):
        place = read_tail(place)
        if number % 3 == 0:
            log.rename(log.with_name(f"launcher.{number:08}.log"))
        write(log, HEARTBEAT)
    assert opened() == before


def test_a_writer_that_rotates_and_stops_at_any_point_is_followed_to_the_same_phase(log: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - the same each time
    for _ in range(100):
        for old in log.parent.iterdir():
            old.unlink()
        place, last = Place(log), b""
        for number in range(30):
            last = chance.choice([LOGGING_IN, CHALLENGE, LOGGED_IN, IDLE])
            cut = chance.randrange(len(last))
            write(log, last[:cut])
            place = read_tail(place) if chance.random() < 0.5 else place
            write(log, last[cut:])
            if chance.random() < 0.2:
                log.rename(log.with_name(f"launcher.{number:08}.log"))
                place = read_tail(place) if chance.random() < 0.5 else place
                write(log, HEARTBEAT)
            if chance.random() < 0.1:
                place = read_tail(place)
                log.write_bytes(HEARTBEAT[: chance.randrange(9)] + b"\n")
            place = read_tail(place) if chance.random() < 0.7 else place
        expected = {LOGGING_IN: "logging_in", CHALLENGE: "waiting_two_factor", LOGGED_IN: "logged_in", IDLE: "idle"}
        assert phase(read_tail(place)) == expected[last]


async def test_a_follower_looks_once_at_a_time_and_says_that_a_hanging_look_is_stuck(log: Path) -> None:
    write(log, CHALLENGE)
    gate, looks = threading.Event(), []

    def hang(place: Place) -> Place:
        looks.append(place)
        gate.wait(10)
        return read_tail(place)

    follower = LogFollower(str(log), patience=0.01, read_tail=hang)
    assert await follower.login() == await follower.login() == Login(problem=LogProblem.STUCK)
    assert len(looks) == 1
    gate.set()
    login = Login(problem=LogProblem.STUCK)
    for _ in range(1000):
        if login.problem is None:
            break
        await asyncio.sleep(0.01)
        login = await follower.login()
    assert login.phase is LoginPhase.WAITING_TWO_FACTOR


async def test_only_the_first_to_meet_a_hanging_look_waits_for_it(log: Path) -> None:
    gate = threading.Event()

    def hang(place: Place) -> Place:
        gate.wait(10)
        return place

    follower = LogFollower(str(log), patience=0.2, read_tail=hang)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        await follower.login()
        took.append(time.perf_counter() - began)
    gate.set()
    assert took[0] >= 0.2
    assert max(took[1:]) < 0.1


async def test_our_own_fault_in_a_look_is_raised_and_the_next_look_is_a_new_one(log: Path) -> None:
    write(log, CHALLENGE)
    faults = [ZeroDivisionError()]

    def fail(place: Place) -> Place:
        if faults:
            raise faults.pop()
        return read_tail(place)

    follower = LogFollower(str(log), read_tail=fail)
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
