"""Two things of Linux that Python has no function for."""

from __future__ import annotations

import ctypes
import os
import sys

from agent_service.forkserver.profiles import MARK_VARIABLE

_PR_SET_CHILD_SUBREAPER = 36
# The longest instance id there may be.
_MARK_BYTES = 128
_BLANK = "." * _MARK_BYTES


def become_subreaper() -> None:
    """From now on processes whose parent ends before them become our children. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def ensure_mark_space() -> None:
    """Start over, in this same process, with room for an instance id in the initial environment, if there is none."""
    if os.environ.get(MARK_VARIABLE) != _BLANK:
        # SPT_NOENV tells setproctitle to leave that part of the memory alone.
        environment = {**os.environ, MARK_VARIABLE: _BLANK, "SPT_NOENV": "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


class Mark:
    """Writes an instance id into the memory that the kernel shows as /proc/PID/environ.

    That is the environment with which a process was started: a forked adapter would show its server's. Set before the
    fork, so that the child is known by it from its first moment, and with it whatever the child forks.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_void_p
        self._address: int = libc.getenv(MARK_VARIABLE.encode())

    def set(self, instance_id: str) -> None:
        """Show this id."""
        ctypes.memmove(self._address, instance_id.encode().ljust(_MARK_BYTES, b"\0"), _MARK_BYTES)

    def clear(self) -> None:
        """Show none."""
        self.set("")
