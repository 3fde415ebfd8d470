"""The agents' logs in one view: searched, followed, paged through, downloaded."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from agent_service.http.event_stream import HEADERS, KEEP_ALIVE
from agent_service.http.event_stream import event as frame
from manager.clock import Clock
from manager.errors import ManagerError
from manager.supervision.fleet import Fleet
from manager.telemetry.log_reading.entry import LEVELS, LogEntry, LogPage
from manager.telemetry.log_reading.query import LogQuery, read_query
from web.live import LiveFleet
from web.log_rows import log_rows
from web.pages.answers import PAGE_HEADERS, html
from web.pages.frame import Endpoint, Frame
from web.pages.queries import given
from web.rendering import Outcome, Renderer

PAGE_LINES = 200
PACE_SECONDS = 0.25
CATCHING_UP_SECONDS = 0.05
MOST_IN_A_BATCH = 500
FILTERS = ("agent", "level", "text", "regex", "request", "task", "since", "until")


class _End:
    """What follows the last page."""


_NO_MORE = _End()


class LogReader(Protocol):
    """Where lines come from; `manager.telemetry.log_reading.reader.LogReader` is one."""

    async def page(self, query: LogQuery) -> LogPage: ...

    def search(self, query: LogQuery) -> AsyncIterator[LogPage]: ...

    def follow(self, query: LogQuery) -> AsyncIterator[LogPage | None]: ...


class LogPages:
    """The page, its lines as a fragment and as a stream, and all that match as a file."""

    def __init__(
        self, frame: Frame, fleet: Fleet, logs: LogReader, live: LiveFleet, renderer: Renderer, clock: Clock
    ) -> None:
        self._frame = frame
        self._fleet = fleet
        self._logs = logs
        self._live = live
        self._renderer = renderer
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        """What this module serves."""
        guarded = self._frame.guarded
        return [
            Route("/logs", guarded(self.show), methods=["GET"]),
            Route("/ui/logs", guarded(self._told(self.lines)), methods=["GET"]),
            Route("/ui/logs/stream", guarded(self._told(self.stream)), methods=["GET"]),
            Route("/ui/logs/download", guarded(self._told(self.download)), methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """The page; a filter that cannot be read is told above an empty one."""
        params = request.query_params
        try:
            found = await self._logs.page(self._query(params))
        except ManagerError as error:
            outcome = Outcome("Not filtered", error.detail, refused=True)
            return html(self._page(params, None, outcome), self._frame.status_of(error))
        return html(self._page(params, found, None))

    async def lines(self, request: Request) -> Response:
        """One page of lines."""
        return html(self._lines(await self._logs.page(self._query(request.query_params))))

    async def stream(self, request: Request) -> Response:
        """What is written from the cursor on, as batches of HTML; EventSource goes on where it was cut off."""
        params = request.query_params
        cursor = request.headers.get("last-event-id") or params.get("cursor")
        query = replace(self._query(params), cursor=cursor, order="newest")
        headers = PAGE_HEADERS | {name.decode(): value.decode() for name, value in HEADERS}
        return StreamingResponse(self._batches(query), headers=headers)

    async def download(self, request: Request) -> Response:
        """Every line that matches, oldest first, as text; of several agents with the agent's id before it."""
        query = replace(self._query(request.query_params), lines=sys.maxsize, cursor=None, order="oldest")
        found = self._logs.search(query)
        # What cannot be searched is told as a page; from here on there is a file.
        first = await anext(found, None)
        disposition = f'attachment; filename="{"-".join(query.agents)[:80] or "agents"}.log.txt"'
        headers = PAGE_HEADERS | {"Content-Disposition": disposition}
        media_type = "text/plain; charset=utf-8"
        return StreamingResponse(_text(first, found, len(query.agents) != 1), headers=headers, media_type=media_type)

    async def _batches(self, query: LogQuery) -> AsyncIterator[bytes]:
        yield KEEP_ALIVE
        try:
            async for page in self._until_the_end(self._logs.follow(query)):
                if page is None:
                    yield KEEP_ALIVE
                    continue
                yield self._batch(page)
                # A page that is not full has caught up: the next lines are collected before they are sent.
                await asyncio.sleep(PACE_SECONDS if len(page.entries) <= MOST_IN_A_BATCH else CATCHING_UP_SECONDS)
        except ManagerError as error:
            yield frame("problem", json.dumps({"detail": error.detail}).encode())

    async def _until_the_end(self, pages: AsyncIterator[LogPage | None]) -> AsyncIterator[LogPage | None]:
        """The pages, until there are no more or the manager stops: the server waits for what streams."""
        ended = asyncio.ensure_future(self._live.ended())
        try:
            while True:
                page = asyncio.ensure_future(anext(pages, _NO_MORE))
                await asyncio.wait({page, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not page.done():
                    page.cancel()
                    await asyncio.wait({page})
                    return
                found = page.result()
                if isinstance(found, _End):
                    return
                yield found
        finally:
            ended.cancel()

    def _batch(self, page: LogPage) -> bytes:
        shown = page.entries[-MOST_IN_A_BATCH:]
        data = {"html": self._rows(shown), "left_out": len(page.entries) - len(shown), "note": page.note}
        return f"id: {page.newer}\n".encode() + frame("lines", json.dumps(data).encode())

    def _query(self, params: QueryParams) -> LogQuery:
        """The query of a page's address. Raises `BadRequest`, and `UnknownAgent` for an agent that is none."""
        asked = given(params, (*FILTERS, "at", "cursor"))
        agents = tuple(name.strip() for value in asked.getlist("agent") for name in value.split(",") if name.strip())
        for agent_id in agents:
            self._fleet.agent(agent_id)
        return read_query(_parameters(asked), agents=agents, now=self._clock.now())

    def _page(self, params: QueryParams, found: LogPage | None, outcome: Outcome | None) -> Markup:
        filters = [*given(params, (*FILTERS, "at")).multi_items()]
        return self._renderer.render(
            "logs.html",
            page=self._frame.context("logs"),
            outcome=outcome,
            lines=None if found is None else self._lines(found),
            asked={name: params.get(name, "") for name in (*FILTERS, "at")},
            levels=LEVELS,
            agents=[view.id for view in self._fleet.agents()],
            query=urlencode(filters),
            older=found.older if found else None,
            newer=found.newer if found else None,
            follows=not given(params, ("at", "cursor", "until")),
            filtered=bool(filters),
        )

    def _lines(self, found: LogPage) -> Markup:
        return self._renderer.render(
            "log_page.html", rows=self._rows(found.entries), older=found.older, newer=found.newer, note=_note(found)
        )

    def _rows(self, entries: Sequence[LogEntry]) -> Markup:
        return self._renderer.render("log_rows.html", rows=log_rows(entries))

    def _told(self, endpoint: Endpoint) -> Endpoint:
        async def told(request: Request) -> Response:
            try:
                return await endpoint(request)
            except ManagerError as error:
                return self._frame.refused(request, "No lines to show", error)

        return told


def _parameters(asked: QueryParams) -> Mapping[str, str]:
    """As the API has them: `regex` is a box to tick there, `at` a moment to begin at."""
    values = {"lines": str(PAGE_LINES), **{key: asked[key] for key in asked if key != "agent"}}
    if "at" in values:
        values |= {"since": values.pop("at"), "order": "oldest"}
    if values.pop("regex", None) and "text" in values:
        values["regex"] = values.pop("text")
    return values


async def _text(first: LogPage | None, rest: AsyncIterator[LogPage], several: bool) -> AsyncIterator[str]:
    page = first
    while page is not None:
        yield "".join(f"{entry.agent_id} | {entry.line}\n" if several else f"{entry.line}\n" for entry in page.entries)
        page = await anext(rest, None)


def _note(found: LogPage) -> str | None:
    if found.complete:
        return found.note
    searched = "The search took too long and stopped before it was through; go on with Older, or narrow it."
    return f"{found.note} {searched}" if found.note else searched
