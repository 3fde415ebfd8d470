from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from manager.supervision.states import AgentState
from tests.unit.web.fakes import World, view


async def next_message(stream: AsyncIterator[str]) -> str:
    """The next message that is not a beat: its fragments, behind the names of what has changed."""
    while True:
        message = await asyncio.wait_for(anext(stream), 10)
        if not message.startswith("event: beat"):
            return message


def names(message: str) -> set[str]:
    first, data = message.splitlines()[:2]
    assert first == "event: changed"
    return {*data.removeprefix("data: ").split()}


def position(message: str) -> str:
    return next(line.removeprefix("id: ") for line in message.splitlines() if line.startswith("id: "))


def test_a_new_tab_is_sent_everything_and_the_time_first() -> None:
    async def scenario() -> None:
        world = World(view("planner"), view("echo", AgentState.FAILED))
        stream = world.live.stream(None, home=True)
        assert await anext(stream) == "event: beat\ndata: 2026-03-04T12:00:00.000Z\n\n"
        message = await next_message(stream)
        assert (
            'hx-target="#fleet"' in message and 'hx-target="#summary"' in message and 'hx-target="#events"' in message
        )
        assert "2 agents: 1 failed, 1 running" in message
        assert "<title>(1!) agent-manager</title>" in message
        assert 'id="agent-planner"' in message and 'id="agent-echo"' in message

    asyncio.run(scenario())


def test_a_tab_that_is_up_to_date_is_sent_only_the_rows_that_changed() -> None:
    async def scenario() -> None:
        world = World(view("planner"), view("echo"))
        world.live.refresh()
        stream = world.live.stream(world.live.position, home=True)
        world.fleet.change("echo", in_flight=7)
        message = await next_message(stream)
        assert 'hx-target="#agent-echo"' in message and names(message) == {"fleet", "agent:echo"}
        assert "planner" not in message and "#fleet" not in message and "#summary" not in message

    asyncio.run(scenario())


def test_nothing_changed_means_nothing_new() -> None:
    world = World(view())
    world.live.refresh()
    before = world.live.position
    world.clock.move(seconds=30)
    world.live.refresh()
    assert world.live.position == before


def test_a_tab_catches_up_from_the_last_message_it_saw() -> None:
    async def scenario() -> None:
        world = World(view("planner"), view("echo"), view("executor"))
        last_seen = position(await next_message(world.live.stream(None, home=True)))
        world.fleet.change("echo", in_flight=1)
        world.live.refresh()
        world.fleet.change("executor", in_flight=2)
        message = await next_message(world.live.stream(last_seen, home=True))
        assert 'hx-target="#agent-echo"' in message and 'hx-target="#agent-executor"' in message
        assert "planner" not in message

    asyncio.run(scenario())


def test_a_position_of_another_run_of_the_manager_or_nonsense_means_everything() -> None:
    async def scenario() -> None:
        world = World(view())
        for strange in ("deadbeef.999", "nonsense", world.live.position.split(".")[0] + ".x", "", "²"):
            assert 'hx-target="#fleet"' in await next_message(world.live.stream(strange, home=True))

    asyncio.run(scenario())


def test_an_agent_that_comes_or_goes_changes_the_list() -> None:
    async def scenario() -> None:
        world = World(view("planner"))
        world.live.refresh()
        stream = world.live.stream(world.live.position, home=True)
        world.fleet.put(view("late"))
        message = await next_message(stream)
        assert 'hx-target="#fleet"' in message and 'id="agent-late"' in message
        world.fleet.views = {}
        world.live.refresh()
        assert "No agents yet" in await next_message(stream)

    asyncio.run(scenario())


def test_tabs_in_step_share_one_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        world = World(view("planner"), view("echo"))
        world.live.refresh()
        streams = [world.live.stream(world.live.position, home=True) for _ in range(5)]
        rendered: list[str] = []
        partial = world.renderer.partial
        monkeypatch.setattr(
            world.renderer,
            "partial",
            lambda target, *rest, **more: (rendered.append(target), partial(target, *rest, **more))[1],
        )
        world.fleet.change("echo", in_flight=1)
        messages = [await next_message(stream) for stream in streams]
        assert len(set(messages)) == 1
        assert rendered.count("agent-echo") == 1

    asyncio.run(scenario())


def test_an_event_on_the_bus_reaches_the_tab_with_what_it_changed() -> None:
    async def scenario() -> None:
        world = World(view("planner"))
        async with world.running():
            stream = world.live.stream(None, home=True)
            await next_message(stream)
            world.fleet.change("planner", state=AgentState.PAUSED)
            world.happen("planner was paused", state="paused")
            message = await next_message(stream)
            assert "planner was paused" in message and "1 agent: 1 paused" in message

    asyncio.run(scenario())


def test_a_burst_of_events_becomes_few_messages() -> None:
    async def scenario() -> None:
        world = World(view("planner"))
        async with world.running():
            stream = world.live.stream(None, home=True)
            await next_message(stream)
            for number in range(300):
                world.happen(f"event number {number}")
            messages = [await next_message(stream)]
            while "event number 299<" not in messages[-1]:
                messages.append(await next_message(stream))
            assert len(messages) <= 2

    asyncio.run(scenario())


def test_the_history_begins_with_what_the_store_remembers_and_keeps_the_newest_forty() -> None:
    async def scenario() -> None:
        world = World(view("planner"))
        for number in range(150):
            world.happen(f"early {number}")
        async with world.running():
            stream = world.live.stream(None, home=True)
            while "early" not in (message := await next_message(stream)):
                pass
            assert message.count('class="event ') == 40
            world.happen("the newest")
            assert (await next_message(stream)).count('class="event ') == 40
            assert world.live.pieces.events[0].message == "the newest" and len(world.live.pieces.events) == 40

    asyncio.run(scenario())


def test_more_events_than_a_subscription_holds_are_read_back_from_the_store() -> None:
    async def scenario() -> None:
        world = World(view("planner"))
        async with world.running():
            stream = world.live.stream(None, home=True)
            await next_message(stream)
            world.happen("the subscription is there")
            await next_message(stream)
            for number in range(1_500):
                world.happen(f"event number {number}")
            while world.live.pieces.events[0].id != world.bus.last_id:
                await next_message(stream)
            assert [event.id for event in world.live.pieces.events] == [*range(1_501, 1_461, -1)]

    asyncio.run(scenario())


def test_a_history_that_cannot_be_read_does_not_hold_the_page_up() -> None:
    async def scenario() -> None:
        world = World(view("planner"))
        world.history.unreadable = True
        async with world.running():
            stream = world.live.stream(None, home=True)
            await next_message(stream)
            world.happen("something new")
            assert "something new" in await next_message(stream)

    asyncio.run(scenario())


def test_every_stream_ends_when_the_bus_closes() -> None:
    async def scenario() -> None:
        world = World(view("planner"))
        async with world.running():
            stream = world.live.stream(None, home=True)
            await next_message(stream)
            world.bus.close()
            assert [message async for message in stream] == []

    asyncio.run(scenario())


def test_without_an_open_tab_the_fleet_is_not_asked() -> None:
    async def scenario() -> None:
        world = World(view("planner"))
        async with world.running():
            world.happen("nobody looks")
            while not world.live.pieces.events:
                await asyncio.sleep(0)
        assert world.fleet.asked == 0

    asyncio.run(scenario())


def test_a_page_that_is_not_the_fleets_is_sent_names_and_the_header_alone() -> None:
    async def scenario() -> None:
        world = World(view("planner"), view("echo"))
        world.live.refresh()
        stream = world.live.stream(world.live.position, home=False)
        world.fleet.change("echo", in_flight=7)
        quiet = await next_message(stream)
        assert names(quiet) == {"fleet", "agent:echo"} and "hx-target" not in quiet
        assert position(quiet) == world.live.position
        world.fleet.change("echo", state=AgentState.FAILED)
        world.live.refresh()
        loud = await next_message(stream)
        assert loud.count("hx-target") == 1 and 'hx-target="#summary"' in loud and "1 failed" in loud

    asyncio.run(scenario())


def test_a_page_of_another_run_of_the_manager_is_told_that_everything_has_changed() -> None:
    async def scenario() -> None:
        assert names(await next_message(World(view()).live.stream("deadbeef.7", home=False))) == {"*"}

    asyncio.run(scenario())


def test_an_event_is_named_too() -> None:
    async def scenario() -> None:
        world = World(view("planner"))
        async with world.running():
            stream = world.live.stream(None, home=False)
            await next_message(stream)
            world.happen("something new")
            assert "events" in names(await next_message(stream))

    asyncio.run(scenario())


def test_charts_are_drawn_anew_with_each_point_and_no_oftener() -> None:
    world = World(view("planner", cpu_percent=20.0))
    world.series.points["planner"] = {"cpu_percent": [10.0, 20.0]}
    world.series.version = 1
    world.live.refresh()
    first = world.live.position
    assert 'class="spark"' in world.live.pieces.row("planner")
    world.series.points["planner"] = {"cpu_percent": [10.0, 20.0, 30.0]}
    world.live.refresh()
    assert world.live.position == first
    world.series.version = 2
    world.live.refresh()
    assert world.live.position != first
