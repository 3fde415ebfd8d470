"""Blocks of whole lines out of a file, forwards or backwards, without ever holding more than a few of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import BinaryIO, NamedTuple

from agent_service.log_space import data_start
from manager.telemetry.log_reading.entry import Context

STRUCTURED = b"{"
MOST_BYTES = 1024 * 1024
# A longer line is cut.
LONGEST_LINE = 8 * 1024 * 1024
# How far around a place lines are looked for that tell its time.
_CONTEXT_BYTES = 64 * 1024
# Lines that are understood together; the next run is understood from the file.
_LONGEST_RUN = 1000
# Lines of several writers are in order but for moments: so much is read too much rather than too little.
_SEEK_BYTES = 256 * 1024


class Block(NamedTuple):
    """Whole lines of a file, from the offset `start`; but for the last one of a file, each has its end."""

    start: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset after it."""
        return self.start + len(self.data)

    @property
    def is_structured(self) -> bool:
        """Whether its first line looks as if."""
        return self.data.startswith(STRUCTURED)


class Line(NamedTuple):
    """One line, without its end, and where it begins and the next one does."""

    start: int
    end: int
    data: bytes

    @property
    def is_structured(self) -> bool:
        """Whether it looks as if; a raw line is understood from the last structured one before it."""
        return self.data.startswith(STRUCTURED)


def lines_of(block: Block) -> list[Line]:
    """The lines of a block, oldest first."""
    found, position = [], block.start
    for data in block.data.splitlines(keepends=True) if b"\r" not in block.data else _split(block.data):
        end = position + len(data)
        found.append(Line(position, end, data.rstrip(b"\r\n")))
        position = end
    return found


def pieces_of(block: Block, size: int) -> list[Block]:
    """A block in parts of at least `size` bytes, which have whole runs: but for the first, each begins with one."""
    pieces, start = [], 0
    while start < len(block.data):
        end = block.data.find(b"\n{", start + size) + 1 or len(block.data)
        pieces.append(Block(block.start + start, block.data[start:end]))
        start = end
    return pieces


def runs_of(block: Block) -> list[list[Line]]:
    """The lines of a block, each structured one with the raw ones that follow it; only the first run may lack one."""
    runs: list[list[Line]] = []
    for line in lines_of(block):
        if runs and not line.is_structured and len(runs[-1]) < _LONGEST_RUN:
            runs[-1].append(line)
        else:
            runs.append([line])
    return runs


def _split(data: bytes) -> list[bytes]:
    """As `splitlines`, but that a carriage return alone ends no line: progress bars write those."""
    parts = data.split(b"\n")
    return [*(part + b"\n" for part in parts[:-1]), *([parts[-1]] if parts[-1] else [])]


def backwards(file: BinaryIO, end: int, first_bytes: int) -> Iterator[Block]:
    """The lines before `end`, the newest block first; `first_bytes`: how much is read at first, then ever more."""
    floor = _first_line(file)
    size, rest = first_bytes, b""
    while end > floor:
        start = max(floor, end - size)
        data = _read(file, start, end - start) + rest
        cut = 0 if start == floor or len(data) > LONGEST_LINE else data.find(b"\n", 0, len(data) - 1) + 1
        if cut or start == floor or len(data) > LONGEST_LINE:
            yield Block(start + cut, data[cut:])
            rest = data[:cut]
        else:
            rest = data
        end, size = start, min(size * 4, MOST_BYTES)


def forwards(file: BinaryIO, start: int, end: int, *, whole: bool) -> Iterator[Block]:
    """The lines from `start` to `end`, oldest first; `whole`: without a last one that has no end yet."""
    position = max(start, _first_line(file) if start < data_start(file.fileno()) else 0)
    rest = b""
    while position < end:
        data = _read(file, position, min(MOST_BYTES, end - position))
        if not data:
            return
        begin = position - len(rest)
        position += len(data)
        data = rest + data
        is_last = position >= end and not whole
        cut = len(data) if is_last or len(data) > LONGEST_LINE else data.rfind(b"\n") + 1
        if cut:
            yield Block(begin, data[:cut])
        rest = data[cut:]


def context_before(file: BinaryIO, offset: int, agent_id: str) -> Context:
    """What the lines shortly before `offset` tell of those that follow."""
    context = Context(agent_id)
    start = max(0, offset - _CONTEXT_BYTES)
    data = _read(file, start, offset - start)
    at = data.rfind(b"\n{", 0, max(0, len(data) - 1))
    if at < 0:
        if start > 0 or not data.startswith(b"{"):
            return context
    for line in lines_of(Block(start + at + 1, data[at + 1 :])):
        context.entry(line.data)
    return context


def seek_time(file: BinaryIO, size: int, is_before: Callable[[datetime], bool]) -> tuple[int, int]:
    """Two offsets, between which lines cease to be before a time; both ends of the file where its lines tell none."""
    low, high = 0, size
    while high - low > _SEEK_BYTES:
        middle = (low + high) // 2
        at = _time_at(file, middle)
        if at is None:
            break
        low, high = (middle, high) if is_before(at) else (low, middle)
    return max(0, low - _SEEK_BYTES), min(size, high + _SEEK_BYTES)


def end_of_lines(file: BinaryIO, size: int) -> int:
    """The offset after the last line of the first `size` bytes that has its end."""
    block = next(backwards(file, size, _CONTEXT_BYTES), None)
    return size if block is None else block.start + block.data.rfind(b"\n") + 1


def _time_at(file: BinaryIO, offset: int) -> datetime | None:
    """When the lines after `offset` were written."""
    data = _read(file, offset, _CONTEXT_BYTES)
    context = Context("")
    for line in data[data.find(b"\n") + 1 : data.rfind(b"\n") + 1].splitlines():
        if (at := context.entry(line).at) is not None:
            return at
    return None


def _first_line(file: BinaryIO) -> int:
    """Where the first whole line begins that was not released."""
    start = data_start(file.fileno())
    if start == 0:
        return 0
    newline = _read(file, start, MOST_BYTES).find(b"\n")
    return start + newline + 1


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset, os.SEEK_SET)
    return file.read(size)
