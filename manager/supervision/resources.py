"""CPU and memory of the agents' processes, sampled off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

_PERIOD_SECONDS = 5.0


@dataclass(frozen=True)
class Usage:
    """CPU over the last period in percent of one core; resident memory in bytes."""

    cpu_percent: float
    rss_bytes: int


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
                with process.oneshot():
                    found[pid] = Usage(process.cpu_percent(), process.memory_info().rss)
            except psutil.Error:
                self._processes.pop(pid, None)
        return found
