"""Import a library once, then fork a copy of this process for each probe. Runs in the foreign interpreter.

The control channel is a Unix socket with one JSON object a line. We send:

    {"hello": {"library", "version", "python", "import_seconds", "forks"}}   forks false: threads forbid forking
    {"unavailable": TEXT}                          the library cannot be used here
    {"started": N, "pid": PID}                     probe N runs in that process, the leader of its own session
    {"reaped": N, "status": WAIT_STATUS, "cpu": S, "orphans": COUNT}

We receive {"probe": N, "host", "port", "client_id", "deadline", ...} (see probe.py) with two descriptors, one for the
lines of the probe and one for the output of the library; and {"reap": N}: kill that session and every orphan, then send
"reaped". An orphan is a child of a probe that left the probe's session and lost its parent. We wait for a process only
when the exporter asks for it: until then the system gives its number to no other process.

The lines of a probe: {"stage": STAGE, "seconds": S} for each stage reached, {"end": OUTCOME, "stage", "cause",
"detail", "code", "seconds"}, and {"closed": true} after the connection has been closed in order.

With `--lazy` each copy imports the library. With `--once` this process imports it, reads one request from standard
input and writes its lines to standard output: for systems that cannot fork.
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

from .probe import run_probe

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# The arithmetic libraries start a thread per processor at import, and a process with threads must not be forked.
SINGLE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1"}


def main(driver, arguments):
    """Serve probes, or run one. `arguments` are those of main.py after the driver's path."""
    os.environ.update(SINGLE)
    if arguments[0] == "--once":
        return once(driver)
    channel = socket.socket(fileno=int(arguments[0]))
    die_with_parent()
    adopt_orphans()
    lazy = "--lazy" in arguments
    started = time.monotonic()
    loaded = {"version": None} if lazy else load_library(driver)
    if "unavailable" in loaded:
        send(channel, loaded)
        return 0
    forks = lazy or thread_count() == 1
    seconds = round(time.monotonic() - started, 3)
    hello = dict(loaded, library=driver.LIBRARY, python=python_version(), import_seconds=seconds, forks=forks)
    send(channel, {"hello": hello})
    if forks:
        gc.collect()
        gc.freeze()  # the copies share the memory of the import as long as nothing touches it
        Server(channel, driver, lazy).run()
    return 0


def load_library(driver):
    """What load() returns, or why it failed, with the Python version where that is the likely cause."""
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
    return "%d.%d.%d" % sys.version_info[:3]


def thread_count():
    """Threads of this process; where /proc exists, also those that Python did not start."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


def die_with_parent():
    """Have the system kill this process when its parent dies (Linux only)."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans():
    """Become the parent of the children that leave a probe's session (Linux only)."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def forbid_core_dumps():
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def prctl(option, value):
    """Linux's prctl; nothing elsewhere."""
    if sys.platform.startswith("linux"):
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def send(channel, message):
    channel.sendall((json.dumps(message) + "\n").encode("ascii"))


class Server:
    """The loop of the process that holds the library."""

    def __init__(self, channel, driver, lazy):
        self.channel, self.driver, self.lazy = channel, driver, lazy
        self.buffer, self.descriptors, self.children = b"", [], {}

    def run(self):
        """Serve until the exporter closes the channel; then kill what is left."""
        try:
            while self.receive():
                while b"\n" in self.buffer:
                    line, self.buffer = self.buffer.split(b"\n", 1)
                    message = json.loads(line.decode("utf-8"))
                    if "probe" in message:
                        self.start(message)
                    else:
                        send(self.channel, self.reap(message["reap"]))
        finally:
            for number in list(self.children):
                self.reap(number)
            self.kill_orphans()  # also what started before us, where the interpreter is a script

    def receive(self):
        """Read bytes and descriptors; False at the end of the stream."""
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
        lines, output = self.descriptors[:2]
        del self.descriptors[:2]
        started = time.monotonic()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # the machine allows no more processes
            os.write(lines, (json.dumps({"unavailable": "cannot fork: %s" % error}) + "\n").encode("ascii"))
            pid = None
        if pid == 0:
            status = 70
            try:
                status = self.probe(request, lines, output, started, parent)
            finally:
                os._exit(status)
        os.close(lines)
        os.close(output)
        if pid is None:
            return
        self.children[request["probe"]] = pid
        send(self.channel, {"started": request["probe"], "pid": pid})

    def probe(self, request, lines, output, started, parent):
        """In the copy: leave the parent's session, redirect the standard streams, then probe."""
        os.setsid()
        die_with_parent()
        if os.getppid() != parent:
            return 71
        self.channel.close()
        null = os.open(os.devnull, os.O_RDWR)
        if request.get("download"):  # what a library prints or dumps may quote positions and balances
            output = null
            forbid_core_dumps()
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        return probe(self.driver, request, lines, started, self.lazy)

    def reap(self, number):
        """Kill a probe's session and all orphans, and return how the probe ended."""
        pid = self.children.pop(number, None)
        if pid is None:
            return {"reaped": number, "status": None, "cpu": None, "orphans": self.kill_orphans()}
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)  # it had not yet made a session of its own
        _, status, usage = os.wait4(pid, 0)
        cpu = round(usage.ru_utime + usage.ru_stime, 6)
        return {"reaped": number, "status": status, "cpu": cpu, "orphans": self.kill_orphans()}

    def kill_orphans(self):
        """Kill the children that are no probe, and count those that still ran. Only Linux makes us their parent."""
        count = 0
        while True:
            orphans = [pid for pid in children() if pid not in self.children.values()]
            for pid in orphans:
                with contextlib.suppress(OSError):
                    if os.waitpid(pid, os.WNOHANG) == (0, 0):
                        os.kill(pid, signal.SIGKILL)
                        os.waitpid(pid, 0)
                        count += 1
            if not orphans:
                return count


def children():
    """The process ids of our children, where /proc lists them."""
    try:
        with open("/proc/self/task/%d/children" % os.getpid()) as listing:
            return [int(pid) for pid in listing.read().split()]
    except OSError:
        return []


def probe(driver, request, lines, started, lazy):
    """Run one probe and write its lines to the descriptor `lines`."""

    def write_line(line):
        os.write(lines, (json.dumps(line) + "\n").encode("ascii"))

    if lazy:
        before = time.monotonic()
        loaded = load_library(driver)
        if "unavailable" in loaded:
            write_line({"end": "unavailable", "stage": "imported", "detail": loaded["unavailable"]})
            return 3
        seconds = round(time.monotonic() - before, 3)
        write_line(dict(loaded, stage="imported", seconds=seconds, python=python_version()))
    try:
        run_probe(driver, request, write_line, started)
    except Exception as error:
        traceback.print_exc()
        text = "" if request.get("download") else ": %s" % error
        write_line({"end": "crashed", "stage": None, "detail": type(error).__name__ + text})
        return 1
    return 0


def once(driver):
    """Run one probe in this process: the request from standard input, the lines to what was standard output."""
    lines = os.dup(1)
    request = json.loads(sys.stdin.readline())
    if request.get("download"):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.dup2(2, 1)
    status = probe(driver, request, lines, time.monotonic(), lazy=True)
    os._exit(status)  # a library's threads may never end
