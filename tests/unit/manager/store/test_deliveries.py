from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_service.contract import rfc3339
from manager.errors import StoreUnavailable
from manager.events import Event, EventKind
from manager.store.deliveries import PRUNE_SLICE, Delivery, DeliveryState
from manager.store.store import Store

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def event(number: int) -> Event:
    return Event(number, NOON, EventKind.STATE_CHANGED, f"change {number}", "echo", data={"state": "failed"})


def delivery(number: int, webhook: str = "oncall", *, after: float = 0, **changes: Any) -> Delivery:
    made = Delivery(
        id=f"msg_{webhook}_{number}",
        webhook=webhook,
        event_id=number,
        type="agent.failed",
        body="{}",
        created_at=rfc3339(NOON),
        next_attempt_at=rfc3339(NOON + timedelta(seconds=after)),
    )
    return replace(made, **changes)


def with_store(directory: Path, scenario: Callable[[Store], Awaitable[None]]) -> None:
    async def main() -> None:
        store = await Store.open(directory)
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(main())


async def enqueue(store: Store, *deliveries: Delivery) -> None:
    await store.events.append([event(100)], deliveries)


def test_events_and_their_notifications_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        broken = replace(delivery(1), body=None)  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailable):
            await store.events.append([event(1)], [delivery(2), broken])
        assert await store.events.find(limit=9) == []
        assert await store.deliveries.waiting() == {}
        await store.events.append([event(1)], [delivery(1)])
        assert await store.deliveries.newest("oncall", 9) == [delivery(1)]

    with_store(tmp_path, scenario)


def test_a_webhook_is_told_of_an_event_once_however_often_it_is_written(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await enqueue(store, delivery(1), delivery(1, "audit"))
        await enqueue(store, replace(delivery(1), id="another"), delivery(2))
        assert [each.id for each in await store.deliveries.newest("oncall", 9)] == ["msg_oncall_2", "msg_oncall_1"]

    with_store(tmp_path, scenario)


def test_tests_belong_to_no_event_and_are_kept_each(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        for name in ("a", "b"):
            await store.deliveries.add(replace(delivery(1), id=name, event_id=None))
        assert [each.id for each in await store.deliveries.newest("oncall", 9)] == ["b", "a"]

    with_store(tmp_path, scenario)


def test_next_is_the_oldest_whether_it_is_due_or_not(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await enqueue(store, delivery(1, after=60, attempts=3), delivery(2), delivery(3, "audit"))
        assert await store.deliveries.next("oncall", NOON) == delivery(1, after=60, attempts=3)
        assert await store.deliveries.next("nobody", NOON) is None

    with_store(tmp_path, scenario)


def test_next_passes_what_is_refused_until_it_is_due(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await enqueue(store, delivery(1, after=60, refused=True), delivery(2, after=30, refused=True))
        waits = (0, 30, 60)
        found = [await store.deliveries.next("oncall", NOON + timedelta(seconds=wait)) for wait in waits]
        assert [each.event_id for each in found if each] == [2, 2, 1]
        await enqueue(store, delivery(3))
        found = [await store.deliveries.next("oncall", NOON + timedelta(seconds=wait)) for wait in waits]
        assert [each.event_id for each in found if each] == [3, 2, 1]

    with_store(tmp_path, scenario)


def test_what_became_of_one_is_kept(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await enqueue(store, delivery(1), delivery(2))
        done = replace(delivery(1), state=DeliveryState.DELIVERED, attempts=2, next_attempt_at=None, status=204)
        await store.deliveries.update(replace(done, finished_at=rfc3339(NOON), duration_ms=1.5))
        tried = replace(delivery(2), attempts=1, refused=True, error="It answered 400 Bad Request.")
        await store.deliveries.update(tried)
        assert (await store.deliveries.last_tried("oncall")) == tried
        last = await store.deliveries.last_tried("oncall", state=DeliveryState.DELIVERED)
        assert last is not None
        assert (last.event_id, last.finished_at) == (1, rfc3339(NOON))
        assert await store.deliveries.waiting() == {"oncall": 1}

    with_store(tmp_path, scenario)


def test_the_oldest_are_given_up_where_too_many_wait(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await enqueue(store, *(delivery(number) for number in (1, 2, 3)), delivery(4, "audit"))
        given_up = await store.deliveries.give_up_oldest("oncall", keep=1, now=NOON, error="Too many.")
        assert given_up == 2
        states = {each.event_id: each.state for each in await store.deliveries.newest("oncall", 9)}
        assert states == {1: "given_up", 2: "given_up", 3: "pending"}
        assert (await store.deliveries.waiting())["audit"] == 1

    with_store(tmp_path, scenario)


def test_all_that_waits_can_be_made_due(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await enqueue(store, delivery(1, after=600), delivery(2, "audit", after=600))
        await store.deliveries.make_due("oncall", NOON)
        assert await store.deliveries.next("oncall", NOON) == delivery(1)
        assert await store.deliveries.next("audit", NOON) == delivery(2, "audit", after=600)

    with_store(tmp_path, scenario)


def test_old_ones_are_forgotten_in_slices(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await enqueue(store, *(delivery(number) for number in range(PRUNE_SLICE + 2)))
        later = NOON + timedelta(seconds=1)
        assert await store.deliveries.prune(NOON) == 0
        assert await store.deliveries.prune(later) == PRUNE_SLICE
        assert await store.deliveries.prune(later) == 2

    with_store(tmp_path, scenario)
