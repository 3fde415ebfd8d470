"""The history over HTTP: whose events can be asked for, and where a live stream goes on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from manager.api.events import Events
from manager.errors import UnknownAgent
from manager.events import Event, EventBus, EventKind
from manager.store.history import EventHistory
from manager.supervision.fleet import Fleet
from tests.unit.manager.fakes import FakeClock


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

    async def read(self, *, limit: int, after: int | None = None, agent_id: str | None = None) -> list[Event]:
        return [event for event in self._events if event.id > (after or 0) and agent_id in (None, event.agent_id)]

    async def recent(self, limit: int, agent_id: str | None = None) -> list[Event]:
        return (await self.read(limit=limit, agent_id=agent_id))[-limit:]


def served() -> tuple[Events, EventBus]:
    bus = EventBus(FakeClock(), next_id=1)
    return Events(cast("EventHistory", History(bus)), bus, cast("Fleet", OneAgent())), bus


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
    assert asyncio.run(events.events(request("agent=echo"))).body == b'{"events":[]}'


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
