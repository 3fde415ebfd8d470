"""Finds and ends what an instance leaves behind: its cgroup, group, session, and whatever carries its id elsewhere.

A process that leaves its parent's session, or outlives its parent, keeps its environment and with it AGENT_INSTANCE_ID.
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

from agent_service.cgroup import Cgroup, find_cgroups
from agent_service.contract import ENV_FLEET, ENV_INSTANCE_ID
from agent_service.proc import Stat, all_stats, has_variable, read_stat, read_variables

_ROUNDS = 20
"""A process that forks faster than it is found is given up after so many rounds."""
# Between looks at a group that was killed.
_PAUSE_SECONDS = 0.005


def belongs(stat: Stat, instance_id: str, leader: int | None) -> bool:
    """Whether a process is of the instance, whose own process is or was `leader`, if that is known."""
    return leader in (stat.group, stat.session) or has_variable(stat.pid, ENV_INSTANCE_ID, instance_id)


def instances_of(fleet: str) -> dict[str, Stat]:
    """By instance id the oldest living process of each instance that belongs to that AGENT_FLEET.

    Linux only; elsewhere none is found.
    """
    found: dict[str, Stat] = {}
    for stat in all_stats() if sys.platform == "linux" else ():
        variables = read_variables(stat.pid) if stat.is_alive else {}
        instance_id = variables.get(ENV_INSTANCE_ID)
        if instance_id and variables.get(ENV_FLEET) == fleet:
            found[instance_id] = min(stat, found.get(instance_id, stat), key=lambda each: int(each.start_ticks))
    return found


def end_left_behind(instance_id: str, leader: int | None, *, timeout_seconds: float) -> bool:
    """Kill every process of an instance whose own process has ended, and wait; false when some have not ended in time.

    Blocks: for a thread. Linux only; elsewhere nothing can be found, and the answer is true.
    """
    if sys.platform != "linux":
        return True
    deadline = time.monotonic() + timeout_seconds
    group = find_cgroups().of(instance_id)
    if group is not None:
        group.kill()
    for _ in range(_ROUNDS):
        left = _left_behind(instance_id, leader)
        if not left:
            return group is None or _is_emptied(group, deadline)
        if not _end(left, deadline):
            return False
    return False


def kill(stat: Stat) -> int | None:
    """Kill that very process; a pidfd that becomes readable with its end, or None where it has ended already.

    The descriptor is held from the second look on, so that no stranger under the same number is hit.
    """
    try:
        descriptor = os.pidfd_open(stat.pid)
    except OSError:
        return None
    if not stat.is_same(read_stat(stat.pid)):
        os.close(descriptor)
        return None
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    return descriptor


def _left_behind(instance_id: str, leader: int | None) -> list[Stat]:
    stats = [stat for stat in all_stats() if stat.is_alive and stat.pid != os.getpid()]
    # A living process under the leader's number is a stranger, and so is its group.
    leader = None if any(stat.pid == leader for stat in stats) else leader
    return [stat for stat in stats if belongs(stat, instance_id, leader)]


def _is_emptied(group: Cgroup, deadline: float) -> bool:
    while not group.is_empty:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    group.remove()
    return True


def _end(stats: Iterable[Stat], deadline: float) -> bool:
    poll = select.poll()
    waiting = {descriptor for stat in stats if (descriptor := kill(stat)) is not None}
    try:
        for descriptor in waiting:
            poll.register(descriptor, select.POLLIN)
        unended = len(waiting)
        while unended and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left * 1000):
                poll.unregister(descriptor)
                unended -= 1
        return not unended
    finally:
        for descriptor in waiting:
            os.close(descriptor)
