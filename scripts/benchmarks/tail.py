"""The newest 200 lines of a small, a large and a huge log: our log tail beside GNU tail and a naive read.

Files are in the page cache. GNU tail's time has the start of its process in it, which is most of it. The smallest file
has fewer lines than that.
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from agent_service import log_tail
from scripts.benchmarks.options import CannotMeasure, Options
from scripts.benchmarks.samples import Samples, seconds, show

LINES = 200
_SIZES = {"1 KB": 10**3, "100 MB": 10**8, "1 GB": 10**9}
_QUICK_SIZES = {"1 KB": 10**3, "10 MB": 10**7, "100 MB": 10**8}
# A naive read of 1 GB takes seconds.
_NAIVE_RUNS = 5
_BLOCK_LINES = 10_000


async def run(options: Options) -> None:
    """Write the files, read each in every way, print a table per file and one over the files."""
    runs = options.repeat(50, 10)
    ours = []
    for name, size in options.size(_SIZES, _QUICK_SIZES).items():
        path = options.scratch / f"{size}.log"
        print(f"Writing {name}", file=sys.stderr)
        write_log(path, size)
        _require_same_lines(path)
        rows = [
            _measure("agent_service.log_tail", _ours, path, runs),
            _measure(f"GNU tail -n {LINES}, a process", _gnu, path, runs),
            _measure("GNU tail -n 0, the process alone", _gnu_nothing, path, runs),
            _measure("Python, every line read", _naive, path, min(runs, _NAIVE_RUNS)),
        ]
        show(f"newest {LINES} lines of {name}", rows)
        ours.append(Samples(name, rows[0].values, seconds))
        path.unlink()
    show("agent_service.log_tail by size", ours)


def _ours(path: Path) -> list[str]:
    return log_tail.tail(path, LINES)


def _gnu(path: Path, lines: int = LINES) -> list[str]:
    command = ("tail", "-n", str(lines), str(path))
    return subprocess.run(command, check=True, capture_output=True).stdout.decode().splitlines()


def _gnu_nothing(path: Path) -> list[str]:
    return _gnu(path, 0)


def _naive(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [line.rstrip("\n") for line in deque(file, LINES)]


def _measure(label: str, read: Callable[[Path], list[str]], path: Path, runs: int) -> Samples:
    values = []
    for _ in range(runs):
        before = perf_counter()
        read(path)
        values.append(perf_counter() - before)
    return Samples(label, values, seconds)


def _require_same_lines(path: Path) -> None:
    if not _ours(path) == _gnu(path) == _naive(path):
        raise CannotMeasure(f"The three ways to read {path.name} do not agree.")


def write_log(path: Path, size: int) -> None:
    """A log of about `size` bytes, of lines as an adapter writes them."""
    written = 0
    with path.open("wb") as file:
        while written < size:
            block = b"".join(_line(written, number) for number in range(_BLOCK_LINES))[: size - written]
            written += file.write(block)


def _line(position: int, number: int) -> bytes:
    return b'{"timestamp": "2026-01-01T00:00:00.000Z", "level": "info", "event": "Task done", "at": %d, "n": %d}\n' % (
        position,
        number,
    )
