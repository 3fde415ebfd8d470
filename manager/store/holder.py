"""Which manager holds a state directory, found by its lock, whatever address it was given."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

HOLDER_FILE = "manager.json"
LOCK_FILE = "manager.lock"


@dataclass(frozen=True)
class Holder:
    """A manager as it has written itself down; `url` is None while it is just starting."""

    pid: int
    url: str | None


def named_holder(state_directory: Path) -> Holder | None:
    """Whoever wrote itself down there last; it may have been killed since. None where nothing can be read."""
    try:
        written = json.loads((state_directory / HOLDER_FILE).read_text("utf-8"))
        pid, url = written["pid"], written["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Holder(pid, url) if isinstance(pid, int) and isinstance(url, str | None) else None


def is_held_by(holder: Holder, state_directory: Path) -> bool:
    """Whether the process is there and has the lock's file open.

    Asking for the lock itself would hinder a manager that starts.
    """
    import psutil

    lock = (state_directory / LOCK_FILE).resolve()
    try:
        return any(Path(file.path) == lock for file in psutil.Process(holder.pid).open_files())
    except (psutil.Error, ValueError, OverflowError):
        return False


def local_manager_url(state_directory: Path) -> str | None:
    """URL of the manager that holds `state_directory` now; None where none does, or where that cannot be seen."""
    holder = named_holder(state_directory)
    return holder.url if holder and holder.url and is_held_by(holder, state_directory) else None
