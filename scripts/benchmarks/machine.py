"""On what was measured, when, which state of the code, and what else the machine was busy with meanwhile."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil

from scripts.benchmarks.options import ROOT


def describe() -> str:
    """One line for the head of a result."""
    cores = len(os.sched_getaffinity(0))
    gigabytes = psutil.virtual_memory().total / 1e9
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC · {_processor()}, {cores} cores, {gigabytes:.0f} GB · "
        f"Linux {platform.release()} · Python {platform.python_version()} · commit {_commit()}\n"
    )


class Others:
    """Since it was made, what share of the machine's CPU went to processes that are not descendants of this one."""

    def __init__(self) -> None:
        self._began = self._look()

    def describe(self) -> str:
        """One line for the foot of a result, once every descendant has ended: who has not is counted as another's."""
        total, foreign = (late - early for early, late in zip(self._began, self._look(), strict=True))
        return f"Meanwhile others took {100 * max(0.0, foreign) / total:.0f} % of the machine's CPU."

    @staticmethod
    def _look() -> tuple[float, float]:
        """CPU seconds of all cores since the machine started, and those that neither went by idle nor were ours."""
        times = psutil.cpu_times()
        idle = times.idle + times.iowait
        # Guests' time is in the user's already.
        total = sum(times) - times.guest - times.guest_nice
        ours = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return total, total - idle - ours


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
