from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from manager.events import EventKind
from manager.supervision.states import AgentState, DesiredState
from tests.unit.manager.fakes.clock import advance
from tests.unit.manager.fakes.world import KILL_GRACE_SECONDS
from tests.unit.manager.supervision.ending import ended, reason_of_last_exit, stop
from tests.unit.manager.supervision.supervised import Supervised, supervise


def test_the_drain_deadline_may_be_given_with_the_stop_and_is_shown() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        asked_at = world.clock.now()
        stop(world, 7)
        await world.reach(AgentState.STOPPING, within=0.1)
        assert world.adapters.calls[0].timeout_seconds == pytest.approx(7, abs=0.1)
        assert world.instance.stop is not None
        assert (world.instance.stop.deadline_at - asked_at).total_seconds() == pytest.approx(7, abs=0.1)

    supervise(scenario)


def test_at_the_deadline_comes_sigterm_and_at_the_end_that_was_told_sigkill() -> None:
    def prepare(world: Supervised) -> None:
        world.spawner.on_terminate = None

    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.adapters.on_action = None
        stop(world, 20)
        await advance(1)
        assert world.instance.stop is not None
        end_at = world.instance.stop.end_at
        task = {"task_id": "t-1", "started_at": world.clock.now()}
        await world.keep_alive(instance_id, 18, status="stopping", in_flight=2, current_task=task)
        assert world.of_kind(EventKind.DRAIN_TIMED_OUT) == []
        assert world.process.signals == []
        await advance(1.5)
        (timed_out,) = world.of_kind(EventKind.DRAIN_TIMED_OUT)
        assert timed_out.data == {"in_flight": 2, "task_id": "t-1"}
        assert world.process.signals == ["TERM"]
        await ended(world)
        assert (world.clock.now() - end_at).total_seconds() == pytest.approx(0, abs=0.1)
        assert world.process.signals == ["TERM", "KILL"]
        await world.reach(AgentState.STOPPED, within=0.1)
        assert reason_of_last_exit(world) == (
            "killed by signal 9 (SIGKILL) while it was being stopped with 2 tasks in flight: stop by alice"
        )

    supervise(scenario, prepare=prepare)


def test_what_an_adapter_cancels_at_the_deadline_is_told_even_if_it_is_gone_by_then() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.adapters.on_action = None
        stop(world, 20)
        await advance(1)
        plan, process = world.instance.stop, world.process
        assert plan is not None
        task = {"task_id": "t-1", "started_at": world.clock.now()}
        await world.keep_alive(instance_id, 18, status="stopping", in_flight=1, current_task=task)

        def end() -> None:
            world.registry.forget(instance_id)
            process.end(code=0)

        asyncio.get_running_loop().call_at(plan.deadline, end)
        await world.reach(AgentState.STOPPED)
        (timed_out,) = world.of_kind(EventKind.DRAIN_TIMED_OUT)
        assert timed_out.data == {"in_flight": 1, "task_id": "t-1"}
        assert process.signals == []

    supervise(scenario)


def test_an_idle_agent_that_overstays_its_deadline_has_no_tasks_to_name() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        stop(world, 1)
        await world.reach(AgentState.STOPPED)
        assert world.of_kind(EventKind.DRAIN_TIMED_OUT) == []

    supervise(scenario)


def test_a_process_that_was_told_by_sigterm_has_the_whole_drain_and_the_grace_and_no_second_sigterm() -> None:
    def prepare(world: Supervised) -> None:
        world.spawner.on_terminate = None

    async def scenario(world: Supervised) -> None:
        await world.started()
        stop(world, 20)
        assert await ended(world) == pytest.approx(20 + KILL_GRACE_SECONDS, abs=0.1)
        assert world.process.signals == ["TERM", "KILL"]

    supervise(scenario, prepare=prepare)


def test_a_second_stop_brings_the_deadline_nearer() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        stop(world, 120)
        await advance(1)
        stop(world, 5, "stop by bob")
        await advance(0.1)
        assert world.instance.stop is not None
        assert (world.instance.stop.deadline_at - world.clock.now()).total_seconds() == pytest.approx(5, abs=0.2)
        assert world.adapters.calls[-1].timeout_seconds == pytest.approx(5, abs=0.2)
        assert await ended(world) == pytest.approx(5, abs=0.3)

    supervise(scenario)


@pytest.mark.parametrize(("seconds", "left"), [(None, 0), (2.0, 2), (300.0, 9)])
def test_a_second_stop_brings_the_deadline_nearer_and_never_puts_it_off(seconds: float | None, left: float) -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        stop(world, 10)
        await advance(1)
        stop(world, seconds)
        assert await ended(world) == pytest.approx(left, abs=0.1)

    supervise(scenario, drain_timeout_seconds=120)


def test_a_manager_that_stops_uses_the_agent_s_own_drain_timeout() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.supervisor.want(DesiredState.RUNNING, drain_seconds=1)
        world.supervisor.close("the manager stops")
        await advance(0.1)
        assert world.adapters.calls[0].timeout_seconds == pytest.approx(77, abs=0.1)

    supervise(scenario, drain_timeout_seconds=77)


def test_a_drain_that_somebody_has_begun_at_the_adapter_itself_is_not_put_off() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.heartbeat(instance_id, status="stopping", drain_deadline=world.clock.now() + timedelta(seconds=7))
        stop(world, 60)
        await advance(0.1)
        assert world.adapters.calls[-1].timeout_seconds == pytest.approx(7, abs=0.1)
        assert await ended(world) == pytest.approx(7, abs=0.2)

    supervise(scenario)
