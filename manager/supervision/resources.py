"""CPU, memory and open files of the agents' processes, sampled off the event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

_PERIOD_SECONDS = 5.0


@dataclass(frozen=True)
class Usage:
    """CPU over the last period in percent of one core, and since the start; resident memory in bytes.

    `open_fds`: file descriptors, sockets among them; None where the system does not tell them.
    """

    cpu_percent: float
    rss_bytes: int
    cpu_seconds: float
    open_fds: int | None


class ResourceSampler:
    """Keeps the newest sample of each pid that `pids` names."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._processes: dict[int, psutil.Process] = {}
        self._usage: dict[int, Usage] = {}

    def usage(self, pid: int) -> Usage | None:
        """The newest sample; None before the first and after the process's end."""
        return self._usage.get(pid)

    async def run(self, after: Callable[[], None]) -> None:
        """Sample, for ever; `after` is called after each sample."""
        while True:
            self._usage = await asyncio.to_thread(self._sample, tuple(self._pids()))
            after()
            await asyncio.sleep(_PERIOD_SECONDS)

    def _sample(self, pids: tuple[int, ...]) -> dict[int, Usage]:
        self._processes = {pid: self._processes[pid] for pid in pids if pid in self._processes}
        found = {}
        for pid in pids:
            try:
                process = self._processes.setdefault(pid, psutil.Process(pid))
                found[pid] = _usage(process)
            except psutil.Error:
                self._processes.pop(pid, None)
        return found


def _usage(process: psutil.Process) -> Usage:
    with process.oneshot():
        times = process.cpu_times()
        return Usage(
            cpu_percent=process.cpu_percent(),
            rss_bytes=process.memory_info().rss,
            cpu_seconds=round(times.user + times.system, 2),
            open_fds=_open_fds(process),
        )


def _open_fds(process: psutil.Process) -> int | None:
    if sys.platform == "win32":
        return None
    try:
        return process.num_fds()
    except psutil.AccessDenied:
        # It runs as another user; all else about it may be known.
        return None
