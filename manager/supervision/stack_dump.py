"""Asks an adapter of ours for the stacks of its threads; they appear in its log even while its loop is blocked."""

from __future__ import annotations

import os
import signal
import sys

from manager.supervision.identity import is_running
from manager.supervision.process import ProcessIdentity


def request_stacks(identity: ProcessIdentity) -> None:
    """Send the signal for it. Only for an adapter of ours that has registered: others would die of it."""
    if sys.platform != "win32" and is_running(identity):
        os.kill(identity.pid, signal.SIGUSR1)
