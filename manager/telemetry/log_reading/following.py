"""What agents write from now on: looked for again and again, cheaply where nothing was written."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path

from agent_service.log_files import numbered
from agent_service.log_space import data_start
from manager.errors import BadRequest
from manager.telemetry.log_reading.cursor import Cursor, Offsets
from manager.telemetry.log_reading.entry import LogEntry, LogPage
from manager.telemetry.log_reading.matching import Matcher
from manager.telemetry.log_reading.query import LogQuery
from manager.telemetry.log_reading.scan import advance, reading
from manager.telemetry.log_reading.snapshot import Identity, LogFile, identity_of, snapshots, stat_of
from manager.telemetry.log_reading.sources import Source
from manager.telemetry.logs import AgentLogs

# Entries in one answer; what is left comes with the next.
_MOST = 1000
_FIRST_BYTES = 64 * 1024


class Following:
    """Goes on after `cursor`. An agent whose log is new is read from its beginning."""

    def __init__(self, logs: AgentLogs, query: LogQuery, matcher: Matcher, cursor: Cursor) -> None:
        if cursor.direction != "newer":
            raise BadRequest("cursor is the `older` of a page; give its `newer` to follow.")
        self._logs = logs
        self._query = query
        self._matcher = matcher
        self._offsets: dict[str, Offsets] = {agent: dict(offsets) for agent, offsets in cursor.agents.items()}
        self._written: dict[str, tuple[Identity, int]] = {}
        """The file that each agent was writing at the last look, and its number."""

    def step(self) -> LogPage | None:
        """What has come; None where that is nothing. Raises `BadRequest`, `StoreUnavailable`."""
        found: list[LogEntry] = []
        with reading():
            files = self._news()
            notes = [note for agent, each in files.items() if (note := self._catch_up(agent, each)) is not None]
            sources = [self._source(agent, each) for agent, each in files.items()]
            streams = [each.oldest_first(dict(self._offsets[each.agent_id])) for each in sources]
            for item in heapq.merge(*streams, key=lambda item: item.time):
                advance(self._offsets[item.agent_id], item)
                if item.entry is not None:
                    found.append(item.entry)
                    if len(found) == _MOST:
                        # What was not read yet may be in files that look as if they were done with.
                        self._written.clear()
                        break
        if not found and not notes:
            return None
        newer = Cursor("newer", self._offsets).encode()
        return LogPage(entries=found, newer=newer, note=" ".join(notes) if notes else None)

    def _news(self) -> dict[str, list[LogFile]]:
        """The files of the agents that have written."""
        agents = self._query.agents or self._logs.ids()
        paths = {agent: path for agent in agents if self._has_written(agent, path := self._logs.path(agent))}
        found = snapshots(list(paths.values()))
        return {agent: found[path] for agent, path in paths.items() if found[path]}

    def _has_written(self, agent: str, log: Path) -> bool:
        stat = stat_of(log)
        if stat is None:
            return False
        offsets = self._offsets.setdefault(agent, {})
        written, newest = self._written.get(agent, (None, 0))
        if identity_of(stat) != written or stat.st_size > offsets.get(newest, 0):
            return True
        return any(
            (older := stat_of(numbered(log, number))) is not None and older.st_size > offset
            for number, offset in offsets.items()
            if number != newest
        )

    def _catch_up(self, agent: str, files: Sequence[LogFile]) -> str | None:
        """Know the file that is written now; a note where lines were deleted before they could be read."""
        offsets = self._offsets[agent]
        self._written[agent] = (files[-1].identity, files[-1].number)
        if offsets and max(offsets) > files[-1].number:
            # Somebody has removed them all, and numbers begin anew.
            offsets.clear()
        if offsets and (max(offsets) < files[0].number or _is_released(files, offsets)):
            return f"{agent} writes faster than it can be read here: some of its oldest lines were deleted before."
        return None

    def _source(self, agent: str, files: Sequence[LogFile]) -> Source:
        return Source(agent, files, self._matcher, self._query.since, self._query.until, _FIRST_BYTES)


def _is_released(files: Sequence[LogFile], offsets: Offsets) -> bool:
    """Whether the place where reading is to go on has been freed, in the file that is being read."""
    newest = max(offsets)
    for file in files:
        if file.number == newest and offsets[newest] < file.size and (opened := file.open()) is not None:
            with opened:
                return data_start(opened.fileno()) > offsets[newest]
    return False
