"""One agent's log as a sequence of items in the order of time, whichever way it is read, over all its files.

Besides the entries that match there are items that only tell how far reading has come: so whoever merges many logs
knows that nothing newer is to come from this one, and can stop at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Any, BinaryIO, NamedTuple

from manager.telemetry.log_reading.blocks import (
    Block,
    Line,
    backwards,
    context_before,
    forwards,
    pieces_of,
    runs_of,
    seek_time,
)
from manager.telemetry.log_reading.cursor import Offsets
from manager.telemetry.log_reading.entry import Context, LogEntry
from manager.telemetry.log_reading.matching import Matcher
from manager.telemetry.log_reading.snapshot import LogFile

# Lines of several writers in one file may be out of order by so much.
_DISORDER = timedelta(seconds=5)
# What is looked through at once: so much that it stays in the processor's cache, then a few lines of that.
_PIECE_BYTES = 32 * 1024
_FEW_BYTES = 1024


class Item(NamedTuple):
    """An entry that matches, or None, and where to go on after it. `time`: seconds since 1970, or infinite."""

    time: float
    agent_id: str
    number: int
    offset: int
    entry: LogEntry | None


@dataclass(frozen=True)
class Source:
    """One agent's files, oldest first, and what is looked for in them."""

    agent_id: str
    files: Sequence[LogFile]
    matcher: Matcher
    since: datetime | None
    until: datetime | None
    first_bytes: int

    def newest_first(self, before: Offsets | None) -> Iterator[Item]:
        """Backwards, from the end or from where an earlier reading stopped. Raises OSError, `BadRequest`."""
        time = inf
        for file in reversed(self.files):
            end = _end(file, before)
            if end and not self._is_too_old(file) and (opened := file.open()) is not None:
                with opened:
                    for item in self._backwards(opened, file, end, time):
                        time = item.time
                        yield item
                        if item.entry is None and self._is_past(time):
                            return

    def oldest_first(self, after: Offsets | None) -> Iterator[Item]:
        """Forwards, from the beginning or from where an earlier reading stopped. Raises OSError, `BadRequest`.

        The last line of the file that is written is left for later as long as it has no end.
        """
        time = -inf
        for file in self.files:
            start = _start(file, after)
            if start is None or start >= file.size:
                continue
            if self._is_too_old(file):
                yield Item(time, self.agent_id, file.number, file.size, None)
            elif (opened := file.open()) is not None:
                with opened:
                    for item in self._forwards(opened, file, start, time):
                        time = item.time
                        yield item

    def _is_too_old(self, file: LogFile) -> bool:
        return self.since is not None and file.changed_at < self.since.timestamp()

    def _is_past(self, time: float) -> bool:
        return self.since is not None and time < (self.since - _DISORDER).timestamp()

    def _backwards(self, opened: BinaryIO, file: LogFile, end: int, time: float) -> Iterator[Item]:
        if (until := self.until) is not None:
            end = min(end, seek_time(opened, file.size, lambda at: at <= until)[1])
        for block in backwards(opened, end, self.first_bytes):
            for run in self._runs(opened, block, reversed):
                for line, entry in reversed(self._matching(opened, run)):
                    time = min(time, _seconds(entry.at, time))
                    yield Item(time, self.agent_id, file.number, line.start, entry)
                yield Item(time, self.agent_id, file.number, run[0].start, None)
            time = min(time, _seconds(_first_time(block), time))
            yield Item(time, self.agent_id, file.number, block.start, None)

    def _forwards(self, opened: BinaryIO, file: LogFile, start: int, time: float) -> Iterator[Item]:
        if (since := self.since) is not None:
            start = max(start, seek_time(opened, file.size, lambda at: at < since)[0])
        for block in forwards(opened, start, file.size, whole=file is self.files[-1]):
            for run in self._runs(opened, block, iter):
                for line, entry in self._matching(opened, run):
                    time = max(time, _seconds(entry.at, time))
                    yield Item(time, self.agent_id, file.number, line.end, entry)
                yield Item(time, self.agent_id, file.number, run[-1].end, None)
            time = max(time, _seconds(_first_time(block), time))
            yield Item(time, self.agent_id, file.number, block.end, None)

    def _runs(self, opened: BinaryIO, block: Block, order: Callable[..., Iterator[Any]]) -> Iterator[list[Line]]:
        """The runs of a block in which lines may match. `order`: `iter`, or `reversed` for the newest first."""
        for piece in order(pieces_of(block, _PIECE_BYTES)):
            if self._may_match(opened, piece):
                for few in order(pieces_of(piece, _FEW_BYTES)):
                    if self._may_match(opened, few):
                        yield from order(runs_of(few))

    def _may_match(self, opened: BinaryIO, piece: Block) -> bool:
        if self.matcher.may_match(piece.data):
            return True
        if piece.is_structured or not self.matcher.is_inherited:
            return False
        return self.matcher.may_inherit(context_before(opened, piece.start, self.agent_id))

    def _matching(self, opened: BinaryIO, run: Sequence[Line]) -> list[tuple[Line, LogEntry]]:
        """What of a run matches, oldest first."""
        said = [self.matcher.says(line.data) for line in run]
        if not any(said):
            return []
        context = Context(self.agent_id)
        if not run[0].is_structured:
            context = context_before(opened, run[0].start, self.agent_id)
        entries = [context.entry(line.data) for line in run]
        found = zip(run, entries, said, strict=True)
        return [(line, entry) for line, entry, is_said in found if is_said and self.matcher.matches(entry)]


def _end(file: LogFile, before: Offsets | None) -> int:
    """Up to where the file has not been read yet, going back."""
    if before is None:
        return file.size
    number, offset = max(before.items(), default=(0, 0))
    if file.number == number:
        return min(offset, file.size)
    return file.size if file.number < number else 0


def _start(file: LogFile, after: Offsets | None) -> int | None:
    """From where on the file has not been read yet, going forward; None where it is done with."""
    if after is None or file.number in after:
        return (after or {}).get(file.number, 0)
    return 0 if not after or file.number > max(after) else None


def _first_time(block: Block) -> datetime | None:
    """When the first structured line of the block was written."""
    position = 0 if block.is_structured else block.data.find(b"\n{") + 1
    end = block.data.find(b"\n", position)
    return Context("").entry(block.data[position : end if end >= 0 else None]).at


def _seconds(at: datetime | None, otherwise: float) -> float:
    return otherwise if at is None else at.timestamp()
