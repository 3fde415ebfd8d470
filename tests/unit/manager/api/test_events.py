"""The history over HTTP: whose events can be asked for, and where a live stream goes on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from manager.api.events import Events
from manager.errors import BadRequest, UnknownAgent
from manager.event_filter import EventFilter
from manager.events import Event, EventBus, EventKind
from manager.store.history import EventHistory, EventPage
from manager.supervision.fleet import Fleet
from tests.unit.manager.fakes.clock import FakeClock


class OneAgent:
    """A fleet of echo alone."""

    def agent(self, agent_id: str) -> None:
        if agent_id != "echo":
            raise UnknownAgent(f"There is no agent {agent_id!r}.", agent_id=agent_id)


class History:
    """What was published on the bus."""

    def __init__(self, bus: EventBus) -> None:
        self._events: list[Event] = []
        bus.listen(self._events.append)

    async def read(
        self, asked: EventFilter, *, limit: int, after: int | None = None, before: int | None = None
    ) -> list[Event]:
        found = [each for each in self._events if (after or 0) < each.id < (before or 10**9) and asked.matches(each)]
        return found[-limit:] if after is None else found[:limit]

    async def page(self, asked: EventFilter, **where: Any) -> EventPage:
        found = await self.read(asked, **where)
        return EventPage(found, older=None, newer=found[-1].id if found else None)

    async def recent(self, limit: int, agent_id: str | None = None) -> list[Event]:
        return await self.read(EventFilter(agent_id=agent_id), limit=limit)


def served() -> tuple[Events, EventBus]:
    clock = FakeClock()
    bus = EventBus(clock, next_id=1)
    return Events(cast("EventHistory", History(bus)), bus, cast("Fleet", OneAgent()), clock), bus


def request(query: str, **headers: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "query_string": query.encode(), "headers": raw})


@pytest.mark.parametrize("headers", [{}, {"accept": "text/event-stream"}])
def test_an_agent_that_never_was_is_unknown(headers: dict[str, str]) -> None:
    events, _ = served()
    with pytest.raises(UnknownAgent, match="nosuch"):
        asyncio.run(events.events(request("agent=nosuch", **headers)))


def test_an_agent_without_events_has_an_empty_history() -> None:
    events, _ = served()
    assert asyncio.run(events.events(request("agent=echo"))).body == b'{"events":[],"older":null,"newer":null}'


def test_an_agent_that_is_gone_keeps_its_history() -> None:
    events, bus = served()
    bus.publish(EventKind.STATE_CHANGED, "gone is stopped", agent_id="gone")
    assert b"gone is stopped" in asyncio.run(events.events(request("agent=gone"))).body


def test_a_reader_with_an_id_of_another_history_gets_what_happens_from_now_on() -> None:
    async def first_live_event() -> Any:
        events, bus = served()
        bus.publish(EventKind.STATE_CHANGED, "before")
        answer = await events.events(request("after=900", accept="text/event-stream"))
        assert isinstance(answer, StreamingResponse)
        frames = aiter(answer.body_iterator)
        await anext(frames)
        bus.publish(EventKind.STATE_CHANGED, "after")
        async with asyncio.timeout(5):
            return await anext(frames)

    assert b'"message":"after"' in asyncio.run(first_live_event())


def test_the_list_and_the_stream_obey_the_same_filter() -> None:
    async def told() -> tuple[bytes, Any]:
        events, bus = served()
        bus.publish(EventKind.STATE_CHANGED, "echo has failed", agent_id="echo", state="failed")
        bus.publish(EventKind.STATE_CHANGED, "echo is starting", agent_id="echo", state="starting")
        listed = await events.events(request("kind=failed,manager_started"))
        answer = await events.events(request("kind=failed&after=0", accept="text/event-stream"))
        assert isinstance(answer, StreamingResponse)
        frames = aiter(answer.body_iterator)
        await anext(frames)
        first = await anext(frames)
        bus.publish(EventKind.STATE_CHANGED, "echo runs", agent_id="echo", state="running")
        bus.publish(EventKind.STATE_CHANGED, "echo has failed again", agent_id="echo", state="failed")
        async with asyncio.timeout(5):
            return bytes(listed.body), (first, await anext(frames))

    listed, (first, second) = asyncio.run(told())
    assert listed.count(b'"id"') == 1
    assert b"echo has failed" in listed
    assert b"echo has failed" in first
    assert b"echo has failed again" in second


def test_both_directions_at_once_are_refused() -> None:
    events, _ = served()
    with pytest.raises(BadRequest, match="not both"):
        asyncio.run(events.events(request("after=1&before=9")))
