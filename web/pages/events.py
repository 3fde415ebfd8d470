"""The history: every fact that was ever told, filtered, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from manager.clock import Clock
from manager.errors import ManagerError, UnknownAgent
from manager.event_filter import EVERYTHING, EventFilter
from manager.events import EventKind
from manager.store.history import EventPage
from manager.supervision.fleet import Fleet
from manager.supervision.states import AgentState
from web.event_rows import event_rows
from web.pages.answers import html
from web.pages.frame import Frame
from web.pages.queries import given, id_of
from web.rendering import Outcome, Renderer

PAGE_SIZE = 100
ReadFilter = Callable[[QueryParams, datetime], EventFilter]
_FILTERS = ("agent", "kind", "actor", "text", "since", "until")


class EventHistory(Protocol):
    """Where the history comes from; `manager.store.history.EventHistory` is one."""

    async def page(
        self, asked: EventFilter = EVERYTHING, *, limit: int, before: int | None = None, after: int | None = None
    ) -> EventPage: ...


@dataclass(frozen=True)
class Paging:
    """Addresses of the pages beside this one, and of its own rows as a fragment where it grows by itself."""

    older: str | None
    newer: str | None
    newest: str | None
    live: str | None


class EventPages:
    """One page, and its rows as a fragment; `read_filter` reads a query as the API does."""

    def __init__(
        self,
        frame: Frame,
        fleet: Fleet,
        history: EventHistory,
        read_filter: ReadFilter,
        renderer: Renderer,
        clock: Clock,
    ) -> None:
        self._frame = frame
        self._fleet = fleet
        self._history = history
        self._read_filter = read_filter
        self._renderer = renderer
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        """What this module serves."""
        guarded = self._frame.guarded
        return [
            Route("/events", guarded(self.show), methods=["GET"]),
            Route("/ui/events", guarded(self.rows), methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """The page; a filter that cannot be read is told above an empty one."""
        try:
            found = await self._find(request.query_params)
        except ManagerError as error:
            outcome = Outcome("Not filtered", error.detail, refused=True)
            return html(self._page(request.query_params, None, outcome), self._frame.status_of(error))
        return html(self._page(request.query_params, found, None))

    async def rows(self, request: Request) -> Response:
        """The rows alone, which the page on display takes in."""
        try:
            found = await self._find(request.query_params)
        except ManagerError as error:
            return self._frame.refused(request, "No events to show", error)
        return html(self._rows(found))

    async def _find(self, params: QueryParams) -> EventPage:
        asked = self._read_filter(given(params, _FILTERS), self._clock.now())
        found = await self._history.page(
            asked, limit=PAGE_SIZE, before=id_of(params, "before"), after=id_of(params, "after")
        )
        if asked.agent_id is not None and not found.events:
            await self._check_known(asked.agent_id)
        return found

    async def _check_known(self, agent_id: str) -> None:
        """An agent that is gone is known as long as the history tells of it. Raises `UnknownAgent`."""
        try:
            self._fleet.agent(agent_id)
        except UnknownAgent:
            if not (await self._history.page(EventFilter(agent_id=agent_id), limit=1)).events:
                raise

    def _page(self, params: QueryParams, found: EventPage | None, outcome: Outcome | None) -> Markup:
        return self._renderer.render(
            "events_page.html",
            page=self._frame.context("events"),
            outcome=outcome,
            rows=self._rows(found) if found else None,
            paging=_paging(params, found),
            asked={name: params.get(name, "") for name in _FILTERS},
            agents=[view.id for view in self._fleet.agents()],
            kinds=[kind.value for kind in EventKind],
            states=[state.value for state in AgentState],
            filtered=bool(given(params, _FILTERS)),
        )

    def _rows(self, found: EventPage) -> Markup:
        rows = event_rows(reversed(found.events), self._clock.now())
        return self._renderer.render("history_rows.html", events=rows, with_agent=True)


def _paging(params: QueryParams, found: EventPage | None) -> Paging:
    filters = [*given(params, _FILTERS).multi_items()]

    def address(path: str, **place: int | None) -> str:
        query = urlencode([*filters, *((key, str(value)) for key, value in place.items())])
        return f"{path}?{query}" if query else path

    placed = "before" in params or "after" in params
    older = found.older if found else None
    newer = found.newer if found and placed else None
    return Paging(
        older=None if older is None else address("/events", before=older),
        newer=None if newer is None else address("/events", after=newer),
        newest=address("/events") if placed else None,
        live=None if placed or params.get("until") or found is None else address("/ui/events"),
    )
