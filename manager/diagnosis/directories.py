"""The directories that the manager writes to: whether it can, how much room there is, and who holds the state."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from manager.diagnosis.finding import Finding, error, warning, well
from manager.diagnosis.surroundings import Surroundings

MEBIBYTE = 1024**2
LEAST_BYTES = 64 * MEBIBYTE
FEW_BYTES = 1024 * MEBIBYTE
_MOST_FILLED = 0.95


def check_state_directory(around: Surroundings) -> Iterator[Finding]:
    """Whether it can be written, and whether only we can."""
    if around.config is None:
        return
    path = around.config.state_directory
    if trouble := _trouble(path):
        remedy = "mend its permissions, or set another `stateDirectory`"
        yield error("state directory", f"{path} {trouble}", remedy)
    elif path.is_dir() and sys.platform != "win32" and path.stat().st_mode & stat.S_IWOTH:
        yield warning("state directory", f"{path} can be written by every user", f"chmod o-w {path}")
    else:
        yield well("state directory", f"{path} can be written" if path.is_dir() else f"{path} will be made")


def check_lock(around: Surroundings) -> Iterator[Finding]:
    """Who holds the state directory."""
    last = around.last_holder
    if around.holder is not None:
        yield well("lock", f"Held by the manager with pid {around.holder.pid} ({around.holder.url or 'just starting'})")
    elif last is not None:
        message = f"The manager with pid {last.pid} was killed, or cannot be seen by this user; nobody else holds it"
        yield warning("lock", message, "`agent-manager up` takes its agents back; nothing needs to be removed")
    else:
        yield well("lock", "No manager holds the state directory")


def check_log_directory(around: Surroundings) -> Iterator[Finding]:
    """Whether agents can log."""
    if around.config is None:
        return
    path = around.config.log_directory
    if trouble := _trouble(path):
        yield error("log directory", f"{path} {trouble}", "mend its permissions, or set another `logDirectory`")
    else:
        yield well("log directory", f"{path} can be written" if path.is_dir() else f"{path} will be made")


def check_disk(around: Surroundings) -> Iterator[Finding]:
    """How much room is left where the manager and its agents write."""
    if around.config is None:
        return
    for path in dict.fromkeys(map(_existing, (around.config.state_directory, around.config.log_directory))):
        try:
            usage = shutil.disk_usage(path)
        except OSError as unreadable:
            yield error("disk", f"{path} cannot be looked at ({unreadable.strerror})", "mend its file system")
            continue
        yield _room(path, usage.free, usage.total)
        if not _free_inodes(path):
            yield error("disk", f"No file can be made at {path}: all inodes are taken", "remove small files there")


def _room(path: Path, free: int, total: int) -> Finding:
    message = f"{free / MEBIBYTE:,.0f} MiB are free at {path}"
    remedy = "free disk space, or set another `stateDirectory` and `logDirectory`"
    if free < LEAST_BYTES:
        return error("disk", message, remedy)
    if free < FEW_BYTES and free < total * (1 - _MOST_FILLED):
        return warning("disk", message, remedy)
    return well("disk", message)


def _trouble(path: Path) -> str | None:
    """Why nothing can be written there; nothing is written to find out."""
    place = _existing(path)
    if not place.is_dir():
        return f"cannot be made: {place} is no directory" if place != path else "is no directory"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"cannot be written by this user{'' if place == path else f': {place} is not theirs'}"
    if _is_read_only(place):
        return "is on a file system that is mounted read-only"
    return None


def _existing(path: Path) -> Path:
    """`path`, or the nearest above it that is there."""
    return next((each for each in (path, *path.parents) if os.path.lexists(each)), path)


def _is_read_only(path: Path) -> bool:
    return sys.platform != "win32" and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _free_inodes(path: Path) -> bool:
    """Whether a file can be made; file systems that count none (0 of 0) can always."""
    if sys.platform == "win32":
        return True
    found = os.statvfs(path)
    return found.f_files == 0 or found.f_favail > 0
