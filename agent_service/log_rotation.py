"""Rotation of a log by the process that writes it: it goes on in a new file, by the same descriptors.

A thread looks at the file's size, and at whether its name still leads to it. The file is renamed, a new one takes its
place, and `dup2` puts that behind stdout and stderr, for C code as for Python: whatever is written at that moment is in
one of the two. Nothing is copied or truncated, so no line can be lost or come twice.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from agent_service.log_files import LogLimits, keep_within, rotate, rotated_files

IDLE_SECONDS = 1.0
_SHORTEST_SECONDS = 0.02
# A file this many times over its limit is rotated even in the middle of a line.
_PATIENCE = 2
_BLOCK_BYTES = 1024 * 1024

log = structlog.stdlib.get_logger(__name__)


class Rotation:
    """Keeps `descriptors` writing to the file at `path`, and that within its limits."""

    def __init__(self, path: Path, descriptors: Sequence[int], limits: LogLimits) -> None:
        self._path = path
        self._descriptors = descriptors
        self._limits = limits
        self._seen = os.fstat(descriptors[0]).st_size
        self._seen_at = time.monotonic()

    def look(self) -> float:
        """Rotate, or follow a file that was rotated, moved or deleted by others; seconds until the next look.

        Raises OSError.
        """
        ours = os.fstat(self._descriptors[0])
        try:
            is_there = os.path.samestat(ours, self._path.stat())
        except FileNotFoundError:
            is_there = False
        is_rotated = is_there and self._is_due(ours.st_size) and rotate(self._path) is not None
        if is_rotated or not is_there:
            self._reopen()
        if is_rotated:
            keep_within(self._path, self._limits)
        return self._pause(os.fstat(self._descriptors[0]).st_size)

    def _is_due(self, size: int) -> bool:
        if size < self._limits.max_bytes:
            return False
        return size >= _PATIENCE * self._limits.max_bytes or _ends_a_line(self._path)

    def _pause(self, size: int) -> float:
        """Half of the time in which the file would be full, at the rate of late."""
        now = time.monotonic()
        rate = (size - self._seen) / max(now - self._seen_at, 0.001)
        self._seen, self._seen_at = size, now
        left = max(0, self._limits.max_bytes - size)
        return min(IDLE_SECONDS, max(_SHORTEST_SECONDS, left / rate / 2)) if rate > 0 else IDLE_SECONDS

    def _reopen(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        old = _reader_of_deleted(self._descriptors[0])
        try:
            # What was written since the deletion goes along. First most of it, then what came meanwhile.
            end = _carry_over(old, self._seen, new)
            for descriptor in self._descriptors:
                os.dup2(new, descriptor)
            _carry_over(old, end, new)
        finally:
            os.close(new)
            if old is not None:
                os.close(old)
        self._seen = 0


class RotationThread(threading.Thread):
    """Looks again and again; nobody waits for it."""

    def __init__(self, rotation: Rotation) -> None:
        super().__init__(name="log rotation", daemon=True)
        self._rotation = rotation
        self._has_failed = False

    def run(self) -> None:
        """For as long as the process lives."""
        while True:
            time.sleep(self._look())

    def _look(self) -> float:
        try:
            pause = self._rotation.look()
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning("The log cannot be rotated; trying again until it can", error=str(error))
            return IDLE_SECONDS
        self._has_failed = False
        return pause


def descriptors_of(path: Path, candidates: Collection[int]) -> list[int]:
    """Those of the descriptors that write to the log at `path`, be it to a file that was rotated or deleted since."""
    files = [path, *(each.path for each in rotated_files(path))]
    return [each for each in candidates if _leads_to(each, files)]


def _leads_to(descriptor: int, files: Sequence[Path]) -> bool:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode):
        return False
    return status.st_nlink == 0 or any(_is_same(status, file) for file in files)


def _is_same(status: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(status, path.stat())
    except OSError:
        return False


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _reader_of_deleted(descriptor: int) -> int | None:
    """The file behind the descriptor, opened for reading, where its last name is gone."""
    if os.fstat(descriptor).st_nlink > 0:
        return None
    with suppress(OSError):  # a system without /proc
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    return None


def _carry_over(source: int | None, start: int, target: int) -> int:
    """Append what `source` has after `start`; where that ended."""
    while source is not None and (block := os.pread(source, _BLOCK_BYTES, start)):
        start += os.write(target, block)
    return start
