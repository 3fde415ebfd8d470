"""The files of a log at one moment, found again under whatever name a rotation gives them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agent_service.log_files import numbered, rotated_numbers

Identity = tuple[int, int]


@dataclass(frozen=True)
class LogFile:
    """One of them. `size` and `changed_at` (seconds since 1970) are of the moment of the snapshot."""

    log: Path
    number: int
    identity: Identity
    size: int
    changed_at: float

    def open(self) -> BinaryIO | None:
        """The file for reading; None where it has been deleted since. Raises OSError."""
        for path in (self.log, numbered(self.log, self.number)):
            try:
                file = path.open("rb", buffering=0)
            except FileNotFoundError:
                continue
            if identity_of(os.fstat(file.fileno())) == self.identity:
                return file
            file.close()
        return None


def snapshot(log: Path) -> list[LogFile]:
    """All files of a log, oldest first; the last one is being written, where there is one at all. Raises OSError."""
    return snapshots([log])[log]


def snapshots(logs: Sequence[Path]) -> dict[Path, list[LogFile]]:
    """All files of each of the logs, which are in one directory. Raises OSError."""
    numbers = rotated_numbers(logs[0].parent) if logs else {}
    return {log: _snapshot(log, numbers.get(log.name, [])) for log in logs}


def _snapshot(log: Path, numbers: list[int]) -> list[LogFile]:
    while True:
        rotated = [file for number in numbers if (file := _file(log, number, numbered(log, number))) is not None]
        next_number = numbers[-1] + 1 if numbers else 1
        written = _file(log, next_number, log)
        # Rotated while we looked, what was found under the name is not the file that has the number.
        if not numbered(log, next_number).exists():
            return [*rotated, *([written] if written is not None else [])]
        numbers = rotated_numbers(log.parent).get(log.name, [])


def _file(log: Path, number: int, path: Path) -> LogFile | None:
    stat = stat_of(path)
    return None if stat is None else LogFile(log, number, identity_of(stat), stat.st_size, stat.st_mtime)


def stat_of(path: Path) -> os.stat_result | None:
    """None where there is no such file. Raises OSError."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def identity_of(stat: os.stat_result) -> Identity:
    """What a file keeps when it is renamed."""
    return stat.st_dev, stat.st_ino
