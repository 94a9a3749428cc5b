"""Import a library once, then probe with it in a copy of this process each time. Runs in the foreign interpreter.

The control channel is a Unix socket; one JSON object a line. Ours to the exporter:

    {"hello": {"library", "version", "python", "import_seconds", "forks"}}   forks false: threads forbid forking
    {"unavailable": TEXT}                          the library cannot be used here
    {"started": N, "pid": PID}                     probe N runs in that process, the leader of its own session
    {"reaped": N, "status": WAIT_STATUS, "cpu": S, "strays": COUNT}

The exporter's to us: {"probe": N, "host", "port", "client_id", "deadline"} with two descriptors, one for the lines of
the probe, one for whatever the library prints; and {"reap": N}: kill that session and every stray child, then say
"reaped". A process is only waited for when the exporter says so: until then its number cannot be another's.

The lines of a probe: {"stage": STAGE, "seconds": S} for each stage reached, {"end": OUTCOME, "stage", "cause",
"detail", "code", "seconds"}, and {"closed": true} after the connection has been closed in order.

With `--lazy` the library is imported anew in each copy, with `--once` in this very process, which takes one request
from standard input and writes its lines to standard output: for systems that cannot fork.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# The arithmetic libraries start a thread per processor at import, and a process with threads must not be forked.
SINGLE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1"}


def main(arguments, load):
    """Serve probes, or run one."""
    os.environ.update(SINGLE)
    ladder, driver = load(os.path.join(HERE, "probe.py")), load(arguments[0])
    if arguments[1] == "--once":
        return once(driver, ladder)
    channel = socket.socket(fileno=int(arguments[1]))
    outlive_nobody()
    lazy = "--lazy" in arguments
    started = time.monotonic()
    told = {"version": None} if lazy else imported(driver)
    if "unavailable" not in told:
        threads = 1 if lazy else thread_count()
        told.update(python=python_version(), import_seconds=round(time.monotonic() - started, 3))
        told = {"hello": dict(told, library=driver.LIBRARY, forks=threads == 1, threads=threads)}
    tell(channel, told)
    if "hello" in told and told["hello"]["forks"]:
        gc.collect()
        gc.freeze()  # the copies shall share the memory of the import, not touch it
        Server(channel, driver, ladder, lazy).run()
    return 0


def imported(driver):
    """What load() tells, or why it failed, with the Python version where that is the likely cause."""
    try:
        return driver.load()
    except BaseException as error:
        text = "%s: %s" % (type(error).__name__, error)
        oldest, newest = driver.PYTHONS
        if not oldest <= sys.version_info[:2] <= newest:
            span = "%d.%d to %d.%d" % (oldest + newest)
            text += "; %s needs Python %s, and this is %s" % (driver.LIBRARY, span, python_version())
        traceback.print_exc()
        return {"unavailable": "import %s failed: %s" % (driver.LIBRARY, text)}


def python_version():
    """Three numbers."""
    return "%d.%d.%d" % sys.version_info[:3]


def thread_count():
    """Threads of this process, those that Python does not know of included, where the system tells."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


def outlive_nobody():
    """On Linux: die with the parent, and inherit the children that escape from a probe."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def prctl(option, value):
    """Linux's prctl; nothing elsewhere."""
    if sys.platform.startswith("linux"):
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def tell(channel, message):
    """Send one line."""
    channel.sendall((json.dumps(message) + "\n").encode("ascii"))


class Server:
    """The loop of the process that holds the library."""

    def __init__(self, channel, driver, ladder, lazy):
        self.channel, self.driver, self.ladder, self.lazy = channel, driver, ladder, lazy
        self.buffer, self.descriptors, self.children = b"", [], {}

    def run(self):
        """Until the exporter closes the channel; then kill what is left."""
        try:
            while self.receive():
                while b"\n" in self.buffer:
                    line, self.buffer = self.buffer.split(b"\n", 1)
                    message = json.loads(line.decode("utf-8"))
                    if "probe" in message:
                        self.start(message)
                    else:
                        self.reap(message["reap"])
        finally:
            for number in list(self.children):
                self.bury(number)

    def receive(self):
        """Read what has come, descriptors too; False at the end."""
        size = 2 * 4
        data, ancillary, _, _ = self.channel.recvmsg(65536, socket.CMSG_SPACE(size))
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self.descriptors += [
                    int.from_bytes(content[i : i + 4], sys.byteorder) for i in range(0, len(content), 4)
                ]
        self.buffer += data
        return bool(data)

    def start(self, request):
        """Fork a copy that probes."""
        lines, noise = self.descriptors[:2]
        del self.descriptors[:2]
        started = time.monotonic()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # no processes left to us: nobody's fault but the machine's
            os.write(lines, (json.dumps({"unavailable": "cannot fork: %s" % error}) + "\n").encode("ascii"))
            pid = None
        if pid == 0:
            status = 70
            try:
                status = self.probe(request, lines, noise, started, parent)
            finally:
                os._exit(status)
        os.close(lines)
        os.close(noise)
        if pid is None:
            return
        self.children[request["probe"]] = pid
        tell(self.channel, {"started": request["probe"], "pid": pid})

    def probe(self, request, lines, noise, started, parent):
        """In the copy: stand alone, then climb."""
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return 71
        self.channel.close()
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (noise, 1), (noise, 2)):
            os.dup2(source, target)
        return climb(self.driver, self.ladder, request, lines, started, self.lazy)

    def reap(self, number):
        """Kill a probe's session and every stray, wait for them, and say how it ended."""
        told = self.bury(number)
        tell(self.channel, told)

    def bury(self, number):
        """End a probe and everything that it started."""
        pid = self.children.pop(number, None)
        if pid is None:
            return {"reaped": number, "status": None, "cpu": None, "strays": self.strays()}
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)  # it had no session of its own yet
        _, status, usage = os.wait4(pid, 0)
        return {
            "reaped": number,
            "status": status,
            "cpu": round(usage.ru_utime + usage.ru_stime, 6),
            "strays": self.strays(),
        }

    def strays(self):
        """Kill the children that are no probe, and count those that lived: they left their session and their parent.

        On Linux we inherit them; elsewhere they are out of reach.
        """
        count = 0
        while True:
            found = [pid for pid in children() if pid not in self.children.values()]
            for pid in found:
                with contextlib.suppress(OSError):
                    if os.waitpid(pid, os.WNOHANG) == (0, 0):
                        os.kill(pid, signal.SIGKILL)
                        os.waitpid(pid, 0)
                        count += 1
            if not found:
                return count


def children():
    """The numbers of our child processes, where the system tells."""
    try:
        with open("/proc/self/task/%d/children" % os.getpid()) as listing:
            return [int(pid) for pid in listing.read().split()]
    except OSError:
        return []


def climb(driver, ladder, request, lines, started, lazy):
    """One probe, its lines to the descriptor `lines`."""

    def say(line):
        os.write(lines, (json.dumps(line) + "\n").encode("ascii"))

    if lazy:
        before = time.monotonic()
        told = imported(driver)
        if "unavailable" in told:
            say({"end": "unavailable", "stage": "imported", "detail": told["unavailable"]})
            return 3
        seconds = round(time.monotonic() - before, 3)
        say(dict(told, stage="imported", seconds=seconds, python=python_version()))
    try:
        ladder.climb(driver, request, say, started)
    except Exception as error:
        traceback.print_exc()
        say({"end": "crashed", "stage": None, "detail": "%s: %s" % (type(error).__name__, error)})
        return 1
    return 0


def once(driver, ladder):
    """One probe in this process: the request from standard input, the lines to what was standard output."""
    lines = os.dup(1)
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    status = climb(driver, ladder, request, lines, time.monotonic(), lazy=True)
    os._exit(status)  # a library's threads may never end
