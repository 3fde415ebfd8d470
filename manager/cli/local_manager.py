"""The manager that runs here, whatever address it was given: found by the lock on its state directory."""

from __future__ import annotations

import json
from pathlib import Path

HOLDER_FILE = "manager.json"
LOCK_FILE = "manager.lock"


def local_manager_url(state_directory: Path) -> str | None:
    """URL of the manager that holds `state_directory` now; None where none does, or where that cannot be seen."""
    try:
        holder = json.loads((state_directory / HOLDER_FILE).read_text("utf-8"))
        pid, url = holder["pid"], holder["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(pid, int) or not isinstance(url, str):
        return None
    return url if _has_open(pid, state_directory / LOCK_FILE) else None


def _has_open(pid: int, path: Path) -> bool:
    """Whether the process is there and has the file open. Asking for the lock would hinder a manager that starts."""
    import psutil

    try:
        return any(Path(file.path) == path.resolve() for file in psutil.Process(pid).open_files())
    except (psutil.Error, ValueError, OverflowError):
        return False
