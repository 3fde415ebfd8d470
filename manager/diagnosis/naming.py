"""How findings name what they are about."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

_NAMED = 5


def listed(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def process_text(pid: int) -> str:
    """`python (pid 4711)`."""
    try:
        name = psutil.Process(pid).name()
    except psutil.Error:
        name = "a process"
    return f"{name} (pid {pid})"
