"""The end of the process: leaving it, or becoming its own successor."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from typing import NoReturn

# Seconds that threads have to end by themselves.
THREAD_GRACE_SECONDS = 0.5


def flush() -> None:
    """Get every line out."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # The reader has gone, or the stream is closed: nothing is left to save.
            continue


def leave(status: int) -> NoReturn:
    """Exit, promptly: a thread of the agent that does not end is left behind rather than waited for."""
    if all_end(staying_threads(), THREAD_GRACE_SECONDS):
        sys.exit(status)
    flush()
    os._exit(status)


def staying_threads() -> list[threading.Thread]:
    """The threads that would keep the process alive."""
    return [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]


def all_end(threads: Iterable[threading.Thread], grace_seconds: float) -> bool:
    """Whether all of `threads` end within the grace."""
    deadline = time.monotonic() + grace_seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            return False
    return True


def successor_arguments(original: Sequence[str], *, asked_port: int, bound_port: int) -> list[str]:
    """The command line of the successor: the same one, and the same port where the system had picked it."""
    arguments = list(original)
    if asked_port == 0:
        arguments += ["--port", str(bound_port)]
    return arguments


def succeed(arguments: Sequence[str], directory: str) -> NoReturn:
    """Become a new process of the same program, in the same process where the platform can. Raises OSError.

    `arguments`: everything after the interpreter.
    """
    os.chdir(directory)
    flush()
    command = [sys.executable, *arguments]
    if os.name == "posix":
        os.execv(sys.executable, command)
    subprocess.Popen(command)
    os._exit(0)
