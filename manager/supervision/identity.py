"""Who a process is, beyond its pid: when it was created, and in which run of the machine."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import psutil

from agent_service.proc import Stat, has_proc, read_stat
from manager.supervision.process import ProcessIdentity

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The same until the machine restarts."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"boot-{psutil.boot_time():.0f}"


def created_at(pid: int) -> str | None:
    """When process `pid` was created, as text to compare; None where there is none (or only a zombie)."""
    stat = read_stat(pid)
    if stat is not None:
        return stat.start_ticks if stat.is_alive else None
    return None if has_proc() else _created_at_elsewhere(pid)


def identify(pid: int) -> ProcessIdentity:
    """The identity of a process that was just started; one that has ended already gets an empty creation time."""
    return identity_now(pid, created_at(pid) or "")


def identity_of(stat: Stat) -> ProcessIdentity:
    """The identity of a process that was just looked at."""
    return identity_now(stat.pid, stat.start_ticks)


def identity_now(pid: int, created_at: str) -> ProcessIdentity:
    """The identity of a process of this run of the machine, of which somebody else has told when it was created."""
    return ProcessIdentity(pid, created_at, boot_id())


def is_running(identity: ProcessIdentity) -> bool:
    """Whether that very process still runs."""
    return (
        bool(identity.created_at) and identity.boot_id == boot_id() and created_at(identity.pid) == identity.created_at
    )


def fleet_of(state_directory: Path) -> str:
    """By what its processes know a manager and its successors, which share the state directory."""
    return str(state_directory.resolve())


def may_lead_its_group(identity: ProcessIdentity) -> bool:
    """Whether signals to the group of this process can still only hit its own.

    While any member lives the number of the group is given to nobody else. A process with that pid and another
    creation time is a stranger, so the group that it leads is too.
    """
    return created_at(identity.pid) in (None, identity.created_at)


def _created_at_elsewhere(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.Error:
        return None
