"""Run a command under what the systemd unit permits: system calls, address families, no writable code.

    python tests/shell/sandbox.py UNIT COMMAND...

The filter is made by libseccomp from the unit's own lines and from systemd-analyze's groups. What needs a booted systemd
(users, mounts, cgroups) is not here.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from errno import EPERM
from pathlib import Path

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | EPERM  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM)
EQUAL = 4  # SCMP_CMP_EQ
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}


class Comparison(ctypes.Structure):
    """scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def settings(unit: str, key: str) -> list[str]:
    """The words of every line of this key."""
    lines = (line.partition("=") for line in unit.splitlines())
    return [word for name, _, value in lines if name == key for word in value.split()]


def calls(groups: Sequence[str]) -> set[str]:
    """The system calls of `@group`s, the nested ones too."""
    found: set[str] = set()
    for group in groups:
        command = ["systemd-analyze", "syscall-filter", group, "--no-pager"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        words = [line.strip() for line in listed.stdout.splitlines()[1:] if line.strip()]
        nested = [word for word in words if word.startswith("@")]
        found |= {word for word in words if word[0] not in "#@"} | calls(nested)
    return found


def restrict(unit: str) -> None:
    """Put this process under the unit's filter."""
    words = settings(unit, "SystemCallFilter")
    first = next(index for index, word in enumerate(words) if word.startswith("~"))
    permitted = calls(words[:first]) - calls([word.lstrip("~") for word in words[first:]])
    seccomp, libc = ctypes.CDLL("libseccomp.so.2"), ctypes.CDLL(None)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(REFUSE))
    for name in permitted - {"socket"}:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0 and seccomp.seccomp_rule_add(context, ALLOW, number, 0):
            raise OSError(name)
    number = seccomp.seccomp_syscall_resolve_name(b"socket")
    for family in settings(unit, "RestrictAddressFamilies"):
        equal = Comparison(0, EQUAL, FAMILIES[family], 0)
        if seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 1, ctypes.byref(equal)):
            raise OSError(family)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if settings(unit, "MemoryDenyWriteExecute") == ["yes"]:
        libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)  # older kernels know it not; the filter is what matters most
    if seccomp.seccomp_load(context):
        msg = "the filter could not be loaded"
        raise OSError(msg)


if __name__ == "__main__":
    restrict(Path(sys.argv[1]).read_text("ascii"))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - what the caller asks for
