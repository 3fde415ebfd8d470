"""Silence is answered in two steps, a missing registration in one; nothing else is a failure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from manager.events import EventKind
from manager.supervision import liveness
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.process import ProcessIdentity
from manager.supervision.states import AgentState, DesiredState
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.fakes.world import SILENCE_LIMIT_SECONDS, TTL_SECONDS
from tests.unit.manager.supervision.supervised import Supervised, supervise

Asked = list[ProcessIdentity]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Which processes were asked for their stacks."""
    found: Asked = []

    def ask(instance: ManagedInstance, announce: Callable[[str, str], None]) -> None:
        announce(instance.agent_id, instance.instance_id)
        found.append(instance.process.identity)

    monkeypatch.setattr(liveness, "request_stacks", ask)
    return found


async def fall_silent(world: Supervised) -> str:
    """An instance that was heard of, and then no more."""
    instance_id = await world.start()
    await advance(TTL_SECONDS + 1)
    world.registry.expire()
    await world.reach(AgentState.UNRESPONSIVE, within=1)
    return instance_id


def test_a_silent_process_is_asked_for_its_stacks_once_and_ended_when_it_stays_silent(asked: Asked) -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await fall_silent(world)
        assert (asked, world.announced) == ([world.process.identity], [instance_id])
        await advance(SILENCE_LIMIT_SECONDS - 2)
        assert (len(asked), world.process.signals) == (1, [])
        await until(lambda: world.spawner.processes[0].signals == ["KILL"], within=3)
        await until(lambda: len(world.spawner.processes) == 2, within=1)
        (exited,) = world.of_kind(EventKind.INSTANCE_EXITED)
        assert exited.data["expected"] is False
        assert "did not answer for" in exited.message

    supervise(scenario)


def test_one_that_is_heard_of_again_is_let_be_and_asked_anew_the_next_time(asked: Asked) -> None:
    async def scenario(world: Supervised) -> None:
        for times in (1, 2):
            instance_id = await fall_silent(world) if times == 1 else world.instance.instance_id
            if times == 2:
                await advance(TTL_SECONDS + 1)
                world.registry.expire()
                await world.reach(AgentState.UNRESPONSIVE, within=1)
            await advance(SILENCE_LIMIT_SECONDS / 2)
            world.heartbeat(instance_id)
            await world.reach(AgentState.RUNNING, within=1)
            assert len(asked) == times
        await world.keep_alive(world.instance.instance_id, 2 * SILENCE_LIMIT_SECONDS)
        assert world.process.signals == []

    supervise(scenario)


def test_a_program_that_would_die_of_the_question_is_not_asked(asked: Asked) -> None:
    async def scenario(world: Supervised) -> None:
        await fall_silent(world)
        await advance(SILENCE_LIMIT_SECONDS + 1)
        assert asked == []
        assert world.spawner.processes[0].signals == ["KILL"]

    supervise(scenario, command=("program",))


@pytest.mark.parametrize("status", [{"status": "paused"}, {"in_flight": 3, "queued": 9}])
def test_a_paused_agent_and_a_long_task_are_no_failures(asked: Asked, status: dict[str, object]) -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start(**status)
        await world.keep_alive(instance_id, 4 * SILENCE_LIMIT_SECONDS, **status)
        assert (asked, world.process.signals) == ([], [])

    desired = DesiredState.PAUSED if "status" in status else DesiredState.RUNNING
    supervise(scenario, desired=desired)


def test_a_busy_machine_is_no_failure(asked: Asked) -> None:
    """The manager itself was held up: its cleaner gives every instance the time back."""

    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.clock.advance(10 * TTL_SECONDS)
        world.registry.extend(10 * TTL_SECONDS)
        world.registry.expire()
        await advance(1)
        world.heartbeat(instance_id)
        assert (world.state, asked) == (AgentState.RUNNING, [])

    supervise(scenario)


@pytest.mark.parametrize("silence", ["never registered", "fell silent"])
def test_one_that_is_being_stopped_is_not_ended_twice(asked: Asked, silence: str) -> None:
    def prepare(world: Supervised) -> None:
        world.spawner.on_terminate = None

    async def scenario(world: Supervised) -> None:
        begin: Callable[[Supervised], object] = Supervised.started if silence == "never registered" else fall_silent
        await begin(world)  # type: ignore[misc]
        world.supervisor.want(DesiredState.STOPPED, drain_seconds=1000, reason="stop by alice")
        await advance(900)
        assert "KILL" not in world.process.signals

    supervise(scenario, prepare=prepare, start_timeout_seconds=60)


def test_a_process_that_does_not_register_in_time_is_ended_and_that_is_a_crash(asked: Asked) -> None:
    async def scenario(world: Supervised) -> None:
        await world.started()
        await advance(59)
        assert world.process.signals == []
        await until(lambda: world.spawner.processes[0].signals == ["TERM"], within=2)
        await until(lambda: len(world.spawner.processes) == 2, within=1)
        last = world.supervisor.last_exit
        assert last is not None and "did not register within 60 s" in last.reason
        assert asked == []

    supervise(scenario, start_timeout_seconds=60)
