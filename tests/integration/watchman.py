"""Ends what a test has started, also where the test itself is killed: a process that waits for its parent's end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.chaos import MARK, wipe_out
from tests.integration.manager_process import ROOT


@contextmanager
def watched(mark: str) -> Iterator[None]:
    """When the scope or this process ends, in whatever way, every process with that mark ends too."""
    command = [sys.executable, "-m", "tests.integration.watchman", mark]
    # It is not to end itself.
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    environment["PYTHONPATH"] = str(ROOT)
    # A session of its own: Ctrl-C at the terminal is for the test, and this is for what comes after it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, env=environment, start_new_session=True):
        # Leaving closes the pipe, which the kernel does too, and waits until all is gone.
        yield


if __name__ == "__main__":
    sys.stdin.read()
    wipe_out(sys.argv[1])
