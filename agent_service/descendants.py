"""Ends what an instance leaves behind: processes that carry its id in their environment, wherever they went.

A process that leaves its parent's session or outlives its parent keeps its environment, and with it AGENT_INSTANCE_ID.
Imports the contract and the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterable

from agent_service.contract import ENV_INSTANCE_ID
from agent_service.proc import all_stats, has_variable

_ROUNDS = 20
"""A process that forks faster than it is found is given up after so many rounds."""


def is_marked(pid: int, instance_id: str) -> bool:
    """Whether the process belongs to the instance, by its environment."""
    return has_variable(pid, ENV_INSTANCE_ID, instance_id)


def marked(instance_id: str) -> list[int]:
    """Every live process of the instance that we may look into, ourselves excepted."""
    return [
        stat.pid
        for stat in all_stats()
        if stat.is_alive and stat.pid != os.getpid() and is_marked(stat.pid, instance_id)
    ]


def end_marked(instance_id: str, *, timeout_seconds: float) -> bool:
    """Kill every process of the instance and wait until they have ended; false when some have not in time.

    Blocks: for a thread. Linux only; elsewhere nothing can be found, and the answer is true.
    """
    if sys.platform != "linux":
        return True
    deadline = time.monotonic() + timeout_seconds
    for _ in range(_ROUNDS):
        pids = marked(instance_id)
        if not pids:
            return True
        if not _end(pids, instance_id, deadline):
            return False
    return False


def _end(pids: Iterable[int], instance_id: str, deadline: float) -> bool:
    """A pidfd is held from the look to the end, so that no signal reaches a stranger under the same number."""
    with contextlib.ExitStack() as stack:
        poll, waiting = select.poll(), 0
        for pid in pids:
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(pid)
                stack.callback(os.close, descriptor)
                if is_marked(pid, instance_id):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    poll.register(descriptor, select.POLLIN)
                    waiting += 1
        while waiting and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left * 1000):
                poll.unregister(descriptor)
                waiting -= 1
        return not waiting
