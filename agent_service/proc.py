"""What Linux's /proc tells of processes. Nothing where there is no such process, or no such /proc.

Imports the standard library only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_ZOMBIE_STATES = frozenset("ZX")
# Half a second: an execve reads the new program from disk.
_EXEC_LOOKS = 250
_EXEC_PAUSE_SECONDS = 0.002


@dataclass(frozen=True)
class Stat:
    """One line of /proc/PID/stat. `start_ticks`: clock ticks since boot, which no change of the wall clock moves."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    start_ticks: str

    @property
    def is_alive(self) -> bool:
        """Not a zombie that only waits for its parent to collect its exit status."""
        return self.state not in _ZOMBIE_STATES

    def is_same(self, other: Stat | None) -> bool:
        """Whether both tell of one process: a number is given again, the moment of a start is not."""
        return other is not None and (self.pid, self.start_ticks) == (other.pid, other.start_ticks)


def has_proc() -> bool:
    """Whether this system has a Linux /proc."""
    return (_PROC / "self" / "stat").exists()


def read_stat(pid: int) -> Stat | None:
    """What /proc says of `pid`; None where there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return parse_stat(pid, text)


def parse_stat(pid: int, text: str) -> Stat:
    """The line of `pid`. A program's name may hold spaces and brackets: the fields follow the last bracket."""
    fields = text.rpartition(")")[2].split()
    return Stat(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), fields[19])


def all_stats() -> Iterator[Stat]:
    """Every process that can be seen."""
    for name in os.listdir(_PROC):
        if name.isdigit() and (stat := read_stat(int(name))) is not None:
            yield stat


def has_variable(pid: int, name: str, value: str) -> bool:
    """Whether the process was given `name=value` as environment; false where we may not look.

    Waits for one that is just being replaced by another program (execve): for so long it shows none.
    """
    try:
        return f"{name}={value}".encode() in _environment(pid).split(b"\0")
    except OSError:
        return False


def read_variables(pid: int) -> dict[str, str]:
    """The environment that the process was given, waited for as above; empty where we may not look."""
    try:
        environment = _environment(pid)
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in environment.split(b"\0"))
    return {name: value for name, equals, value in pairs if equals}


def _environment(pid: int) -> bytes:
    path = _PROC / str(pid) / "environ"
    for _ in range(_EXEC_LOOKS):
        environment = path.read_bytes()
        memory, environment_begins = _memory(pid)
        if environment or not memory:
            return environment
        # Where the environment begins is known a moment before where it ends, so one more look follows.
        time.sleep(_EXEC_PAUSE_SECONDS)
        if environment_begins:
            break
    return path.read_bytes()


def _memory(pid: int) -> tuple[int, int]:
    """Bytes that it has (a zombie and the kernel's own: none), and where its environment begins, 0 while unknown."""
    fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return int(fields[20]), int(fields[47])
