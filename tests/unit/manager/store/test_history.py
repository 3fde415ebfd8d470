from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from manager.errors import StoreUnavailable
from manager.event_filter import EventFilter
from manager.events import Event, EventKind
from manager.store import history as history_module
from manager.store.deliveries import Delivery
from manager.store.event_table import PRUNE_SLICE
from manager.store.history import EventHistory, Retention, next_event_id
from tests.unit.manager.fakes.clock import START, FakeClock, run, until


def event(number: int, agent_id: str = "echo", at: datetime = START) -> Event:
    return Event(number, at, EventKind.STATE_CHANGED, f"change {number}", agent_id)


class FakeEvents:
    """The events table in memory; `refusing` is a full disk, `hold` a slow one."""

    def __init__(self, *stored: Event) -> None:
        self.stored = {each.id: each for each in stored}
        self.refusing = False
        self.hold: asyncio.Event | None = None
        self.batches: list[list[int]] = []
        self.notifications: list[Delivery] = []
        self.slices: list[int] = []

    async def last_id(self) -> int:
        return max(self.stored, default=0)

    async def append(self, events: Sequence[Event], notifications: Sequence[Delivery] = ()) -> None:
        if self.hold is not None:
            await self.hold.wait()
        self._check()
        self.batches.append([each.id for each in events])
        self.stored |= {each.id: each for each in events}
        self.notifications += notifications

    async def find(
        self, asked: EventFilter, *, limit: int, after: int | None = None, before: int | None = None
    ) -> list[Event]:
        self._check()
        found = [
            each
            for _, each in sorted(self.stored.items())
            if (after or 0) < each.id < (before or 10**9) and asked.matches(each)
        ]
        return found[-limit:] if after is None else found[:limit]

    async def prune(self, *, before: datetime, keep: int) -> int:
        self._check()
        old = [each.id for each in self.stored.values() if each.at < before][:PRUNE_SLICE]
        old += sorted(self.stored.keys() - set(old))[:-keep]
        for number in old:
            del self.stored[number]
        self.slices.append(len(old))
        return len(old)

    def _check(self) -> None:
        if self.refusing:
            raise StoreUnavailable("The disk is full; make room.")


def make(store: FakeEvents, clock: FakeClock | None = None, notifications: Any = None) -> EventHistory:
    return EventHistory(store, clock or FakeClock(), retention=Retention(30, 1000), notifications=notifications)  # type: ignore[arg-type]


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
        assert await ids(history, asked=EventFilter(agent_id="planner")) == [2, 3]
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


def test_old_events_go_at_once_and_then_every_minute_whether_anything_happens_or_not() -> None:
    clock = FakeClock()
    old = START - timedelta(days=31)

    async def scenario() -> None:
        store = FakeEvents(event(1, at=old), event(2))
        pruning = asyncio.create_task(make(store, clock).prune())
        await asyncio.sleep(1)
        assert sorted(store.stored) == [2]
        store.stored[0] = event(0, at=old)
        await asyncio.sleep(50)
        assert sorted(store.stored) == [0, 2]
        await asyncio.sleep(20)
        assert sorted(store.stored) == [2]
        await ended(pruning)

    run(scenario(), clock)


def test_many_old_events_go_in_slices_between_which_others_have_their_turn() -> None:
    clock = FakeClock()

    async def scenario() -> None:
        store = FakeEvents(*(event(number, at=START - timedelta(days=31)) for number in range(1, 1201)), event(1201))
        pruning = asyncio.create_task(make(store, clock).prune())
        await asyncio.sleep(1)
        assert store.slices == [PRUNE_SLICE, PRUNE_SLICE, 200]
        assert sorted(store.stored) == [1201]
        await ended(pruning)

    run(scenario(), clock)


def test_a_disk_that_refuses_to_forget_is_tried_again() -> None:
    clock = FakeClock()

    async def scenario() -> None:
        store = FakeEvents(event(1, at=START - timedelta(days=31)), event(2))
        store.refusing = True
        pruning = asyncio.create_task(make(store, clock).prune())
        await asyncio.sleep(1)
        store.refusing = False
        await asyncio.sleep(60)
        assert sorted(store.stored) == [2]
        await ended(pruning)

    with capture_logs() as logs:
        run(scenario(), clock)
    assert [entry["event"] for entry in logs] == ["Old events cannot be removed; it is tried again"]


def test_a_page_tells_where_the_older_and_the_newer_ones_are() -> None:
    async def scenario() -> None:
        history = make(FakeEvents(*(event(number) for number in (1, 2, 3, 4))))
        record(history, 5)
        newest = await history.page(limit=2)
        assert ([each.id for each in newest.events], newest.older, newest.newer) == ([4, 5], 4, 5)
        older = await history.page(limit=2, before=4)
        assert ([each.id for each in older.events], older.older, older.newer) == ([2, 3], 2, 3)
        oldest = await history.page(limit=2, before=2)
        assert ([each.id for each in oldest.events], oldest.older, oldest.newer) == ([1], None, 1)
        back = await history.page(limit=2, after=1)
        assert ([each.id for each in back.events], back.older, back.newer) == ([2, 3], 2, 3)
        end = await history.page(limit=2, after=5)
        assert (end.events, end.older, end.newer) == ([], None, 5)

    run(scenario())


def test_a_page_that_is_just_full_has_nothing_older() -> None:
    async def scenario() -> None:
        assert (await make(FakeEvents(event(1), event(2))).page(limit=2)).older is None

    run(scenario())


def test_an_empty_history_leads_nowhere() -> None:
    async def scenario() -> None:
        page = await make(FakeEvents()).page(limit=2)
        assert (page.events, page.older, page.newer) == ([], None, None)

    run(scenario())


class Told:
    """Notifies one webhook of every event."""

    def __init__(self) -> None:
        self.times_written = 0

    def of(self, events: Sequence[Event]) -> list[Delivery]:
        return [Delivery(f"msg_{each.id}", "oncall", each.id, "agent.failed", "{}", "now") for each in events]

    def written(self) -> None:
        self.times_written += 1


def test_notifications_go_to_the_disk_with_their_events_and_are_announced_once_they_are_there() -> None:
    async def scenario() -> None:
        store, told = FakeEvents(), Told()
        store.refusing = True
        history = make(store, notifications=told)
        record(history, 1, 2)
        with pytest.raises(StoreUnavailable):
            await history.flush()
        assert (store.notifications, told.times_written) == ([], 0)
        store.refusing = False
        await history.flush()
        assert [each.event_id for each in store.notifications] == [1, 2]
        await history.flush()
        assert told.times_written == 1

    run(scenario())


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize(("stored", "first"), [((), 1), ((event(1), event(7)), 10_008)])
def test_a_manager_gives_no_id_that_one_that_was_killed_may_have_given(stored: tuple[Event, ...], first: int) -> None:
    assert asyncio.run(next_event_id(FakeEvents(*stored))) == first  # type: ignore[arg-type]
