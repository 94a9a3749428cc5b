"""Drivers that misbehave, written as files and run by a real interpreter."""

import sys
import textwrap
from pathlib import Path

from exporter.clients.libraries import Library
from exporter.clients.worker import Worker

GOOD = """
import os, signal, subprocess, sys, threading, time
LIBRARY, PYTHONS = "fake", ((3, 8), (3, 99))

def load():
    return {"version": "1.2.3"}

class Session:
    def __init__(self, observer):
        self.observer = observer
        observer.opened = True
    def ask_time(self):
        self.observer.reach("time", 1)
    def ask_contract(self):
        self.observer.reach("contract", "")
    def close(self, seconds):
        pass

def begin(host, port, client_id, observer):
    observer.reach("connected", 176)
    observer.reach("ready")
    observer.reach("accounts", ["DU1234567"])
    return Session(observer)
"""

# Keeps a process alive that has left its session and holds every descriptor; its number goes to the file in {path}.
ESCAPE = """
def escape(path):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open(path, "w").write(str(os.getpid()))
            time.sleep(1000)
        os._exit(0)
    while not (os.path.exists(path) and open(path).read()):
        time.sleep(0.01)
"""


def write_driver(folder: Path, extra: str = "", name: str = "fake") -> Library:
    """A driver that works, with `extra` behind it to change that."""
    path = folder / f"{name}_driver.py"
    path.write_text(textwrap.dedent(GOOD) + textwrap.dedent(extra), "utf-8")
    return Library(name, path, (3, 8), (3, 99))


def make_worker(folder: Path, extra: str = "", *, fork: bool = True, import_limit: float = 20.0) -> Worker:
    """A client with such a driver, in this very interpreter."""
    library = write_driver(folder, extra)
    return Worker("fake-client", library, sys.executable, fork=fork, import_limit=import_limit)
