from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from agent_service.contract import AdapterStatus
from manager.supervision.instance_set import InstanceSet
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.states import AgentState
from tests.unit.manager.fakes.clock import START, FakeClock, run
from tests.unit.manager.fakes.processes import FakeProcess
from tests.unit.manager.fakes.world import KILL_GRACE_SECONDS, TTL_SECONDS, World


class Several(World):
    """A world with a set of instances of `echo` in it, which nobody supervises."""

    set: InstanceSet
    wakes: int = 0

    def wake(self) -> None:
        self.wakes += 1

    def add(self, instance_id: str, **status: Any) -> ManagedInstance:
        """One more; with a status it has registered."""
        process = FakeProcess(100 + len(self.set.all))
        instance = ManagedInstance("echo", instance_id, 0, process, START, 1000.0, 1000.0, 0)
        self.set.all.append(instance)
        self.registry.expect("echo", instance_id)
        if status:
            self.register(instance_id, port=8100 + len(self.set.all), **status)
        return instance


def several(scenario: Callable[[Several], Awaitable[None]]) -> None:
    clock = FakeClock()

    async def main() -> None:
        world = Several(clock)
        world.registry.manage("echo")
        world.set = InstanceSet("echo", world.tools, world.wake)
        await scenario(world)

    run(main(), clock)


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        (["stopping", "paused", "running"], AgentState.RUNNING),
        (["stopping", "paused"], AgentState.PAUSED),
        (["stopping"], AgentState.STOPPING),
        (["stopped"], AgentState.STOPPING),
        ([None, "paused"], AgentState.PAUSED),
        ([None, None], AgentState.STARTING),
    ],
)
def test_the_agent_is_the_best_that_any_of_its_instances_says(statuses: list[str | None], state: AgentState) -> None:
    async def scenario(world: Several) -> None:
        for number, status in enumerate(statuses):
            world.add(f"i-{number}", **({} if status is None else {"status": status}))
        assert world.set.state() == (state, None)

    several(scenario)


def test_silence_leaves_it_unresponsive_and_a_farewell_stopping() -> None:
    async def scenario(world: Several) -> None:
        instance = world.add("i-1", status="running")
        world.clock.advance(2 * TTL_SECONDS)
        world.registry.expire()
        world.set.observe()
        state, reason = world.set.state()
        assert (state, instance.ready, instance.registered) == (AgentState.UNRESPONSIVE, False, True)
        assert reason is not None and "heartbeats are missing" in reason
        world.unregister("i-1")
        assert world.set.state() == (AgentState.STOPPING, "it unregistered")

    several(scenario)


@pytest.mark.parametrize(("told", "asked", "left"), [(None, 30.0, 30.0), (4.0, 30.0, 4.0), (40.0, 30.0, 30.0)])
def test_a_stop_settles_both_its_moments_and_puts_no_drain_off(told: float | None, asked: float, left: float) -> None:
    async def scenario(world: Several) -> None:
        deadline = None if told is None else START + timedelta(seconds=told)
        instance = world.add("i-1", status=AdapterStatus.STOPPING, drain_deadline=deadline)
        world.set.stop(instance, asked, "stop by alice")
        plan = instance.stop
        assert plan is not None
        assert plan.deadline == pytest.approx(world.clock.monotonic() + left, abs=0.001)
        assert plan.end - plan.deadline == pytest.approx(KILL_GRACE_SECONDS)
        assert (plan.deadline_at - START).total_seconds() == pytest.approx(left, abs=0.001)
        assert plan.end_at == plan.deadline_at + timedelta(seconds=KILL_GRACE_SECONDS)
        instance.process.end(code=0)  # type: ignore[attr-defined]
        assert instance.control is not None
        await instance.control
        await asyncio.sleep(0)
        assert world.wakes, "whoever owns the set looks again"

    several(scenario)
