"""The files that one log consists of: the one that is written, and those that it was rotated into.

`planner.log` is written; `planner.000001.log`, `planner.000002.log` and so on came before it, the oldest first. A
number is given once: a file keeps its own until it is deleted. Imports the standard library only.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agent_service.log_space import has_writer, release

# What is left of a file that should go and that somebody still writes to.
STRAGGLER_BYTES = 1024 * 1024
_NUMBER = re.compile(r"(.+)\.(\d{6,})")
_SAFE_MODE = 0o777


@dataclass(frozen=True)
class LogLimits:
    """When a log is rotated, and how many files it has at the most, the one that is written included."""

    max_bytes: int
    max_files: int

    @property
    def all_bytes(self) -> int:
        """What all its files may occupy."""
        return self.max_bytes * self.max_files


@dataclass(frozen=True)
class RotatedFile:
    """One that is written no more, but for those who have not noticed. `occupied`: its bytes on disk."""

    number: int
    path: Path
    occupied: int


def base_of(name: str) -> tuple[str, int | None]:
    """The name of the log that a file belongs to, and the file's number; None for the one that is written."""
    stem, suffix = os.path.splitext(name)
    match = _NUMBER.fullmatch(stem)
    return (match[1] + suffix, int(match[2])) if match else (name, None)


def rotated_files(path: Path) -> list[RotatedFile]:
    """The files that the log at `path` was rotated into, oldest first; none where there is no directory."""
    found: list[RotatedFile] = []
    for number in rotated_numbers(path.parent).get(path.name, ()):
        file = numbered(path, number)
        with suppress(FileNotFoundError):  # deleted while we look
            found.append(RotatedFile(number, file, occupied(file.stat())))
    return found


def rotated_numbers(directory: Path) -> dict[str, list[int]]:
    """Of each log in the directory, by the name of its written file, the numbers of its rotated ones, lowest first."""
    found: dict[str, list[int]] = {}
    with suppress(FileNotFoundError):
        for entry in os.listdir(directory):
            name, number = base_of(entry)
            if number is not None:
                found.setdefault(name, []).append(number)
    return {name: sorted(numbers) for name, numbers in found.items()}


def numbered(path: Path, number: int) -> Path:
    """Where the log's file of that number is."""
    return path.with_name(f"{path.stem}.{number:06}{path.suffix}")


def occupied(stat: os.stat_result) -> int:
    """Bytes on disk, which are fewer than the size of a file whose beginning was released."""
    return min(stat.st_size, stat.st_blocks * 512) if sys.platform != "win32" else stat.st_size


def rotate(path: Path) -> Path | None:
    """Give the written file the next number and make a new one; where it is now, None if somebody else is at it.

    What is written meanwhile goes to either file. Raises OSError.
    """
    with path.open("rb") as file, _alone(file.fileno()) as is_alone:
        if not is_alone or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return None
        before = rotated_files(path)
        target = numbered(path, before[-1].number + 1 if before else 1)
        mode = os.fstat(file.fileno()).st_mode & _SAFE_MODE
        path.rename(target)
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode))
        return target


def keep_within(path: Path, limits: LogLimits) -> None:
    """Let the oldest go until the log's files are within their limits. Raises OSError.

    Of a file that somebody still writes to, only the beginning goes, and of the newest that was rotated: from it the
    next one's number follows. The written one keeps `max_bytes` whatever the others occupy.
    """
    with suppress(FileNotFoundError):  # somebody else is at it, too
        rotated = rotated_files(path)
        written = occupied(path.stat())
        surplus = written + sum(each.occupied for each in rotated) - limits.all_bytes
        for index, each in enumerate(rotated):
            is_one_too_many = len(rotated) - index >= limits.max_files
            if index == len(rotated) - 1:
                surplus -= _free(each, max(0, each.occupied - max(0, surplus)))
            elif surplus > 0 or is_one_too_many:
                surplus -= _let_go(each)
        if surplus > 0:
            release(path, max(limits.max_bytes, written - surplus))


def _let_go(file: RotatedFile) -> int:
    """Delete, or release the beginning; how many bytes that has made free."""
    if has_writer(file.path):
        return _free(file, STRAGGLER_BYTES)
    file.path.unlink(missing_ok=True)
    return file.occupied


def _free(file: RotatedFile, keep_bytes: int) -> int:
    if file.occupied <= keep_bytes:
        return 0
    release(file.path, keep_bytes)
    return file.occupied - occupied(file.path.stat())


if sys.platform == "win32":

    @contextmanager
    def _alone(descriptor: int) -> Iterator[bool]:
        """A file that somebody has open cannot be renamed here at all."""
        yield True

else:
    import fcntl

    @contextmanager
    def _alone(descriptor: int) -> Iterator[bool]:
        """Whether nobody else holds this file to rotate it; nobody can until we leave."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
