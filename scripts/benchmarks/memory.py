"""What processes take: memory as the kernel accounts for it, and CPU over a while."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter

import psutil


def rss(pid: int) -> int:
    """Resident bytes, each shared page counted in full."""
    return int(psutil.Process(pid).memory_info().rss)


def pss(pid: int) -> int:
    """Resident bytes, each shared page divided by the number of those who share it: the sum is what a fleet takes."""
    found = re.search(r"^Pss:\s+(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"), re.MULTILINE)
    assert found, "the kernel's format"
    return int(found[1]) * 1024


def parents(pids: Iterable[int]) -> set[int]:
    """Those who have started these."""
    return {psutil.Process(pid).ppid() for pid in pids}


async def cpu_percent(groups: Sequence[Sequence[int]], seconds: float) -> list[float]:
    """For each group of processes what it took during the next so many seconds, in percent of one core."""
    before, began = [_cpu_seconds(group) for group in groups], perf_counter()
    await asyncio.sleep(seconds)
    after, elapsed = [_cpu_seconds(group) for group in groups], perf_counter() - began
    return [100 * (late - early) / elapsed for early, late in zip(before, after, strict=True)]


def _cpu_seconds(pids: Iterable[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)
