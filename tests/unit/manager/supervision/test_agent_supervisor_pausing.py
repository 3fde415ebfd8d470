from __future__ import annotations

import asyncio

import pytest

from agent_service.contract import AdapterAction
from manager.errors import NotReady, StateConflict
from manager.events import EventKind
from manager.registry.routing import Admission
from manager.supervision.states import AgentState, DesiredState
from tests.unit.manager.fakes.adapters import Call
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.fakes.world import TTL_SECONDS
from tests.unit.manager.supervision.supervised import Supervised, supervise

PAUSE, RESUME = AdapterAction.PAUSE, AdapterAction.RESUME


def test_a_pause_is_told_to_the_adapter_and_its_answer_is_the_state() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.supervisor.want(DesiredState.PAUSED)
        await world.reach(AgentState.PAUSED, within=0.1)
        assert world.adapters.calls == [Call("http://127.0.0.1:8100", PAUSE)]
        assert len(world.spawner.processes) == 1

    supervise(scenario)


def test_a_paused_agent_refuses_requests_even_before_its_adapter_knows() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.adapters.silent = True
        world.supervisor.want(DesiredState.PAUSED)
        with pytest.raises(StateConflict, match="resume it") as refused:
            await world.routed("echo")
        assert refused.value.state == "paused"

    supervise(scenario)


def test_a_resumed_agent_runs_again_and_takes_the_requests_that_waited() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start(status="paused")
        world.supervisor.want(DesiredState.RUNNING)
        assert world.router.route("echo").admission is Admission.COMING_BACK
        assert (await world.routed("echo")).instance_id == instance_id
        assert world.state is AgentState.RUNNING
        assert world.adapters.actions == [RESUME]

    supervise(scenario, desired=DesiredState.PAUSED)


def test_a_refused_action_is_tried_again_until_it_is_taken() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.adapters.refusal = 503
        world.supervisor.want(DesiredState.PAUSED)
        await advance(3.5)
        assert world.adapters.actions == [PAUSE] * 4
        assert world.state is AgentState.RUNNING
        world.adapters.refusal = None
        await world.reach(AgentState.PAUSED, within=1.1)
        await advance(10)
        assert world.adapters.actions == [PAUSE] * 5

    supervise(scenario)


def test_an_adapter_that_cannot_be_reached_is_asked_again() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.adapters.unreachable = True
        world.supervisor.want(DesiredState.PAUSED)
        await advance(3)
        world.adapters.unreachable = False
        await world.reach(AgentState.PAUSED, within=1.1)

    supervise(scenario)


def test_one_action_is_on_its_way_at_a_time_and_the_last_word_counts() -> None:
    async def scenario(world: Supervised) -> None:
        open_calls: list[int] = []
        most: list[int] = []

        async def slowly(_call: Call) -> None:
            open_calls.append(1)
            most.append(len(open_calls))
            await asyncio.sleep(1)
            open_calls.pop()

        await world.start()
        world.adapters.on_action = slowly
        world.supervisor.want(DesiredState.PAUSED)
        await advance(0.1)
        world.supervisor.want(DesiredState.RUNNING)
        await advance(0.1)
        world.supervisor.want(DesiredState.PAUSED)
        await advance(0.1)
        world.supervisor.want(DesiredState.RUNNING)
        await advance(10)
        assert world.state is AgentState.RUNNING
        assert world.adapters.actions == [PAUSE, RESUME]
        assert max(most) == 1

    supervise(scenario)


def test_an_adapter_that_somebody_else_paused_is_resumed_as_it_is_desired() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.heartbeat(instance_id, status="paused")
        await until(lambda: world.adapters.actions == [RESUME], within=0.1)
        await world.reach(AgentState.RUNNING, within=0.1)

    supervise(scenario)


def test_a_heartbeat_that_was_overtaken_by_the_pause_is_put_right() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.supervisor.want(DesiredState.PAUSED)
        await world.reach(AgentState.PAUSED)
        world.heartbeat(instance_id, status="running")
        with pytest.raises(StateConflict):
            await world.routed("echo")
        await advance(0.1)
        assert world.state is AgentState.PAUSED
        assert world.adapters.actions == [PAUSE, PAUSE]

    supervise(scenario)


def test_a_silent_adapter_is_told_nothing_until_it_is_heard_of_again() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        await advance(TTL_SECONDS)
        world.registry.expire()
        await world.reach(AgentState.UNRESPONSIVE)
        world.supervisor.want(DesiredState.PAUSED)
        await advance(10)
        assert world.adapters.actions == []
        world.heartbeat(instance_id)
        await world.reach(AgentState.PAUSED, within=0.1)

    supervise(scenario)


def test_a_paused_agent_that_crashes_comes_back_paused() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.supervisor.want(DesiredState.PAUSED)
        await world.reach(AgentState.PAUSED)
        world.process.end(signal=9)
        await world.started()
        assert world.spawner.launches[-1].environment["AGENT_INITIAL_STATUS"] == "paused"
        assert world.router.route("echo").admission is Admission.REFUSED
        await world.start(status="paused")
        assert world.state is AgentState.PAUSED

    supervise(scenario)


def test_missing_heartbeats_make_an_agent_unresponsive_and_the_next_one_brings_it_back() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        await advance(TTL_SECONDS)
        world.registry.expire()
        await world.reach(AgentState.UNRESPONSIVE, within=0.1)
        assert world.supervisor.state_reason is not None
        assert "heartbeats are missing" in world.supervisor.state_reason
        with pytest.raises(NotReady):
            await world.routed("echo")
        assert world.process.signals == []
        world.heartbeat(instance_id)
        await world.reach(AgentState.RUNNING, within=0.1)
        assert world.supervisor.state_reason is None
        assert world.kinds().count(EventKind.HEARTBEAT_MISSED) == 1
        assert world.kinds().count(EventKind.HEARTBEAT_RESUMED) == 1
        assert world.states() == ["starting", "running", "unresponsive", "running"]

    supervise(scenario)


def test_an_unresponsive_agent_that_dies_is_started_again() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        await advance(TTL_SECONDS)
        world.registry.expire()
        await world.reach(AgentState.UNRESPONSIVE)
        world.process.end(signal=9)
        await world.start()
        assert world.state is AgentState.RUNNING

    supervise(scenario)


def test_an_unresponsive_agent_is_stopped_by_signal_without_being_asked() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        await advance(TTL_SECONDS)
        world.registry.expire()
        await world.reach(AgentState.UNRESPONSIVE)
        world.supervisor.want(DesiredState.STOPPED)
        await world.reach(AgentState.STOPPED, within=1)
        assert world.process.signals == ["TERM"]
        assert world.adapters.calls == []

    supervise(scenario)


def test_an_agent_that_falls_silent_while_it_takes_its_leave_is_unresponsive() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.heartbeat(instance_id, status="stopping")
        await world.reach(AgentState.STOPPING)
        await advance(TTL_SECONDS)
        world.registry.expire()
        await world.reach(AgentState.UNRESPONSIVE, within=0.1)

    supervise(scenario)
