"""What the process that decodes gives up before it touches a stranger's bytes.

Afterwards it can read and write the two pipes it has, and compute. Where the kernel knows no Landlock (before 5.13, or
switched off), the limits alone hold; they stay in force whatever code runs then.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct

MEMORY_BYTES = 512 * 1024 * 1024
"""Of address space: Python and FFmpeg's libraries map 130 MB, a decoder some hundred KB."""

NICENESS = 10
"""It may come late; listeners may not."""

NOBODY = 65_534

_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3 = 0x2008_0522
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # the same on every architecture
_FILE_ACCESS = (1 << 13) - 1  # all there was in Landlock's first version: reading, writing, executing, making, removing


def confine() -> None:
    """Give it up; modules and libraries must be loaded by now."""
    os.nice(NICENESS)
    os.chdir("/")
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    libc.capset(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24))  # such as those for ports below 1024
    _deny_files(libc)
    # No descriptor can be opened, whether file or socket; no process or thread begun; no core left with others' audio.
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _deny_files(libc: ctypes.CDLL) -> None:
    """By Landlock (landlock(7)): no file at all, and no tracing of processes that may more, such as the server."""
    attributes = struct.pack("Q", _FILE_ACCESS)
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset >= 0:
        libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)
