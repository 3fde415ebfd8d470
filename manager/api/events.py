"""`GET /api/events`: the lifecycle history, as a list or live as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from agent_service.contract import Timestamp
from agent_service.http.event_stream import HEADERS, KEEP_ALIVE, KEEP_ALIVE_SECONDS, wants_stream
from agent_service.http.event_stream import event as frame
from manager.api.event_query import PARAMETERS, read_filter
from manager.api.operation import Operation, QueryParameter, json_response, whole_number
from manager.clock import Clock
from manager.errors import BadRequest, UnknownAgent
from manager.event_filter import EventFilter
from manager.events import Event, EventBus, EventKind, Subscription
from manager.store.history import EventHistory
from manager.supervision.fleet import Fleet

_DEFAULT_LIMIT = 100
_MAX_LIMIT = 1000
_MAX_ID = 2**62


class EventModel(BaseModel):
    """One event on the wire."""

    id: int
    at: Timestamp
    kind: EventKind
    message: str
    agent_id: str | None
    instance_id: str | None
    reason: str | None
    actor: str | None
    data: dict[str, Any]


class EventList(BaseModel):
    """Oldest first. For the page of older events give `older` as `before`, for newer ones `newer` as `after`."""

    events: list[EventModel]
    older: int | None = None
    newer: int | None = None


class Events:
    """The endpoint; it reads the history and follows the bus."""

    def __init__(self, history: EventHistory, bus: EventBus, fleet: Fleet, clock: Clock) -> None:
        self._history = history
        self._bus = bus
        self._fleet = fleet
        self._clock = clock

    def operations(self) -> list[Operation]:
        """What this module serves."""
        return [
            Operation(
                "GET",
                "/api/events",
                "The lifecycle history, oldest first; with Accept: text/event-stream live from there on",
                self.events,
                EventList,
                problems=(400, 404, 503),
                query=(
                    *PARAMETERS,
                    QueryParameter("after", "Only events with a greater id; else the newest.", {"type": "integer"}),
                    QueryParameter("before", "Only events with a smaller id.", {"type": "integer"}),
                    QueryParameter(
                        "limit",
                        "At most so many.",
                        {"type": "integer", "minimum": 1, "maximum": _MAX_LIMIT, "default": _DEFAULT_LIMIT},
                    ),
                ),
                streams_events=True,
            )
        ]

    async def events(self, request: Request) -> Response:
        asked = read_filter(request.query_params, self._clock.now())
        if asked.agent_id is not None:
            await self._check_known(asked.agent_id)
        after = whole_number(request, "after", default=None, lowest=0, highest=_MAX_ID)
        if wants_stream(request):
            return self._stream(after if after is not None else _last_event_id(request), asked)
        before = whole_number(request, "before", default=None, lowest=0, highest=_MAX_ID)
        if after is not None and before is not None:
            raise BadRequest("Give after or before, not both: the one leads to newer events, the other to older ones.")
        limit = whole_number(request, "limit", default=_DEFAULT_LIMIT, lowest=1, highest=_MAX_LIMIT)
        assert limit is not None
        page = await self._history.page(asked, limit=limit, after=after, before=before)
        events = [EventModel.model_validate(event.to_wire()) for event in page.events]
        return json_response(EventList(events=events, older=page.older, newer=page.newer))

    async def _check_known(self, agent_id: str) -> None:
        """An agent that is gone is known as long as the history tells of it. Raises `UnknownAgent`."""
        try:
            self._fleet.agent(agent_id)
        except UnknownAgent:
            if not await self._history.recent(1, agent_id):
                raise

    def _stream(self, after: int | None, asked: EventFilter) -> StreamingResponse:
        headers = {name.decode(): value.decode() for name, value in HEADERS}
        return StreamingResponse(self._frames(after, asked), headers=headers)

    async def _frames(self, after: int | None, asked: EventFilter) -> AsyncIterator[bytes]:
        # Subscribed first: what happens while the history is read is queued, and told only once, by its id.
        with self._bus.subscribe() as live:
            # An id that is yet to come is from another history, whose state directory was removed.
            last = min(after, self._bus.last_id) if after is not None else self._bus.last_id
            yield KEEP_ALIVE
            async for event in self._catch_up(last, asked):
                last = event.id
                yield _frame(event)
            async for newer in _kept_alive(live):
                if newer is None:
                    yield KEEP_ALIVE
                elif newer.id > last and asked.matches(newer):
                    yield _frame(newer)

    async def _catch_up(self, last: int, asked: EventFilter) -> AsyncIterator[Event]:
        while page := await self._history.read(asked, limit=_MAX_LIMIT, after=last):
            for event in page:
                yield event
            last = page[-1].id


async def _kept_alive(live: Subscription) -> AsyncIterator[Event | None]:
    """The events, and None after each silence; ends with the subscription."""
    while True:
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                event = await anext(live)
        except TimeoutError:
            yield None
            continue
        except StopAsyncIteration:
            return
        yield event


def _last_event_id(request: Request) -> int | None:
    """What a browser's EventSource sends when it reconnects."""
    text = request.headers.get("last-event-id")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest(f"Last-Event-ID is {text[:40]!r}; send the id of an event, or leave it out.")
    return int(text)


def _frame(event: Event) -> bytes:
    data = EventModel.model_validate(event.to_wire()).model_dump_json().encode()
    return b"id: %d\n" % event.id + frame(event.kind.value, data)
