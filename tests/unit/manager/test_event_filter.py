"""One filter, twice: in memory and as SQL. Both must choose the same events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from manager.event_filter import EventFilter
from manager.events import STATES, TOPICS, Event, EventKind
from manager.store.store import Store
from manager.supervision.states import AgentState

NOON = datetime(2026, 1, 2, 12, 0, 0, 123_900, tzinfo=UTC)

EVENTS = [
    Event(1, NOON - timedelta(hours=1), EventKind.MANAGER_STARTED, "The manager serves"),
    Event(2, NOON, EventKind.STATE_CHANGED, "echo is starting", "echo", data={"state": "starting"}),
    Event(3, NOON, EventKind.STATE_CHANGED, "echo has FAILED", "echo", data={"state": "failed"}),
    Event(4, NOON, EventKind.DESIRED_CHANGED, "ada asked echo to stop", "echo", None, "the Disk is full", "ada"),
    Event(5, NOON + timedelta(hours=1), EventKind.STATE_CHANGED, "100% Übel", "planner", data={"state": "failed"}),
    Event(6, NOON + timedelta(hours=1), EventKind.START_FAILED, "no state here", "planner", data={"state": "failed"}),
]

CASES = [
    (EventFilter(), [1, 2, 3, 4, 5, 6]),
    (EventFilter(agent_id="echo"), [2, 3, 4]),
    (EventFilter(kinds=frozenset({"failed"})), [3, 5]),
    (EventFilter(kinds=frozenset({"state_changed"})), [2, 3, 5]),
    (EventFilter(kinds=frozenset({"starting", "manager_started"})), [1, 2]),
    (EventFilter(kinds=frozenset({"lost"})), []),
    (EventFilter(kinds=frozenset({"lost", "state_changed", "manager_started"})), [1, 2, 3, 5]),
    (EventFilter(actor="ada"), [4]),
    (EventFilter(actor="ad"), []),
    (EventFilter(text="failed"), [3]),
    (EventFilter(text="DISK IS"), [4]),
    (EventFilter(text="100%"), [5]),
    (EventFilter(text="Übel"), [5]),
    (EventFilter(text="übel"), []),
    (EventFilter(text="_"), []),
    (EventFilter(since=NOON), [2, 3, 4, 5, 6]),
    (EventFilter(until=NOON), [1]),
    (EventFilter(since=NOON, until=NOON + timedelta(hours=1)), [2, 3, 4]),
    (EventFilter(agent_id="planner", kinds=frozenset({"failed"}), text="bel", since=NOON), [5]),
]


@pytest.mark.parametrize(("asked", "expected"), CASES)
def test_the_filter_in_memory(asked: EventFilter, expected: list[int]) -> None:
    assert [event.id for event in EVENTS if asked.matches(event)] == expected


def test_the_filter_as_sql(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await Store.open(tmp_path)
        try:
            await store.events.append(EVENTS)
            for asked, expected in CASES:
                assert [event.id for event in await store.events.find(asked, limit=100)] == expected, asked
        finally:
            await store.close()

    asyncio.run(scenario())


def test_topics_are_all_kinds_and_all_states_and_no_name_is_both() -> None:
    assert STATES == tuple(AgentState)
    assert len(TOPICS) == len(EventKind) + len(AgentState)


def test_a_change_of_state_is_best_told_by_the_new_state() -> None:
    assert [event.topic for event in EVENTS] == [
        "manager_started",
        "starting",
        "failed",
        "desired_changed",
        "failed",
        "start_failed",
    ]
