from __future__ import annotations

import asyncio

import pytest

from agent_service.contract import AdapterAction
from manager.errors import SpawnFailed, StartImpossible, StateConflict
from manager.events import EventKind
from manager.registry.routing import Admission
from manager.supervision.process import Exit
from manager.supervision.states import AgentState, DesiredState
from tests.unit.manager.fakes.adapters import registration
from tests.unit.manager.fakes.clock import START, advance, until
from tests.unit.manager.supervision.supervised import Supervised, supervise


def test_an_agent_is_started_registers_and_runs() -> None:
    async def scenario(world: Supervised) -> None:
        await world.reach(AgentState.STARTING)
        instance_id = await world.start()
        assert world.state is AgentState.RUNNING
        assert world.states() == ["starting", "running"]
        assert world.kinds() == [
            EventKind.STATE_CHANGED,
            EventKind.INSTANCE_STARTED,
            EventKind.INSTANCE_REGISTERED,
            EventKind.STATE_CHANGED,
        ]
        started = world.of_kind(EventKind.INSTANCE_STARTED)[0]
        assert started.instance_id == instance_id
        assert started.data == {"pid": world.process.identity.pid, "spawn_seconds": 0.001}
        assert len(world.spawner.launches) == 1
        assert world.supervisor.restarts == 0
        assert world.supervisor.last_exit is None

    supervise(scenario)


def test_an_agent_that_is_to_be_stopped_is_not_started() -> None:
    async def scenario(world: Supervised) -> None:
        await advance(3600)
        assert world.spawner.launches == []
        assert world.state is AgentState.STOPPED
        assert world.events == []

    supervise(scenario, desired=DesiredState.STOPPED)


def test_a_running_agent_is_left_in_peace() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        await world.keep_alive(instance_id, 300)
        assert len(world.spawner.launches) == 1
        assert world.adapters.calls == []
        assert world.states() == ["starting", "running"]

    supervise(scenario)


def test_requests_are_held_while_it_starts_and_let_through_when_it_runs() -> None:
    async def scenario(world: Supervised) -> None:
        await world.started()
        assert world.router.route("echo").admission is Admission.COMING_BACK
        request = asyncio.create_task(world.routed("echo"))
        await advance(1)
        instance_id = await world.start()
        assert (await request).instance_id == instance_id
        assert world.router.route("echo").admission is Admission.OPEN

    supervise(scenario)


def test_the_process_is_written_down_with_what_tells_it_from_a_stranger() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        record = world.store.records[instance_id]
        identity = world.process.identity
        assert (record.agent_id, record.pid, record.process_created_at, record.boot_id) == (
            "echo",
            identity.pid,
            identity.created_at,
            identity.boot_id,
        )
        assert record.started_at.startswith(START.isoformat()[:19])
        assert (record.log_offset, record.restarts) == (7, 0)

    supervise(scenario)


def test_only_the_process_that_was_started_may_register() -> None:
    async def scenario(world: Supervised) -> None:
        await world.started()
        with pytest.raises(StateConflict):
            world.registry.register(registration("stranger"))

    supervise(scenario)


def test_a_process_may_register_before_its_start_returns() -> None:
    def prepare(world: Supervised) -> None:
        world.spawner.on_spawn = lambda launch, _process: world.register(launch.instance_id)

    async def scenario(world: Supervised) -> None:
        await world.reach(AgentState.RUNNING, within=1)

    supervise(scenario, prepare=prepare)


def test_an_agent_that_is_to_be_paused_starts_paused() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start(status="paused")
        assert world.spawner.launches[0].environment["AGENT_INITIAL_STATUS"] == "paused"
        assert world.state is AgentState.PAUSED
        assert world.adapters.calls == []
        assert world.router.route("echo").admission is Admission.REFUSED

    supervise(scenario, desired=DesiredState.PAUSED)


def test_an_agent_that_is_paused_while_it_starts_is_told_when_it_can_be() -> None:
    async def scenario(world: Supervised) -> None:
        await world.started()
        world.supervisor.want(DesiredState.PAUSED)
        await advance(5)
        assert world.adapters.calls == []
        await world.start()
        await world.reach(AgentState.PAUSED, within=1)
        assert world.adapters.actions == [AdapterAction.PAUSE]

    supervise(scenario)


def test_a_start_that_cannot_succeed_is_not_tried_again_until_a_person_says_so() -> None:
    refusal = "The program 'nowhere' is not there or may not be executed; check the command and the PATH."

    def prepare(world: Supervised) -> None:
        world.spawner.error = StartImpossible(refusal)

    async def scenario(world: Supervised) -> None:
        await world.reach(AgentState.FAILED)
        await advance(3600)
        assert len(world.spawner.launches) == 1
        assert world.supervisor.state_reason == refusal
        assert world.router.route("echo").admission is Admission.DOWN
        assert world.kinds().count(EventKind.START_FAILED) == 1
        world.spawner.error = None
        world.supervisor.want(DesiredState.RUNNING)
        await world.start()
        assert world.supervisor.state_reason is None

    supervise(scenario, prepare=prepare)


def test_a_refused_start_is_tried_again_ever_more_rarely_until_it_is_not_refused() -> None:
    def prepare(world: Supervised) -> None:
        world.spawner.error = SpawnFailed("Port 8100 is in use by another process.")

    async def scenario(world: Supervised) -> None:
        await world.reach(AgentState.BACKOFF)
        await advance(8)
        assert len(world.spawner.launches) == 5, "at once, then after 0.5, 1, 2 and 4 s"
        await advance(3600)
        assert 700 <= len(world.spawner.launches) <= 730, "in the end every 5 s, for as long as it takes"
        assert world.state is AgentState.BACKOFF
        assert world.supervisor.state_reason == "Port 8100 is in use by another process."
        said = [event.message for event in world.of_kind(EventKind.START_FAILED)]
        assert said == ["echo: Port 8100 is in use by another process."], "once, however often it is tried"
        assert world.router.route("echo").admission is Admission.COMING_BACK
        with pytest.raises(StateConflict):
            world.register(world.spawner.launches[0].instance_id)

        world.spawner.error = None
        world.supervisor.want(DesiredState.RUNNING)
        await world.start()
        assert world.state is AgentState.RUNNING
        assert world.supervisor.state_reason is None

    supervise(scenario, prepare=prepare)


def test_a_reference_that_leads_nowhere_is_failed_and_names_the_key() -> None:
    async def scenario(world: Supervised) -> None:
        await world.reach(AgentState.FAILED)
        await advance(3600)
        assert world.spawner.launches == []
        assert world.supervisor.state_reason is not None
        assert "TEAM_KEY" in world.supervisor.state_reason
        assert "PLANNER_TEAM_KEY" in world.supervisor.state_reason
        assert world.store.records == {}

    supervise(scenario, env={"TEAM_KEY": "env:PLANNER_TEAM_KEY"})


def test_a_process_that_does_not_register_in_time_is_ended_and_counts_as_a_crash() -> None:
    async def scenario(world: Supervised) -> None:
        first = await world.started()
        await advance(9.9)
        assert world.process.signals == []
        await until(lambda: len(world.spawner.processes) == 2, within=1)
        assert world.spawner.processes[0].signals == ["TERM"]
        assert world.instance.instance_id != first
        assert world.supervisor.restarts == 1
        assert world.supervisor.last_exit is not None
        assert world.supervisor.last_exit.reason.startswith("did not register within 10 s and was ended")
        assert world.of_kind(EventKind.INSTANCE_EXITED)[0].data["expected"] is False

    def prepare(world: Supervised) -> None:
        world.spawner.on_terminate = Exit(signal=15)

    supervise(scenario, prepare=prepare, start_timeout_seconds=10)


def test_it_counts_as_a_crash_although_the_process_obeys_and_exits_with_status_0() -> None:
    async def scenario(world: Supervised) -> None:
        await world.started()
        await advance(10.5)
        assert world.state is AgentState.STARTING
        assert len(world.spawner.processes) == 2

    supervise(scenario, start_timeout_seconds=10, restart="on-failure")


def test_an_agent_that_never_registers_is_failed_in_the_end() -> None:
    async def scenario(world: Supervised) -> None:
        await world.reach(AgentState.FAILED)
        assert len(world.spawner.processes) == 6
        assert world.supervisor.state_reason is not None
        assert "crash loop: 6 crashes" in world.supervisor.state_reason
        assert "did not register within 10 s" in world.supervisor.state_reason

    supervise(scenario, start_timeout_seconds=10)


def test_while_a_process_that_did_not_register_is_ended_the_state_says_why() -> None:
    def prepare(world: Supervised) -> None:
        world.spawner.on_terminate = None

    async def scenario(world: Supervised) -> None:
        await world.reach(AgentState.STOPPING)
        assert world.supervisor.state_reason == "did not register within 10 s and was ended"
        assert world.router.route("echo").admission is Admission.COMING_BACK

    supervise(scenario, prepare=prepare, start_timeout_seconds=10)


def test_a_process_that_registered_has_no_start_timeout_any_more() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        await world.keep_alive(instance_id, 60)
        assert world.process.signals == []

    supervise(scenario, start_timeout_seconds=10)


def test_a_full_disk_does_not_keep_an_agent_from_running_crashing_and_coming_back() -> None:
    def prepare(world: Supervised) -> None:
        world.store.refusing = True

    async def scenario(world: Supervised) -> None:
        await world.start()
        assert world.state is AgentState.RUNNING
        world.process.end(signal=9)
        await world.start()
        assert world.state is AgentState.RUNNING
        assert world.supervisor.restarts == 1

    supervise(scenario, prepare=prepare)


def test_trouble_that_nobody_foresaw_is_logged_and_the_start_is_tried_again() -> None:
    def prepare(world: Supervised) -> None:
        world.spawner.error = RuntimeError("a bug")

    async def scenario(world: Supervised) -> None:
        await advance(3)
        world.spawner.error = None
        await world.start()
        assert world.state is AgentState.RUNNING

    supervise(scenario, prepare=prepare, foreseen=frozenset({"Supervision step failed; it is tried again"}))


@pytest.mark.parametrize("turns", range(5))
def test_supervision_ends_when_it_is_cancelled_whatever_happens_at_that_moment(turns: int) -> None:
    async def scenario(world: Supervised) -> None:
        await world.started()
        await advance(1)
        (task,) = (task for task in asyncio.all_tasks() if "AgentSupervisor.run" in repr(task.get_coro()))
        world.supervisor.wake()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=1)
        assert task.cancelled()

    supervise(scenario)


def test_waiting_for_a_state_ends_with_it_or_with_patience() -> None:
    async def scenario(world: Supervised) -> None:
        running = frozenset({AgentState.RUNNING})
        assert not await world.supervisor.keeper.settled(running, timeout=2)
        waiting = asyncio.create_task(world.supervisor.keeper.settled(running, timeout=2))
        await advance(1)
        await world.start()
        assert await waiting
        assert await world.supervisor.keeper.settled(running, timeout=0)

    supervise(scenario)
