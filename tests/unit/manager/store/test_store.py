from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from manager.errors import StoreUnavailable
from manager.event_filter import EventFilter
from manager.events import Event, EventKind
from manager.store.event_table import PRUNE_SLICE
from manager.store.store import DesiredRecord, InstanceRecord, Store

NOON = datetime(2026, 1, 2, 12, 0, 0, 123_000, tzinfo=UTC)
CHOICE = DesiredRecord(
    agent_id="echo",
    desired_state="paused",
    instances=3,
    reason="lunch",
    actor="alice",
    changed_at="2026-01-02T12:00:00.000Z",
)
INSTANCE = InstanceRecord("i-1", "echo", 4242, "12345", "boot-1", "2026-01-02T12:00:00.000+00:00", None, 17, 3)


def event(number: int, agent_id: str | None = "echo", at: datetime = NOON) -> Event:
    return Event(number, at, EventKind.STATE_CHANGED, f"change {number}", agent_id)


def with_store(directory: Path, scenario: Callable[[Store], Awaitable[None]]) -> None:
    async def main() -> None:
        store = await Store.open(directory)
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(main())


def ids(events: list[Event]) -> list[int]:
    return [each.id for each in events]


def test_an_event_comes_back_as_it_was(tmp_path: Path) -> None:
    full = Event(
        7,
        NOON,
        EventKind.INSTANCE_EXITED,
        "echo ended — 終",
        "echo",
        "i-1",
        "a reason",
        "alice",
        {"code": None, "signal": 9, "nested": {"tasks": [1, "two"]}},
    )

    async def scenario(store: Store) -> None:
        await store.events.append([full])
        assert await store.events.find(limit=1) == [full]

    with_store(tmp_path, scenario)


def test_events_come_oldest_first_newest_kept_by_the_limit(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.events.append([event(number) for number in (1, 2, 3, 4, 5)])
        assert ids(await store.events.find(limit=2)) == [4, 5]
        assert ids(await store.events.find(limit=100)) == [1, 2, 3, 4, 5]

    with_store(tmp_path, scenario)


def test_after_an_id_come_the_next_ones(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.events.append([event(number) for number in (1, 2, 3, 4, 5)])
        assert ids(await store.events.find(limit=2, after=2)) == [3, 4]
        assert ids(await store.events.find(limit=9, after=0)) == [1, 2, 3, 4, 5]
        assert ids(await store.events.find(limit=9, after=5)) == []
        assert ids(await store.events.find(limit=9, after=2**62)) == []

    with_store(tmp_path, scenario)


def test_events_of_one_agent_leave_out_the_others_and_the_manager_s(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.events.append([event(1), event(2, "planner"), event(3, None), event(4)])
        assert ids(await store.events.find(EventFilter(agent_id="echo"), limit=9)) == [1, 4]
        assert ids(await store.events.find(EventFilter(agent_id="echo"), limit=1)) == [4]
        assert ids(await store.events.find(EventFilter(agent_id="echo"), limit=9, after=1)) == [4]
        assert ids(await store.events.find(EventFilter(agent_id="nobody"), limit=9)) == []

    with_store(tmp_path, scenario)


def test_an_event_that_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.events.append([event(1), event(2)])
        await store.events.append([replace(event(2), message="again"), event(3)])
        assert [each.message for each in await store.events.find(limit=9)] == ["change 1", "change 2", "change 3"]

    with_store(tmp_path, scenario)


def test_the_last_id_is_zero_before_the_first_event(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        assert await store.events.last_id() == 0
        await store.events.append([event(41), event(42)])
        assert await store.events.last_id() == 42

    with_store(tmp_path, scenario)


def test_pruning_takes_what_is_older_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        days = [NOON - timedelta(days=age) for age in (31, 30, 29, 0)]
        await store.events.append([event(number, at=at) for number, at in enumerate(days, start=1)])
        assert await store.events.prune(before=NOON - timedelta(days=30), keep=100) == 1
        assert ids(await store.events.find(limit=9)) == [2, 3, 4]
        assert await store.events.prune(before=NOON - timedelta(days=30), keep=100) == 0

    with_store(tmp_path, scenario)


def test_pruning_leaves_no_more_than_the_newest_so_many(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.events.append([event(number) for number in (1, 2, 10_007, 10_008, 10_009)])
        assert await store.events.prune(before=NOON - timedelta(days=30), keep=5) == 0
        assert await store.events.prune(before=NOON - timedelta(days=30), keep=2) == 3
        assert ids(await store.events.find(limit=9)) == [10_008, 10_009]

    with_store(tmp_path, scenario)


def test_pruning_takes_at_most_a_slice_at_once(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.events.append([event(number) for number in range(1, PRUNE_SLICE + 12)])
        assert await store.events.prune(before=NOON, keep=10) == PRUNE_SLICE
        assert await store.events.prune(before=NOON, keep=10) == 1
        assert await store.events.prune(before=NOON, keep=10) == 0

    with_store(tmp_path, scenario)


def test_the_newest_event_stays_however_old_it_is_since_ids_go_on_after_it(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.events.append([event(1), event(2)])
        await store.events.prune(before=NOON + timedelta(days=1), keep=1)
        assert await store.events.last_id() == 2

    with_store(tmp_path, scenario)


def test_a_choice_replaces_the_one_before(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.set_desired(CHOICE)
        newer = replace(CHOICE, desired_state="running", instances=None, reason=None, actor="bob")
        await store.set_desired(newer)
        await store.set_desired(replace(CHOICE, agent_id="planner"))
        assert await store.desired_states() == {"echo": newer, "planner": replace(CHOICE, agent_id="planner")}

    with_store(tmp_path, scenario)


def test_instances_are_remembered_with_their_address_and_forgotten(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        other = replace(INSTANCE, instance_id="i-2")
        await store.add_instance(INSTANCE)
        await store.add_instance(other)
        await store.note_service_url("i-1", "http://127.0.0.1:8100")
        await store.remove_instance("i-2")
        await store.remove_instance("i-2")
        assert await store.instances() == [replace(INSTANCE, service_url="http://127.0.0.1:8100")]

    with_store(tmp_path, scenario)


def test_what_was_written_is_there_for_the_next_manager(tmp_path: Path) -> None:
    async def write(store: Store) -> None:
        await store.set_desired(CHOICE)
        await store.add_instance(INSTANCE)
        await store.events.append([event(1)])

    async def read(store: Store) -> None:
        assert await store.desired_states() == {"echo": CHOICE}
        assert await store.instances() == [INSTANCE]
        assert ids(await store.events.find(limit=9)) == [1]

    with_store(tmp_path, write)
    with_store(tmp_path, read)


def test_calls_that_are_made_at_once_are_done_in_their_order(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        states = ("running", "paused", "stopped", "running", "stopped")
        await asyncio.gather(*(store.set_desired(replace(CHOICE, desired_state=state)) for state in states))
        assert (await store.desired_states())["echo"].desired_state == "stopped"

    with_store(tmp_path, scenario)


def test_a_batch_that_fails_is_not_half_written(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        with pytest.raises(StoreUnavailable):
            await store.events.append([event(1), replace(event(2), message=None)])  # type: ignore[arg-type]
        assert await store.events.find(limit=9) == []

    with_store(tmp_path, scenario)


def test_a_failing_disk_is_one_sentence_with_a_remedy_and_every_call_says_it(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        def drop(name: str) -> None:
            with store._engine.begin() as connection:
                connection.execute(text(f"DROP TABLE {name}"))

        for name in ("desired_states", "events", "instances"):
            drop(name)
        calls: list[Awaitable[object]] = [
            store.desired_states(),
            store.set_desired(CHOICE),
            store.instances(),
            store.add_instance(INSTANCE),
            store.note_service_url("i-1", "http://127.0.0.1:1"),
            store.remove_instance("i-1"),
            store.events.append([event(1)]),
            store.events.last_id(),
            store.events.find(limit=1),
            store.events.prune(before=NOON, keep=1),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match=r"no such table.*Free disk space"):
                await call

    with_store(tmp_path, scenario)


def test_closing_finishes_what_was_queued(tmp_path: Path) -> None:
    async def write(store: Store) -> None:
        writing = asyncio.create_task(store.set_desired(CHOICE))
        await asyncio.sleep(0)
        await store.close()
        await writing

    async def read(store: Store) -> None:
        assert await store.desired_states() == {"echo": CHOICE}

    with_store(tmp_path, write)
    with_store(tmp_path, read)


def test_a_choice_that_would_be_lost_with_its_directory_is_refused(tmp_path: Path) -> None:
    def gone() -> None:
        raise StoreUnavailable("The state directory was removed; restart the manager.")

    async def main() -> None:
        store = await Store.open(tmp_path, gone)
        try:
            with pytest.raises(StoreUnavailable, match="was removed"):
                await store.set_desired(CHOICE)
            assert await store.desired_states() == {}
        finally:
            await store.close()

    asyncio.run(main())


def test_how_long_each_call_took_is_told_whether_it_worked_or_not(tmp_path: Path) -> None:
    times: list[float] = []

    def broken() -> None:
        raise StoreUnavailable("It is gone.")

    async def scenario() -> None:
        store = await Store.open(tmp_path, broken, times.append)
        await store.instances()
        with pytest.raises(StoreUnavailable):
            await store.set_desired(CHOICE)
        await store.close()

    asyncio.run(scenario())
    assert len(times) == 2 and all(0 < seconds < 60 for seconds in times)
