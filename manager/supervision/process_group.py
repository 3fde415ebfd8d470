"""Signals to a process and to its group, harmless where they are gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import Any

import psutil

if sys.platform == "win32":

    def terminate(pid: int) -> None:
        """Ask the process to end."""
        with contextlib.suppress(psutil.Error):
            psutil.Process(pid).send_signal(signal.CTRL_BREAK_EVENT)

    def kill(pid: int) -> None:
        """End the process at once."""
        with contextlib.suppress(psutil.Error):
            psutil.Process(pid).kill()

    def kill_group(pid: int) -> None:
        """End the process and its descendants at once."""
        with contextlib.suppress(psutil.Error):
            leader = psutil.Process(pid)
            for process in [*leader.children(recursive=True), leader]:
                with contextlib.suppress(psutil.Error):
                    process.kill()

    def session_options() -> dict[str, Any]:
        """What makes a new process the leader of a group of its own."""
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

else:

    def terminate(pid: int) -> None:
        """Ask the process to end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def kill(pid: int) -> None:
        """End the process at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill_group(pid: int) -> None:
        """End the group that `pid` leads at once; a group outlives its leader while any member lives."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)

    def session_options() -> dict[str, Any]:
        """What makes a new process the leader of a group of its own."""
        return {"start_new_session": True}
