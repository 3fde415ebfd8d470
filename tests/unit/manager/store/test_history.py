from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from manager.errors import StoreUnavailable
from manager.events import Event, EventKind
from manager.store import history as history_module
from manager.store.history import EventHistory, next_event_id
from tests.unit.manager.fakes import START, FakeClock, run, until


def event(number: int, agent_id: str = "echo", at: datetime = START) -> Event:
    return Event(number, at, EventKind.STATE_CHANGED, f"change {number}", agent_id)


class FakeEvents:
    """The events table in memory; `refusing` is a full disk, `hold` a slow one."""

    def __init__(self, *stored: Event) -> None:
        self.stored = {each.id: each for each in stored}
        self.refusing = False
        self.hold: asyncio.Event | None = None
        self.batches: list[list[int]] = []

    async def last_event_id(self) -> int:
        return max(self.stored, default=0)

    async def append_events(self, events: Sequence[Event]) -> None:
        if self.hold is not None:
            await self.hold.wait()
        self._check()
        self.batches.append([each.id for each in events])
        self.stored |= {each.id: each for each in events}

    async def events(self, *, limit: int, after: int | None = None, agent_id: str | None = None) -> list[Event]:
        self._check()
        found = [
            each
            for _, each in sorted(self.stored.items())
            if each.id > (after or 0) and agent_id in (None, each.agent_id)
        ]
        return found[-limit:] if after is None else found[:limit]

    async def prune_events(self, before: datetime) -> int:
        self._check()
        old = [each.id for each in self.stored.values() if each.at < before]
        for number in old:
            del self.stored[number]
        return len(old)

    def _check(self) -> None:
        if self.refusing:
            raise StoreUnavailable("The disk is full; make room.")


def make(store: FakeEvents, clock: FakeClock | None = None) -> EventHistory:
    return EventHistory(store, clock or FakeClock(), retention_days=30)  # type: ignore[arg-type]


def record(history: EventHistory, *numbers: int) -> None:
    for number in numbers:
        history.record(event(number))


async def ids(history: EventHistory, **query: Any) -> list[int]:
    return [each.id for each in await history.read(**{"limit": 100, **query})]


def test_what_waits_is_read_together_with_what_is_stored() -> None:
    async def scenario() -> None:
        history = make(FakeEvents(event(1), event(2)))
        record(history, 3, 4)
        assert await ids(history) == [1, 2, 3, 4]
        assert await ids(history, limit=3) == [2, 3, 4]
        assert await ids(history, after=1) == [2, 3, 4]
        assert await ids(history, after=1, limit=2) == [2, 3]
        assert await ids(history, after=3) == [4]
        assert [each.id for each in await history.recent(3)] == [4, 3, 2]

    run(scenario())


def test_one_agent_s_events_are_told_apart_in_both_places() -> None:
    async def scenario() -> None:
        history = make(FakeEvents(event(1), event(2, "planner")))
        history.record(event(3, "planner"))
        history.record(event(4))
        assert await ids(history, agent_id="planner") == [2, 3]
        assert [each.id for each in await history.recent(1, "echo")] == [4]

    run(scenario())


def test_events_are_written_in_batches_in_their_order() -> None:
    async def scenario() -> None:
        store = FakeEvents()
        history = make(store)
        writing = asyncio.create_task(history.run())
        record(history, 1, 2, 3)
        await until(lambda: len(store.batches) == 1)
        record(history, 4)
        await until(lambda: len(store.batches) == 2)
        assert store.batches == [[1, 2, 3], [4]]
        await ended(writing)

    run(scenario())


def test_what_comes_while_a_batch_is_written_goes_with_the_next() -> None:
    async def scenario() -> None:
        store = FakeEvents()
        store.hold = asyncio.Event()
        history = make(store)
        writing = asyncio.create_task(history.run())
        record(history, 1)
        await asyncio.sleep(1)
        record(history, 2)
        await asyncio.sleep(1)
        store.hold.set()
        await until(lambda: len(store.batches) == 2)
        assert store.batches == [[1], [2]]
        assert await ids(history) == [1, 2]
        await ended(writing)

    run(scenario())


def test_reading_while_a_batch_is_written_tells_each_event_once() -> None:
    async def scenario() -> None:
        store = FakeEvents()
        store.hold = asyncio.Event()
        history = make(store)
        record(history, 1, 2)
        writing = asyncio.create_task(history.flush())
        reading = asyncio.create_task(ids(history))
        await asyncio.sleep(1)
        store.hold.set()
        assert await reading == [1, 2]
        await writing

    run(scenario())


def test_while_the_disk_refuses_events_wait_and_it_is_said_once() -> None:
    async def scenario() -> None:
        store = FakeEvents()
        store.refusing = True
        history = make(store)
        writing = asyncio.create_task(history.run())
        record(history, 1)
        await asyncio.sleep(60)
        record(history, 2)
        await asyncio.sleep(60)
        store.refusing = False
        await until(lambda: len(store.batches) == 1, within=10)
        assert store.batches == [[1, 2]]
        store.refusing = True
        record(history, 3)
        await asyncio.sleep(60)
        await ended(writing)

    with capture_logs() as logs:
        run(scenario())
    assert [(entry["event"], entry["error"]) for entry in logs] == [
        ("Event history cannot be written", "The disk is full; make room.")
    ] * 2


def test_waiting_events_are_bounded_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_PENDING_LIMIT", 3)

    async def scenario() -> None:
        store = FakeEvents()
        history = make(store)
        record(history, 1, 2, 3, 4, 5)
        await history.flush()
        assert store.batches == [[3, 4, 5]]

    run(scenario())


def test_flush_says_that_the_disk_refuses_and_keeps_what_it_could_not_write() -> None:
    async def scenario() -> None:
        store = FakeEvents()
        store.refusing = True
        history = make(store)
        record(history, 1)
        with pytest.raises(StoreUnavailable):
            await history.flush()
        store.refusing = False
        await history.flush()
        await history.flush()
        assert store.batches == [[1]]

    run(scenario())


def test_closing_writes_what_waits() -> None:
    async def scenario() -> None:
        store = FakeEvents()
        history = make(store)
        record(history, 1, 2)
        await history.close()
        assert store.batches == [[1, 2]]

    run(scenario())


def test_closing_on_a_refusing_disk_says_how_much_is_lost() -> None:
    async def scenario() -> None:
        store = FakeEvents()
        store.refusing = True
        history = make(store)
        record(history, 1, 2)
        await history.close()

    with capture_logs() as logs:
        run(scenario())
    assert [(entry["event"], entry["lost"]) for entry in logs] == [("Newest events are lost", 2)]


def test_old_events_go_at_the_first_write_and_then_once_an_hour() -> None:
    clock = FakeClock()
    old = START - timedelta(days=31)

    async def scenario() -> None:
        store = FakeEvents(event(1, at=old), event(2))
        history = make(store, clock)
        writing = asyncio.create_task(history.run())
        record(history, 3)
        await until(lambda: len(store.batches) == 1)
        await asyncio.sleep(1)
        assert sorted(store.stored) == [2, 3]
        store.stored[0] = event(0, at=old)
        record(history, 4)
        await asyncio.sleep(1)
        assert sorted(store.stored) == [0, 2, 3, 4]
        await asyncio.sleep(3600)
        record(history, 5)
        await asyncio.sleep(1)
        assert sorted(store.stored) == [2, 3, 4, 5]
        await ended(writing)

    run(scenario(), clock)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize(("stored", "first"), [((), 1), ((event(1), event(7)), 10_008)])
def test_a_manager_gives_no_id_that_one_that_was_killed_may_have_given(stored: tuple[Event, ...], first: int) -> None:
    assert asyncio.run(next_event_id(FakeEvents(*stored))) == first  # type: ignore[arg-type]
