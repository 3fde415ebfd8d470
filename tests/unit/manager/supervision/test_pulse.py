"""Agents that an earlier manager started with another token, or with none, and whose heartbeats are refused now."""

from __future__ import annotations

import pytest

from manager.errors import SpawnFailed
from manager.events import EventKind
from manager.supervision import liveness
from manager.supervision.states import AgentState
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.fakes.world import SILENCE_LIMIT_SECONDS, TTL_SECONDS, agent
from tests.unit.manager.supervision.conftest import RECORD, Run, Supervising


async def let_pass(world: Supervising, seconds: float) -> None:
    """Time, in which the cleaner looks every second."""
    for _ in range(int(seconds)):
        await advance(1)
        world.registry.expire()


@pytest.mark.parametrize("token", [None, "another"])
def test_one_with_another_token_serves_until_its_successor_does(supervising: Run, token: str | None) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.token = token
        await world.open()
        await until(lambda: len(world.spawner.launches) == 1, within=1)
        (old, new) = world.of().instances
        assert world.of().state is AgentState.RUNNING
        assert (old.instance_id, old.stop) == ("i-old", None)
        world.register(new.instance_id, port=8101)
        await until(lambda: old.stop is not None, within=1)
        (drain,) = world.of_kind(EventKind.DRAIN_STARTED)
        assert "it was started with another token" in drain.message
        # It can be told to drain only where it demands no token; SIGTERM drains as well.
        await until(lambda: world.adapters.calls if token is None else world.spawner.adopted[0].signals, within=1)
        world.spawner.adopted[0].end(code=0)
        await advance(10)
        assert [each.instance_id for each in world.of().instances] == [new.instance_id]
        assert len(world.spawner.launches) == 1

    supervising(scenario)


def test_one_with_a_port_of_its_own_goes_first(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.token = None
        await world.open()
        await until(lambda: world.adapters.calls, within=1)
        assert world.spawner.launches == []
        world.spawner.adopted[0].end(code=0)
        await until(lambda: len(world.spawner.launches) == 1, within=1)

    supervising(scenario, agent(port=8100))


def test_one_with_the_managers_token_is_let_be(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        await world.open()
        await advance(10)
        (instance,) = world.of().instances
        assert (instance.pulse, instance.stop, world.spawner.launches) == (None, None, [])

    supervising(scenario)


def test_one_that_cannot_be_replaced_stays_and_is_no_silent_one(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.token = None
        world.spawner.error = SpawnFailed("no memory")
        await world.open()
        await let_pass(world, 2 * TTL_SECONDS + SILENCE_LIMIT_SECONDS)
        assert (world.of().state, world.spawner.adopted[0].signals) == (AgentState.RUNNING, [])
        assert world.of().state_reason == "the restart failed and the old process stays: no memory"
        assert world.of_kind(EventKind.HEARTBEAT_MISSED) == []

    supervising(scenario)


def test_one_that_does_not_answer_either_is_ended_as_any_other(
    supervising: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "request_stacks", lambda *_: None)

    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.token = None
        world.spawner.error = SpawnFailed("no memory")
        await world.open()
        world.adapters.silent = True
        await let_pass(world, TTL_SECONDS + 1)
        assert world.of().state is AgentState.UNRESPONSIVE
        await let_pass(world, SILENCE_LIMIT_SECONDS)
        assert world.spawner.adopted[0].signals == ["KILL"]
        world.spawner.adopted[0].end(signal=9)
        await advance(10)

    supervising(scenario)
