"""A state, those who are told of its changes, and those who wait for one."""

from __future__ import annotations

import asyncio

from manager.events import EventKind
from manager.registry.route import Admission, Route, RoutePolicy
from manager.supervision.state_keeper import StateKeeper
from manager.supervision.states import AgentState
from tests.unit.manager.fakes.clock import FakeClock, run
from tests.unit.manager.fakes.world import World

POLICY = RoutePolicy(1, 1, 1)


def keeper(world: World) -> StateKeeper:
    def route(state: AgentState, reason: str | None) -> Route:
        admission = Admission.OPEN if state is AgentState.RUNNING else Admission.DOWN
        return Route(admission, state.value, reason or "", POLICY)

    return StateKeeper("echo", world.tools, route)


def test_a_change_is_told_once_to_the_router_and_to_all_who_listen() -> None:
    clock = FakeClock()

    async def scenario() -> None:
        world = World(clock)
        state = keeper(world)
        assert state.change(AgentState.STARTING, None)
        assert state.change(AgentState.RUNNING, None) and not state.change(AgentState.RUNNING, None)
        assert world.states() == ["starting", "running"]
        assert world.tools.router.route("echo").admission is Admission.OPEN

    run(scenario(), clock)


def test_another_reason_for_the_same_state_is_no_event_but_wakes_those_who_wait() -> None:
    clock = FakeClock()

    async def scenario() -> None:
        world = World(clock)
        state = keeper(world)
        state.change(AgentState.STARTING, None)
        waiting = asyncio.create_task(state.next_change(60))
        await asyncio.sleep(0)
        assert state.change(AgentState.STARTING, "waits for db")
        await waiting
        assert (state.state, state.reason) == (AgentState.STARTING, "waits for db")
        assert len(world.of_kind(EventKind.STATE_CHANGED)) == 1

    run(scenario(), clock)


def test_who_waits_for_a_state_gets_it_or_learns_that_it_has_not_come() -> None:
    clock = FakeClock()

    async def scenario() -> None:
        world = World(clock)
        state = keeper(world)
        waiting = asyncio.create_task(state.settled(frozenset({AgentState.RUNNING}), timeout=60))
        await asyncio.sleep(0)
        state.change(AgentState.STARTING, None)
        await asyncio.sleep(0)
        assert not waiting.done()
        state.change(AgentState.RUNNING, None)
        assert await waiting
        before = world.clock.monotonic()
        assert not await state.settled(frozenset({AgentState.STOPPED}), timeout=5)
        assert world.clock.monotonic() - before >= 5

    run(scenario(), clock)
