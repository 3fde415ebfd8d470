"""The children: started, reaped the moment they end, and told only when all that they started has ended too."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from agent_service.cgroup import Cgroup, Cgroups
from agent_service.descendants import belongs, kill
from agent_service.forkserver.child import become
from agent_service.forkserver.start import Refused, Start
from agent_service.forkserver.wire import ExitNotice, RunningInstance
from agent_service.lifecycle import utc_now
from agent_service.proc import Stat, all_stats, read_stat

# Seconds that killed descendants have to disappear; only one stuck in the kernel needs longer.
SWEEP_SECONDS = 5.0

log = structlog.stdlib.get_logger(__name__)


class InstanceMark(Protocol):
    """What a child is born with, so that it is known by its environment."""

    def set(self, instance_id: str) -> None: ...

    def clear(self) -> None: ...


@dataclass
class _Ending:
    """An instance whose own process has been reaped. `deadline` is monotonic seconds.

    `killed`: what it left behind, by pid, until it is gone: a process that dies is soon not to be recognised any more.
    """

    instance: RunningInstance
    returncode: int
    deadline: float
    group: Cgroup | None
    killed: dict[int, Stat] = field(default_factory=dict)

    @property
    def is_swept(self) -> bool:
        return not self.killed and (self.group is None or self.group.is_empty)

    def notice(self, *, group_empty: bool) -> ExitNotice:
        was_signal = self.returncode < 0
        return ExitNotice(
            agent_id=self.instance.agent_id,
            instance_id=self.instance.instance_id,
            pid=self.instance.pid,
            code=None if was_signal else self.returncode,
            signal=-self.returncode if was_signal else None,
            at=utc_now(),
            group_empty=group_empty,
        )


class Instances:
    """Owns every child of this process; nobody else may wait for one. `on_exit` is told of each end, once."""

    def __init__(self, mark: InstanceMark, cgroups: Cgroups, on_exit: Callable[[ExitNotice], None]) -> None:
        self._mark = mark
        self._cgroups = cgroups
        self._on_exit = on_exit
        self._by_pid: dict[int, RunningInstance] = {}
        self._endings: list[_Ending] = []

    @property
    def running(self) -> tuple[RunningInstance, ...]:
        """Every instance that lives."""
        return tuple(self._by_pid.values())

    @property
    def is_empty(self) -> bool:
        """Nothing lives and nothing is being swept up."""
        return not self._by_pid and not self._endings

    @property
    def next_deadline(self) -> float | None:
        """Monotonic time at which `reap` must be called even if no child ends."""
        return min((ending.deadline for ending in self._endings), default=None)

    def start(self, start: Start, public: socket.socket | None) -> RunningInstance:
        """Fork. Returns in the server only. Raises `Refused`."""
        if any(each.instance_id == start.instance_id for each in self._by_pid.values()):
            raise Refused(f"The instance {start.instance_id!r} runs already; give the new one an id of its own.")
        if len(threads := os.listdir("/proc/self/task")) != 1:
            raise Refused(f"This fork server has {len(threads)} threads and can no longer fork safely.", stale=True)
        self._mark.set(start.instance_id)
        group = self._cgroups.make(start.instance_id)
        try:
            with _signals_blocked():
                pid = os.fork()
                if pid == 0:
                    become(start, public, group)
        except OSError as error:
            raise Refused(
                f"The operating system refused to fork ({error.strerror}); end something or raise its limits."
            ) from error
        finally:
            self._mark.clear()
        # Nobody but us reaps it, so it is there even if it has ended.
        stat = read_stat(pid)
        created_at = "" if stat is None else stat.start_ticks
        instance = RunningInstance(
            agent_id=start.agent_id, instance_id=start.instance_id, pid=pid, created_at=created_at
        )
        self._by_pid[pid] = instance
        return instance

    def reap(self) -> None:
        """Collect every child that has ended, and end what ended instances left behind."""
        while (pid := _next_zombie()) is not None:
            instance = self._by_pid.pop(pid, None)
            group = None if instance is None else self._cgroups.of(instance.instance_id)
            if instance is not None:
                # Before it is reaped: a zombie still holds the number of its group.
                _kill_group(pid)
            if group is not None:
                group.kill()
            _, status = os.waitpid(pid, 0)
            if instance is not None:
                returncode = os.waitstatus_to_exitcode(status)
                self._endings.append(_Ending(instance, returncode, time.monotonic() + SWEEP_SECONDS, group))
        if self._endings:
            self._sweep()

    def _sweep(self) -> None:
        """Kill what the endings left behind; tell of each of which nothing is left. The rest waits for its children."""
        alive = {stat.pid: stat for stat in all_stats() if stat.is_alive}
        for ending in self._endings:
            ending.killed = {pid: stat for pid, stat in ending.killed.items() if stat.is_same(alive.get(pid))}
        for stat, ending in self._left_behind(alive.values()):
            ending.killed[stat.pid] = stat
            if (descriptor := kill(stat)) is not None:
                os.close(descriptor)
        pending, self._endings = self._endings, []
        for ending in pending:
            if not ending.is_swept and time.monotonic() < ending.deadline:
                self._endings.append(ending)
            else:
                self._tell(ending)

    def _tell(self, ending: _Ending) -> None:
        if not ending.is_swept:
            log.error("Processes of an ended agent cannot be killed", pids=list(ending.killed))
        if ending.group is not None:
            ending.group.remove()
        self._on_exit(ending.notice(group_empty=ending.is_swept))

    def _left_behind(self, alive: Iterable[Stat]) -> Iterator[tuple[Stat, _Ending]]:
        """The processes below us that belong to endings.

        Orphans have become our children. What is below one that belongs to an instance belongs to it too.
        """
        children: defaultdict[int, list[Stat]] = defaultdict(list)
        for stat in alive:
            children[stat.parent].append(stat)
        for orphan in children[os.getpid()]:
            if orphan.pid not in self._by_pid:
                for stat in _tree(orphan, children):
                    if (ending := self._owner(stat) or self._owner(orphan)) is not None:
                        yield stat, ending

    def _owner(self, stat: Stat) -> _Ending | None:
        for ending in self._endings:
            if belongs(stat, ending.instance.instance_id, ending.instance.pid):
                return ending
        # One that hid its origin is nobody's, until there is nobody else whose it could be.
        return self._endings[-1] if not self._by_pid else None


def _tree(root: Stat, children: Mapping[int, list[Stat]]) -> Iterator[Stat]:
    yield root
    for child in children.get(root.pid, ()):
        yield from _tree(child, children)


def _next_zombie() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _kill_group(pid: int) -> None:
    # It may have died before it led a group of its own.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A signal to the child between its birth and its first steps would be handled as one to the server."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
