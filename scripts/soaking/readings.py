"""What the manager says of itself during a soak, and whether it grows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from statistics import linear_regression
from typing import NamedTuple

from scripts.benchmarks.client import ask

# Bytes that the manager may grow by in a soak, whatever its length: pages of the allocator, buffers of the log.
MAX_GROWTH_BYTES = 12_000_000
# Descriptors and tasks more than before the load: a heartbeat or a scrape may be under way at the moment.
MAX_MORE = 4

_FIELDS = ("process_resident_memory_bytes", "process_open_fds", "manager_asyncio_tasks")


class Reading(NamedTuple):
    """One look at the manager's own metrics; `at` in seconds."""

    at: float
    memory: float
    descriptors: float
    tasks: float


async def read(port: int) -> Reading:
    """Now."""
    page = (await ask(port, "GET", "/metrics")).body.decode()
    values = []
    for field in _FIELDS:
        found = re.search(rf"^{field} (\S+)$", page, re.MULTILINE)
        assert found, f"/metrics has no {field}"
        values.append(float(found[1]))
    return Reading(asyncio.get_running_loop().time(), *values)


def leaks(before: Reading, during: Sequence[Reading], after: Reading) -> list[str]:
    """A sentence for each thing that grew; `before` and `after` without load."""
    found = []
    for what, early, late in (
        ("descriptors", before.descriptors, after.descriptors),
        ("asyncio tasks", before.tasks, after.tasks),
    ):
        if late > early + MAX_MORE:
            found.append(f"{what}: {early:.0f} before the load, {late:.0f} after it")
    growth = slope(during) * (during[-1].at - during[0].at)
    if growth > MAX_GROWTH_BYTES:
        found.append(f"memory: it grew by {growth / 1e6:.1f} MB during the load, and went on growing")
    return found


def slope(readings: Sequence[Reading]) -> float:
    """Of the memory, in bytes per second, over the later half: the earlier one fills pools and caches."""
    later = readings[len(readings) // 2 :]
    return linear_regression([each.at for each in later], [each.memory for each in later]).slope
