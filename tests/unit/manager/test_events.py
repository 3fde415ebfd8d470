from __future__ import annotations

import asyncio

from manager.events import Event, EventBus, EventKind, Subscription
from tests.unit.manager.fakes.clock import FakeClock, run


def publish(bus: EventBus, count: int = 1) -> list[Event]:
    return [bus.publish(EventKind.STATE_CHANGED, f"change {number}", agent_id="echo") for number in range(count)]


async def collected(subscription: Subscription) -> list[int]:
    return [event.id async for event in subscription]


def test_ids_increase_by_one_and_continue_where_an_earlier_manager_stopped() -> None:
    bus = EventBus(FakeClock(), next_id=42)
    assert bus.last_id == 41
    assert [event.id for event in publish(bus, 3)] == [42, 43, 44]
    assert bus.last_id == 44


def test_an_event_is_stamped_when_it_is_published() -> None:
    clock = FakeClock()
    bus = EventBus(clock)
    clock.advance(60)
    assert publish(bus)[0].at == clock.now()


def test_listeners_are_called_at_once_in_the_order_in_which_they_came() -> None:
    bus = EventBus(FakeClock())
    heard: list[tuple[str, int]] = []
    bus.listen(lambda event: heard.append(("first", event.id)))
    bus.listen(lambda event: heard.append(("second", event.id)))
    publish(bus)
    assert heard == [("first", 1), ("second", 1)]


def test_a_listener_that_joins_during_an_event_hears_the_next_one() -> None:
    bus = EventBus(FakeClock())
    heard: list[int] = []

    def join(event: Event) -> None:
        if event.id == 1:
            bus.listen(lambda later: heard.append(later.id))

    bus.listen(join)
    publish(bus, 2)
    assert heard == [2]


def test_a_subscription_gets_events_from_its_beginning_to_its_end() -> None:
    async def scenario() -> None:
        bus = EventBus(FakeClock())
        publish(bus)
        with bus.subscribe() as inside:
            publish(bus, 2)
        publish(bus)
        inside.close()
        assert await collected(inside) == [2, 3]

    run(scenario())


def test_a_reader_that_falls_behind_is_let_go_with_what_it_had_and_is_told() -> None:
    async def scenario() -> None:
        bus = EventBus(FakeClock())
        with bus.subscribe(limit=2) as slow, bus.subscribe(limit=3) as other:
            publish(bus, 3)
            assert await collected(slow) == [1, 2]
            assert slow.lagged
            bus.close()
            assert await collected(other) == [1, 2, 3]
            assert not other.lagged

    run(scenario())


def test_a_reader_that_keeps_up_is_never_let_go() -> None:
    async def scenario() -> None:
        bus = EventBus(FakeClock())
        with bus.subscribe(limit=1) as subscription:
            for expected in (1, 2, 3):
                publish(bus)
                assert (await anext(subscription)).id == expected
            assert not subscription.lagged

    run(scenario())


def test_a_waiting_reader_is_woken_by_the_next_event() -> None:
    async def scenario() -> None:
        bus = EventBus(FakeClock())
        with bus.subscribe() as subscription:
            waiting = asyncio.create_task(anext(subscription))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            publish(bus)
            assert (await waiting).id == 1

    run(scenario())


def test_closing_the_bus_ends_subscriptions_now_and_later() -> None:
    async def scenario() -> None:
        bus = EventBus(FakeClock())
        with bus.subscribe() as before:
            publish(bus)
            bus.close()
            assert await collected(before) == [1]
        with bus.subscribe() as after:
            publish(bus)
            assert await collected(after) == []

    run(scenario())


def test_the_wire_form_names_every_field_and_writes_times_as_rfc_3339() -> None:
    bus = EventBus(FakeClock())
    event = bus.publish(
        EventKind.DESIRED_CHANGED, "alice asked echo to stop", agent_id="echo", reason="lunch", actor="alice", seconds=3
    )
    assert event.to_wire() == {
        "id": 1,
        "at": "2026-01-02T03:04:05.000Z",
        "kind": "desired_changed",
        "message": "alice asked echo to stop",
        "agent_id": "echo",
        "instance_id": None,
        "reason": "lunch",
        "actor": "alice",
        "data": {"seconds": 3},
    }
