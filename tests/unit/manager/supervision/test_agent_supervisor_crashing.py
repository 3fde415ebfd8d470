from __future__ import annotations

import pytest

from agent_service.contract import EXIT_CONFIG
from manager.errors import UnknownInstance
from manager.events import EventKind
from manager.registry.routing import Admission
from manager.supervision.process import Exit
from manager.supervision.states import AgentState, DesiredState
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.supervision.supervised import Supervised, supervise


async def crash(world: Supervised, times: int = 1) -> None:
    """The agent comes up and crashes, so many times in a row."""
    for _ in range(times):
        await world.start()
        world.process.end(code=1)
        await advance(0.001)


def test_a_crash_is_followed_by_a_new_process_at_once() -> None:
    async def scenario(world: Supervised) -> None:
        first = await world.start()
        world.process.end(signal=9)
        await advance(0.01)
        assert len(world.spawner.processes) == 2
        assert world.state is AgentState.STARTING
        second = await world.start()
        assert second != first
        assert world.state is AgentState.RUNNING
        assert world.supervisor.restarts == 1
        assert world.states() == ["starting", "running", "starting", "running"]

    supervise(scenario)


def test_work_that_was_lost_is_told_although_its_connections_broke_before_the_exit() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        registered = world.registry.get(instance_id)
        assert registered is not None
        registered.forwarding = 2
        world.heartbeat(instance_id, in_flight=2)
        registered.forwarding = 0
        world.process.end(signal=9)
        await advance(0.01)
        assert world.supervisor.last_exit is not None
        assert "with 2 tasks in flight" in world.supervisor.last_exit.reason

    supervise(scenario)


def test_the_exit_is_told_with_signal_words_and_work_that_was_lost() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start(in_flight=2)
        pid = world.process.identity.pid
        world.last_words = "MemoryError: too much"
        world.process.end(signal=9)
        await advance(0.01)
        last_exit = world.supervisor.last_exit
        assert last_exit is not None
        assert (last_exit.code, last_exit.signal) == (None, 9)
        assert last_exit.reason == "killed by signal 9 (SIGKILL) with 2 tasks in flight: MemoryError: too much"
        (exited,) = world.of_kind(EventKind.INSTANCE_EXITED)
        assert exited.instance_id == instance_id
        assert exited.message == f"echo (pid {pid}) {last_exit.reason}"
        assert exited.data == {"code": None, "signal": 9, "expected": False, "by_manager": False, "pid": pid}
        (scheduled,) = world.of_kind(EventKind.RESTART_SCHEDULED)
        assert scheduled.data == {"delay_seconds": 0.0, "attempt": 1}

    supervise(scenario)


def test_what_the_process_left_behind_is_swept_and_struck_off() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.process.end(code=1)
        await advance(0.01)
        assert world.spawner.processes[0].is_swept
        assert world.registry.get(instance_id) is None
        assert list(world.store.records) == [world.instance.instance_id]

    supervise(scenario)


def test_further_crashes_wait_ever_longer_in_backoff() -> None:
    async def scenario(world: Supervised) -> None:
        waits = []
        for _ in range(4):
            await world.start()
            before = world.clock.monotonic()
            world.process.end(code=1)
            count = len(world.spawner.processes)
            await until(lambda count=count: len(world.spawner.processes) > count)
            waits.append(world.clock.monotonic() - before)
        assert waits[0] < 0.02
        assert 3 <= waits[1] <= 5.02
        assert 6 <= waits[2] <= 10.02
        assert 12 <= waits[3] <= 20.02

    supervise(scenario, restart={"initial_delay_seconds": 4.0})


def test_in_backoff_the_next_start_and_the_last_exit_are_known_and_requests_wait() -> None:
    async def scenario(world: Supervised) -> None:
        await crash(world, 2)
        assert world.state is AgentState.BACKOFF
        assert world.supervisor.state_reason == "exited with status 1"
        due = world.supervisor.recovery.next_start_at
        assert due is not None
        assert 3 <= (due - world.clock.now()).total_seconds() <= 5
        assert world.router.route("echo").admission is Admission.COMING_BACK
        await world.started()
        assert world.clock.now() >= due
        assert world.supervisor.recovery.next_start_at is None

    supervise(scenario, restart={"initial_delay_seconds": 4.0})


def test_a_crash_loop_is_failed_with_its_last_words_and_stays_so() -> None:
    async def scenario(world: Supervised) -> None:
        world.last_words = "KeyError: 'model'"
        await crash(world, 3)
        await world.reach(AgentState.FAILED)
        reason = world.supervisor.state_reason
        assert reason is not None
        assert "crash loop: 3 crashes" in reason
        assert "KeyError: 'model'" in reason
        await advance(86_400)
        assert len(world.spawner.processes) == 3
        assert world.router.route("echo").admission is Admission.DOWN

    supervise(scenario, restart={"max_crashes": 2})


def test_a_person_s_start_makes_the_crashes_forgotten() -> None:
    async def scenario(world: Supervised) -> None:
        await crash(world, 3)
        await world.reach(AgentState.FAILED)
        world.supervisor.want(DesiredState.RUNNING)
        await crash(world, 2)
        await world.start()
        assert world.state is AgentState.RUNNING

    supervise(scenario, restart={"max_crashes": 2})


def test_a_status_that_no_restart_helps_is_failed_at_once_with_the_last_words() -> None:
    async def scenario(world: Supervised) -> None:
        world.last_words = "The entry point 'x:y' cannot be imported."
        await world.started()
        world.process.end(code=EXIT_CONFIG)
        await world.reach(AgentState.FAILED)
        await advance(3600)
        assert len(world.spawner.processes) == 1
        assert world.supervisor.state_reason is not None
        assert "a restart cannot help" in world.supervisor.state_reason
        assert "The entry point 'x:y' cannot be imported." in world.supervisor.state_reason
        assert world.of_kind(EventKind.RESTART_SCHEDULED) == []

    supervise(scenario)


def test_an_agent_that_ends_well_by_itself_is_stopped_and_says_why() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.process.end(code=0)
        await world.reach(AgentState.STOPPED)
        await advance(3600)
        assert len(world.spawner.processes) == 1
        assert world.supervisor.desired is DesiredState.RUNNING
        assert world.supervisor.state_reason == "exited with status 0; its restart policy is 'on-failure'"
        assert world.router.route("echo").admission is Admission.DOWN

        world.supervisor.want(DesiredState.RUNNING)
        await world.start()
        assert world.state is AgentState.RUNNING

    supervise(scenario, restart="on-failure")


def test_under_always_it_comes_back_however_it_ended() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.process.end(code=0)
        await world.start()
        assert world.state is AgentState.RUNNING

    supervise(scenario, restart={"policy": "always"})


def test_under_never_a_crash_is_failed() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.process.end(signal=11)
        await world.reach(AgentState.FAILED)
        assert len(world.spawner.processes) == 1

    supervise(scenario, restart={"policy": "never"})


def test_a_process_that_dies_before_it_registers_is_a_crash() -> None:
    async def scenario(world: Supervised) -> None:
        first = await world.started()
        world.process.end(code=1)
        await advance(0.01)
        assert world.instance.instance_id != first
        assert world.supervisor.restarts == 1

    supervise(scenario)


def test_a_process_that_has_ended_before_its_start_returns_is_a_crash_too() -> None:
    def prepare(world: Supervised) -> None:
        world.spawner.on_spawn = lambda _launch, process: process.end(code=1)

    async def scenario(world: Supervised) -> None:
        await world.reach(AgentState.FAILED)
        assert len(world.spawner.processes) == 6
        assert world.store.records == {}

    supervise(scenario, prepare=prepare)


@pytest.mark.parametrize("forgets", [True, False])
def test_a_life_that_was_healthy_makes_the_next_restart_immediate(forgets: bool) -> None:
    async def scenario(world: Supervised) -> None:
        await crash(world, 2)
        instance_id = await world.start()
        await world.keep_alive(instance_id, 70 if forgets else 30)
        world.process.end(code=1)
        await advance(0.01)
        assert world.state is (AgentState.STARTING if forgets else AgentState.BACKOFF)

    supervise(scenario, restart={"initial_delay_seconds": 4.0})


def test_stopping_in_backoff_means_no_further_start() -> None:
    async def scenario(world: Supervised) -> None:
        await crash(world, 2)
        world.supervisor.want(DesiredState.STOPPED)
        await world.reach(AgentState.STOPPED, within=0.1)
        assert world.supervisor.state_reason is None
        await advance(3600)
        assert len(world.spawner.processes) == 2

    supervise(scenario, restart={"initial_delay_seconds": 4.0})


def test_starting_in_backoff_means_now() -> None:
    async def scenario(world: Supervised) -> None:
        await crash(world, 2)
        world.supervisor.want(DesiredState.RUNNING)
        await world.reach(AgentState.STARTING, within=0.1)

    supervise(scenario, restart={"initial_delay_seconds": 4.0})


def test_pausing_in_backoff_keeps_the_wait_and_starts_paused() -> None:
    async def scenario(world: Supervised) -> None:
        await crash(world, 2)
        world.supervisor.want(DesiredState.PAUSED)
        await advance(1)
        assert world.state is AgentState.BACKOFF
        await world.start(status="paused")
        assert world.spawner.launches[-1].environment["AGENT_INITIAL_STATUS"] == "paused"
        assert world.state is AgentState.PAUSED

    supervise(scenario, restart={"initial_delay_seconds": 4.0})


def test_restarting_in_backoff_means_now_and_counts() -> None:
    async def scenario(world: Supervised) -> None:
        await crash(world, 2)
        world.supervisor.restart(DesiredState.RUNNING, reason="restart by alice")
        await world.start()
        assert world.supervisor.restarts == 2
        assert len(world.spawner.processes) == 3

    supervise(scenario, restart={"initial_delay_seconds": 4.0})


def test_a_crash_that_meets_a_stop_is_not_followed_by_a_start() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.process.end(code=1)
        world.supervisor.want(DesiredState.STOPPED)
        await world.reach(AgentState.STOPPED, within=0.1)
        assert world.of_kind(EventKind.RESTART_SCHEDULED) == []
        assert len(world.spawner.processes) == 1

    supervise(scenario)


def test_what_a_dead_instance_still_says_changes_nothing() -> None:
    async def scenario(world: Supervised) -> None:
        old = await world.start()
        world.process.end(code=1)
        new = await world.start()
        before = list(world.events)
        with pytest.raises(UnknownInstance):
            world.heartbeat(old, status="stopping")
        world.unregister(old)
        await advance(1)
        assert world.state is AgentState.RUNNING
        assert world.events == before
        assert [instance.instance_id for instance in world.registry.of("echo")] == [new]

    supervise(scenario)


def test_a_crash_during_the_drain_is_told_as_such_and_not_followed_by_a_start() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start(in_flight=1)
        world.supervisor.want(DesiredState.STOPPED, reason="stop by alice")
        await advance(1)
        world.process.end(signal=11)
        await world.reach(AgentState.STOPPED)
        last_exit = world.supervisor.last_exit
        assert last_exit is not None
        assert last_exit.signal == 11
        assert last_exit.reason.startswith("killed by signal 11 (SIGSEGV) while it was being stopped")
        assert last_exit.reason.endswith("stop by alice")
        assert world.of_kind(EventKind.INSTANCE_EXITED)[0].data["expected"] is True
        await advance(60)
        assert len(world.spawner.processes) == 1

    supervise(scenario)


def test_a_crash_during_a_restart_s_drain_does_not_keep_the_successor() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.supervisor.restart(DesiredState.RUNNING, reason="restart by alice")
        await advance(1)
        world.process.end(signal=11)
        await world.start()
        assert world.state is AgentState.RUNNING
        assert world.supervisor.restarts == 1

    supervise(scenario)


def test_an_agent_that_takes_its_leave_by_itself_is_stopping_not_starting() -> None:
    """Somebody ended the process from outside: it says so, unregisters and exits."""

    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.heartbeat(instance_id, status="stopping")
        await world.reach(AgentState.STOPPING, within=0.1)
        world.unregister(instance_id)
        await advance(1)
        assert world.state is AgentState.STOPPING
        world.process.end(code=0)
        await world.reach(AgentState.STOPPED, within=0.1)
        assert world.states() == ["starting", "running", "stopping", "stopped"]

    supervise(scenario, restart="on-failure")


def test_restarts_are_what_followed_a_crash_or_was_asked_for_as_such() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.process.end(code=1)
        world.supervisor.want(DesiredState.STOPPED)
        await world.reach(AgentState.STOPPED, within=0.1)
        world.supervisor.want(DesiredState.RUNNING)
        await world.start()
        assert world.supervisor.restarts == 0

    supervise(scenario)


def test_the_end_of_a_process_whose_status_nobody_knows_is_a_crash() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.process.exited.set_result(Exit())
        await world.start()
        assert world.supervisor.last_exit is not None
        assert world.supervisor.last_exit.reason == "ended, exit status unknown"

    supervise(scenario)
