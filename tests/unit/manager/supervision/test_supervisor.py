from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent_service.contract import AdapterAction
from manager.errors import StateConflict, StoreUnavailable
from manager.registry.routing import Admission
from manager.store.store import DesiredRecord
from manager.supervision import agent_supervisor
from manager.supervision.states import AgentState, DesiredState
from tests.unit.manager.fakes.adapters import Call, registration
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.fakes.world import agent
from tests.unit.manager.supervision.conftest import RECORD, URL, Run, Supervising


def test_every_agent_that_is_to_start_starts_and_the_others_do_not(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo", "planner")
        await advance(10)
        assert [launch.agent_id for launch in world.spawner.launches] == ["echo", "planner"]
        assert [supervisor.agent.id for supervisor in world.supervisor.all()] == ["echo", "idle", "planner"]
        assert world.of("idle").state is AgentState.STOPPED
        assert world.supervisor.get("nobody") is None
        assert world.supervisor.pids() == [process.identity.pid for process in world.spawner.processes]

    supervising(scenario, agent("echo"), agent("idle", autostart=False), agent("planner"))


@pytest.mark.parametrize(
    ("chosen", "autostart", "launched"), [("running", False, 1), ("paused", True, 1), ("stopped", True, 0)]
)
def test_what_a_person_chose_goes_before_what_the_config_says(
    supervising: Run, chosen: str, autostart: bool, launched: int
) -> None:
    async def scenario(world: Supervising) -> None:
        world.choose(chosen)
        await world.open()
        await advance(1)
        assert len(world.spawner.launches) == launched
        assert world.of().desired is DesiredState(chosen)

    supervising(scenario, agent(autostart=autostart))


def test_a_choice_for_an_agent_that_is_no_longer_in_the_config_does_no_harm(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.choose("running", "gone")
        await world.running("echo")
        assert world.supervisor.get("gone") is None

    supervising(scenario)


def test_what_was_desired_must_be_readable(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.store.refusing = True
        with pytest.raises(StoreUnavailable):
            await world.open()

    supervising(scenario)


def test_an_id_of_the_config_is_taken_before_anybody_can_register_it(supervising: Run) -> None:
    """HTTP is served before the agents are started: a stranger may come in between."""

    async def scenario(world: Supervising) -> None:
        with pytest.raises(StateConflict):
            world.registry.register(registration("stranger"))

    supervising(scenario)


def test_a_slow_start_of_one_agent_delays_no_other(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.hold = asyncio.Event()
        await world.open()
        await until(lambda: len(world.spawner.launches) == 2, within=0.1)

    supervising(scenario, agent("echo"), agent("planner"))


def test_the_address_of_a_process_is_written_down_for_the_next_manager(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo")
        await advance(1)
        (record,) = world.store.records.values()
        assert record.service_url == URL

    supervising(scenario)


def test_so_is_the_address_of_one_that_registers_before_its_start_returns(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.on_spawn = lambda launch, _process: world.register(launch.instance_id)
        await world.open()
        await until(lambda: world.of().state is AgentState.RUNNING)
        await advance(1)
        (record,) = world.store.records.values()
        assert record.service_url == URL

    supervising(scenario)


def test_a_full_disk_costs_the_note_of_an_address_only(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.open()
        await until(lambda: world.of().instances)
        world.store.refusing = True
        world.register(world.of().instances[0].instance_id)
        await until(lambda: world.of().state is AgentState.RUNNING)

    supervising(scenario)


def test_the_addresses_of_agents_from_elsewhere_are_not_written_down(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo")
        world.register("x-1", "outsider")
        await advance(1)
        assert world.store.journal.count("note_service_url") == 1

    supervising(scenario)


def test_draining_stops_all_at_once_and_returns_when_the_last_has_ended(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo", "planner")
        ends = iter((2, 5))

        async def end(call: Call) -> None:
            port = int(call.url.rpartition(":")[2])
            asyncio.get_running_loop().call_later(next(ends), world.spawner.processes[port - 8100].end, 0)

        world.adapters.on_action = end
        before = world.clock.monotonic()
        await world.supervisor.drain()
        assert world.clock.monotonic() - before == pytest.approx(5, abs=1.1)
        assert [call.action for call in world.adapters.calls] == [AdapterAction.STOP] * 2
        assert {supervisor.state for supervisor in world.supervisor.all()} == {AgentState.STOPPED}
        assert world.supervisor.pids() == []

    supervising(scenario, agent("echo"), agent("planner"))


def test_draining_a_fleet_that_is_stopped_or_failed_returns_at_once(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.open()
        await until(lambda: world.of().instances)
        world.process.end(code=78)
        await until(lambda: world.of().state is AgentState.FAILED)
        before = world.clock.monotonic()
        await world.supervisor.drain()
        assert world.clock.monotonic() - before < 2

    supervising(scenario, agent("echo"), agent("idle", autostart=False))


def test_draining_during_a_start_ends_the_process_that_comes_of_it(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.hold = asyncio.Event()
        await world.open()
        await until(lambda: world.spawner.launches)
        draining = asyncio.create_task(world.supervisor.drain())
        await advance(3)
        assert not draining.done()
        world.spawner.hold.set()
        await asyncio.wait_for(draining, 10)
        assert world.process.exited.done()

    supervising(scenario)


def test_draining_lets_everything_else_go_on_while_a_process_is_there_that_no_state_tells_of_yet(
    supervising: Run,
) -> None:
    """Of two adopted processes one has just ended: it is struck off before the state is looked at."""

    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD, replace(RECORD, instance_id="i-older", pid=4243, service_url=None))
        await world.open()
        world.spawner.adopted[0].end(code=0)
        asyncio.get_running_loop().call_later(1, lambda: world.spawner.adopted[1].end(code=0))
        await world.supervisor.drain()
        assert world.of().state is AgentState.STOPPED

    supervising(scenario)


def test_a_second_signal_ends_every_process_at_once(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo", "planner")
        draining = asyncio.create_task(world.supervisor.drain())
        await advance(1)
        before = world.clock.monotonic()
        world.supervisor.kill_all()
        await draining
        assert world.clock.monotonic() - before < 1.1
        assert [process.signals for process in world.spawner.processes] == [["KILL"], ["KILL"]]

    supervising(scenario, agent("echo"), agent("planner"))


def test_a_second_signal_reaches_the_process_that_is_just_being_started(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.hold = asyncio.Event()
        world.spawner.on_terminate = None
        await world.open()
        await until(lambda: world.spawner.launches)
        draining = asyncio.create_task(world.supervisor.drain())
        await advance(1)
        world.supervisor.kill_all()
        world.spawner.hold.set()
        before = world.clock.monotonic()
        await draining
        assert world.clock.monotonic() - before < 2

    supervising(scenario)


def test_closing_leaves_the_processes_to_the_next_manager(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo")
        await world.supervisor.close()
        await advance(60)
        assert world.process.signals == []
        assert len(world.store.records) == 1

    supervising(scenario)


def test_before_anything_is_adopted_every_agent_is_known_and_requests_wait(supervising: Run) -> None:
    """HTTP is served by then: told 404 or 503, a client would give up on an agent that is there."""

    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.choose("stopped", "idle")
        world.choose("paused", "still")
        await world.supervisor.restore()
        admissions = {agent_id: world.router.admission(agent_id) for agent_id in ("echo", "idle", "still")}
        assert admissions == {"echo": Admission.COMING_BACK, "idle": Admission.DOWN, "still": Admission.REFUSED}
        waiting = asyncio.create_task(world.routed("echo"))
        await world.supervisor.open()
        assert (await waiting).instance_id == RECORD.instance_id

    supervising(scenario, agent("echo"), agent("idle"), agent("still"))


def test_an_agent_that_comes_back_to_the_config_is_as_a_person_left_it(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo")
        world.supervisor.note_choice(DesiredRecord("echo", "stopped", None, "alice", "", None))
        world.supervisor.remove("echo")
        world.process.end(code=0)
        await until(lambda: world.supervisor.get("echo") is None)
        world.supervisor.add(agent("echo"))
        await advance(5)
        assert world.of().desired is DesiredState.STOPPED
        assert len(world.spawner.launches) == 1

    supervising(scenario)


def test_one_that_nobody_had_an_opinion_of_starts_as_its_config_says(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo")
        world.supervisor.remove("echo")
        world.process.end(code=0)
        await until(lambda: world.supervisor.get("echo") is None)
        world.supervisor.add(agent("echo"))
        await until(lambda: len(world.spawner.launches) == 2)

    supervising(scenario)


def test_an_agent_on_its_way_back_is_listed_where_the_config_has_it(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("a", "b", "c")
        world.supervisor.remove("a")
        world.supervisor.add(agent("a", description="anew"))
        world.supervisor.reorder(["b", "a", "c"])
        assert [one.id for one in world.supervisor.agents()] == ["b", "a", "c"]
        world.spawner.processes[0].end(code=0)
        await until(lambda: world.supervisor.get("a") is not None and world.of("a").agent.description == "anew")
        assert [one.agent.id for one in world.supervisor.all()] == ["b", "a", "c"]

    supervising(scenario, agent("a"), agent("b"), agent("c"))


def test_those_that_are_stopped_are_told_apart(supervising: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_supervisor, "is_installed", lambda _extra: False)

    async def scenario(world: Supervising) -> None:
        world.choose("stopped", "chosen")
        await world.running("on")
        assert world.supervisor.stopped() == {"chosen", "never", "lacking"}

    lacking = agent("lacking", requires_extra="local")
    supervising(scenario, agent("on"), agent("chosen"), agent("never", autostart=False), lacking)
