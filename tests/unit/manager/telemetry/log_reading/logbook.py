"""Logs of several agents in a directory, and what a reader makes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent_service.contract import rfc3339
from agent_service.log_files import rotate
from manager.telemetry.log_reading.entry import LogEntry, LogPage
from manager.telemetry.log_reading.query import LogQuery
from manager.telemetry.log_reading.reader import LogReader
from manager.telemetry.logs import AgentLogs

START = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def line(second: float, event: str, **fields: Any) -> str:
    """A line as an adapter writes it, so many seconds after `START`."""
    stamp = rfc3339(START + timedelta(seconds=second))
    return json.dumps({"timestamp": stamp, "level": "info", "event": event, "instance_id": "i-1", **fields})


def messages(entries: list[LogEntry]) -> list[str]:
    return [each.message for each in entries]


class Logbook:
    """What agents have written, and a reader of it."""

    def __init__(self, directory: Path) -> None:
        self.logs = AgentLogs(directory)
        self.reader = LogReader(self.logs)

    def write(self, agent_id: str, *lines: str, end: str = "\n") -> None:
        with self.logs.path(agent_id).open("a", newline="") as file:
            file.write("".join(f"{each}{end}" for each in lines))

    def rotate(self, agent_id: str) -> Path:
        target = rotate(self.logs.path(agent_id))
        assert target is not None
        return target

    def page(self, *agents: str, **criteria: Any) -> LogPage:
        return asyncio.run(self.reader.page(LogQuery(agents=agents, **criteria)))

    def said(self, *agents: str, **criteria: Any) -> list[str]:
        return messages(self.page(*agents, **criteria).entries)

    def search(self, *agents: str, **criteria: Any) -> list[LogPage]:
        async def pages() -> list[LogPage]:
            return [page async for page in self.reader.search(LogQuery(agents=agents, **criteria))]

        return asyncio.run(pages())


async def followed(pages: AsyncIterator[LogPage | None], count: int) -> list[LogEntry]:
    """The next entries of a follow, at least so many."""
    found: list[LogEntry] = []
    while len(found) < count:
        page = await anext(pages)
        found += page.entries if page is not None else []
    return found
