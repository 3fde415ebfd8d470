"""The agents' logs as one: pages, searches that stream, and what is written from now on, merged by time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from manager.telemetry.log_reading.cursor import Cursor
from manager.telemetry.log_reading.entry import LogPage
from manager.telemetry.log_reading.following import Following
from manager.telemetry.log_reading.matching import Matcher
from manager.telemetry.log_reading.query import LogQuery
from manager.telemetry.log_reading.scan import Scan
from manager.telemetry.logs import AgentLogs

# How long a page may look for lines that match.
PAGE_SECONDS = 1.0
# How often a search tells what it has found.
SEARCH_SECONDS = 0.05
FOLLOW_SECONDS = 0.25
SILENCE_SECONDS = 15.0


class LogReader:
    """Reads in threads; the event loop never waits for the disk. `is_over`: whether followers are to be left.

    Every method raises `BadRequest` for a query that cannot be answered and `StoreUnavailable` for a log that cannot be
    read.
    """

    def __init__(self, logs: AgentLogs, is_over: Callable[[], bool] = lambda: False) -> None:
        self._logs = logs
        self._is_over = is_over

    async def page(self, query: LogQuery) -> LogPage:
        """At most `query.lines` entries."""
        return await asyncio.to_thread(self._page, query)

    async def search(self, query: LogQuery) -> AsyncGenerator[LogPage, None]:
        """The same entries as they are found, each page further on in the order of the query; the last may be empty.

        It is cancelled by closing it.
        """
        scan = await asyncio.to_thread(Scan, self._logs, query)
        left = query.lines
        try:
            while True:
                page = await asyncio.to_thread(scan.step, left, SEARCH_SECONDS)
                left -= len(page.entries)
                if page.complete:
                    yield page
                    return
                if page.entries:
                    yield page
        finally:
            scan.cancel()

    async def follow(self, query: LogQuery) -> AsyncGenerator[LogPage | None, None]:
        """The newest `query.lines` entries, or those after its cursor, then whatever comes, until it is over.

        None after each silence.
        """
        if query.cursor is None:
            page = await self.page(query)
            yield page
            query = replace(query, cursor=page.newer)
        following = Following(self._logs, query, Matcher(query), Cursor.decode(query.cursor or ""))
        told_at = time.monotonic()
        while not self._is_over():
            news = await asyncio.to_thread(following.step)
            if news is not None:
                told_at = time.monotonic()
                yield news
                continue
            if time.monotonic() - told_at >= SILENCE_SECONDS:
                told_at = time.monotonic()
                yield None
            await asyncio.sleep(FOLLOW_SECONDS)

    def _page(self, query: LogQuery) -> LogPage:
        return Scan(self._logs, query).step(query.lines, PAGE_SECONDS)
