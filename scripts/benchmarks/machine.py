"""On what was measured, when, and which state of the code."""

from __future__ import annotations

import os
import platform
import re
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
        f"Linux {platform.release()} · Python {platform.python_version()} · commit {_commit()} · "
        f"load average at the start {os.getloadavg()[0]:.1f}\n"
    )


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
