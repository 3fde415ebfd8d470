"""One reading of many logs from a moment on, back or forth, in steps."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_service.log_files import base_of
from manager.errors import StoreUnavailable
from manager.telemetry.log_reading.blocks import end_of_lines
from manager.telemetry.log_reading.cursor import Cursor, Direction, Offsets
from manager.telemetry.log_reading.entry import LogEntry, LogPage
from manager.telemetry.log_reading.matching import Matcher
from manager.telemetry.log_reading.query import LogQuery
from manager.telemetry.log_reading.snapshot import LogFile, snapshots
from manager.telemetry.log_reading.sources import Item, Source
from manager.telemetry.logs import AgentLogs

# Raw lines are understood together: a page of them should not begin with many times what it shows.
_FIRST_BYTES = 32 * 1024
# Of very many logs little is needed of each.
_FEW_FIRST_BYTES = 8 * 1024
_MANY = 16
# Files that somebody may still write to: the newest, and those who have not noticed its beginning.
FOLLOWED_FILES = 2


class Scan:
    """Begins at the ends of the logs, or at the query's cursor. Raises `BadRequest`, `StoreUnavailable`."""

    def __init__(self, logs: AgentLogs, query: LogQuery) -> None:
        cursor = Cursor.decode(query.cursor) if query.cursor else None
        self._direction: Direction = _direction(query, cursor)
        self._is_cancelled = False
        self._has_more = True
        told = cursor.agents if cursor else {}
        with reading():
            files = files_of(logs, query)
            if self._direction == "older":
                self._after = told if cursor else ends_of(files)
                ends = {agent: {found[-1].number: found[-1].size} for agent, found in files.items() if found}
                self._before = ends | told
            else:
                self._after = {agent: dict(told.get(agent, {})) for agent in files}
                self._before = {agent: dict([max(offsets.items())]) for agent, offsets in told.items() if offsets}
        self._older = Cursor("older", self._before).encode() if self._before and self._direction == "newer" else None
        self._items = self._merged(files, Matcher(query), query, told)

    def cancel(self) -> None:
        """The step under way ends soon, having found nothing more."""
        self._is_cancelled = True

    def step(self, lines: int, seconds: float) -> LogPage:
        """The next entries: at most `lines`, and what `seconds` suffice for. Raises `BadRequest`, `StoreUnavailable`.

        `complete`: so many were found, or there are no more.
        """
        deadline = time.monotonic() + seconds
        found: list[LogEntry] = []
        complete = True
        with reading():
            while len(found) < lines:
                item = next(self._items, None)
                if item is None:
                    self._has_more = False
                    break
                self._note(item)
                if item.entry is not None:
                    found.append(item.entry)
                elif self._is_cancelled or time.monotonic() > deadline:
                    complete = False
                    break
        return self._page_of(found, complete)

    def _merged(
        self, files: dict[str, list[LogFile]], matcher: Matcher, query: LogQuery, told: dict[str, Offsets]
    ) -> Iterator[Item]:
        first_bytes = _FIRST_BYTES if len(files) < _MANY else _FEW_FIRST_BYTES
        sources = [
            Source(agent, found, matcher, query.since, query.until, first_bytes) for agent, found in files.items()
        ]
        if self._direction == "older":
            streams = [each.newest_first(told.get(each.agent_id)) for each in sources]
            return heapq.merge(*streams, key=lambda item: item.time, reverse=True)
        streams = [each.oldest_first(told.get(each.agent_id)) for each in sources]
        return heapq.merge(*streams, key=lambda item: item.time)

    def _note(self, item: Item) -> None:
        if self._direction == "older":
            self._before[item.agent_id] = {item.number: item.offset}
        else:
            advance(self._after[item.agent_id], item)

    def _page_of(self, found: list[LogEntry], complete: bool) -> LogPage:
        newer = Cursor("newer", self._after).encode()
        if self._direction == "newer":
            return LogPage(entries=found, older=self._older, newer=newer, complete=complete)
        older = Cursor("older", self._before).encode() if self._has_more else None
        return LogPage(entries=found[::-1], older=older, newer=newer, complete=complete)


def files_of(logs: AgentLogs, query: LogQuery) -> dict[str, list[LogFile]]:
    """The files of each agent that the query names, or of all."""
    agents = query.agents or logs.ids()
    paths = {agent: logs.path(agent) for agent in agents}
    found = snapshots(list(paths.values()))
    return {agent: found[path] for agent, path in paths.items()}


def ends_of(files: dict[str, list[LogFile]]) -> dict[str, Offsets]:
    """Where the lines that come next will begin."""
    return {
        agent: {each.number: _end_of(each) for each in found[-FOLLOWED_FILES:]}
        for agent, found in files.items()
        if found
    }


def advance(offsets: Offsets, item: Item) -> None:
    """What follows the item has not been read yet; files that are done with are forgotten."""
    offsets[item.number] = item.offset
    for number in sorted(offsets)[:-FOLLOWED_FILES]:
        del offsets[number]


@contextmanager
def reading() -> Iterator[None]:
    """What the system refuses, as a sentence. Raises `StoreUnavailable`."""
    try:
        yield
    except OSError as error:
        name = base_of(Path(error.filename).name)[0] if error.filename else "a log"
        raise StoreUnavailable(f"{name} cannot be read ({error.strerror}); mend the file's permissions.") from error


def _end_of(file: LogFile) -> int:
    opened = file.open()
    if opened is None:
        return 0
    with opened:
        return end_of_lines(opened, file.size)


def _direction(query: LogQuery, cursor: Cursor | None) -> Direction:
    if cursor is not None:
        return cursor.direction
    return "older" if query.order == "newest" else "newer"
