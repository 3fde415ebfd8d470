"""Asks an adapter of ours for the stacks of its threads; they appear in its log even while its loop is blocked."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from manager.supervision.identity import is_running
from manager.supervision.managed_instance import ManagedInstance


def request_stacks(instance: ManagedInstance, announce: Callable[[str, str], None]) -> None:
    """Send the signal for it. Only for an adapter of ours that has registered: others would die of it.

    `announce` (agent id, instance id) is called just before, to write into the log whose stacks follow and when they
    were taken: what the process then writes has no time of its own.
    """
    identity = instance.process.identity
    if sys.platform != "win32" and is_running(identity):
        announce(instance.agent_id, instance.instance_id)
        os.kill(identity.pid, signal.SIGUSR1)
