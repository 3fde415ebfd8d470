"""Stacks on demand: SIGUSR1 makes every thread's stack appear in the log, even while the event loop is blocked."""

from __future__ import annotations

import faulthandler
import signal
import sys


def enable_stack_dumps() -> None:
    """Take the signal over. Where there is no such signal (Windows), nothing asks for stacks."""
    if sys.platform != "win32":
        # The file descriptor and not sys.stderr, which a log of our own may have replaced.
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
