from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from agent_service.contract import AdapterAction, StatusReport
from manager.errors import NotReady, StateConflict
from manager.events import EventKind
from manager.registry.routing import Admission
from manager.supervision.process import Exit
from manager.supervision.states import AgentState, DesiredState, Strategy
from tests.unit.manager.fakes.adapters import Call
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.fakes.world import KILL_GRACE_SECONDS
from tests.unit.manager.supervision.supervised import Supervised, supervise


def stop(world: Supervised, seconds: float | None = None, reason: str = "stop by alice") -> None:
    world.supervisor.want(DesiredState.STOPPED, drain_seconds=seconds, reason=reason)


def reason_of_last_exit(world: Supervised) -> str:
    assert world.supervisor.last_exit is not None
    return world.supervisor.last_exit.reason


async def ended(world: Supervised) -> float:
    """Wait for the newest process to end; answers how long that took."""
    before = world.clock.monotonic()
    await asyncio.wait({world.process.exited})
    return world.clock.monotonic() - before


def test_a_stop_drains_through_the_adapter_and_sends_no_signal() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start(in_flight=1)
        world.drains_in(2)
        stop(world)
        await world.reach(AgentState.STOPPING, within=0.1)
        assert world.supervisor.state_reason == "stop by alice"
        assert world.adapters.calls == [Call("http://127.0.0.1:8100", AdapterAction.STOP, pytest.approx(120, abs=0.1))]
        (started,) = world.of_kind(EventKind.DRAIN_STARTED)
        assert (started.instance_id, started.data) == (instance_id, {"timeout_seconds": 120.0})
        await world.reach(AgentState.STOPPED, within=2.1)
        assert world.process.signals == []
        assert reason_of_last_exit(world) == "exited with status 0: stop by alice"
        assert world.of_kind(EventKind.INSTANCE_EXITED)[0].data["expected"] is True
        assert world.states() == ["starting", "running", "stopping", "stopped"]
        assert world.store.records == {}
        await advance(3600)
        assert len(world.spawner.processes) == 1

    supervise(scenario, drain_timeout_seconds=120)


def test_requests_are_refused_from_the_moment_of_the_stop() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.drains_in(2)
        stop(world)
        with pytest.raises(StateConflict, match="is stopping and takes no new work") as refused:
            await world.routed("echo")
        assert refused.value.state == "stopping"
        await advance(1)
        registered = world.registry.get(instance_id)
        assert registered is not None
        assert registered.draining
        await world.reach(AgentState.STOPPED)
        with pytest.raises(NotReady, match="start it first"):
            await world.routed("echo")

    supervise(scenario)


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
            "killed by signal 9 (SIGKILL) while it was being stopped with 2 task(s) in flight: stop by alice"
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


def test_an_adapter_that_cannot_be_reached_gets_a_sigterm_at_once() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.adapters.unreachable = True
        stop(world)
        assert await ended(world) < 0.1
        assert world.process.signals == ["TERM"]
        await world.reach(AgentState.STOPPED, within=0.1)
        assert reason_of_last_exit(world) == "exited with status 0: stop by alice"

    supervise(scenario)


def test_an_adapter_that_refuses_the_stop_gets_a_sigterm() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.adapters.refusal = 500
        stop(world)
        assert await ended(world) < 0.1
        assert world.process.signals == ["TERM"]

    supervise(scenario)


def test_an_adapter_that_does_not_answer_gets_a_sigterm_after_the_control_timeout() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.adapters.silent = True
        stop(world)
        assert await ended(world) == pytest.approx(5, abs=0.1)

    supervise(scenario)


def test_a_process_that_has_not_registered_yet_gets_a_sigterm() -> None:
    async def scenario(world: Supervised) -> None:
        await world.started()
        stop(world)
        assert await ended(world) < 0.1
        assert world.adapters.calls == []

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


def test_an_agent_that_is_started_while_it_stops_comes_back_when_its_port_is_free_again() -> None:
    async def scenario(world: Supervised) -> None:
        first = await world.start()
        world.drains_in(3)
        stop(world)
        await world.reach(AgentState.STOPPING)
        world.supervisor.want(DesiredState.RUNNING, reason="start by bob")
        await advance(1)
        assert world.state is AgentState.STOPPING
        assert world.router.route("echo").admission is Admission.COMING_BACK
        second = await world.start()
        assert second != first
        assert world.state is AgentState.RUNNING
        assert world.supervisor.restarts == 0
        assert len(world.spawner.processes) == 2

    supervise(scenario, port=8100)


def test_while_it_stops_the_reason_stays_that_of_the_stop() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        stop(world)
        await world.reach(AgentState.STOPPING)
        world.supervisor.want(DesiredState.RUNNING, reason="start by bob")
        await advance(1)
        assert world.supervisor.state_reason == "stop by alice"

    supervise(scenario, port=8100)


def test_a_stop_during_the_start_reaches_the_new_process() -> None:
    async def scenario(world: Supervised) -> None:
        await until(lambda: world.spawner.launches)
        stop(world)
        await advance(1)
        assert world.spawner.hold is not None
        world.spawner.hold.set()
        await world.reach(AgentState.STOPPED, within=1)
        assert world.process.exited.done()
        assert len(world.spawner.launches) == 1

    def prepare(world: Supervised) -> None:
        world.spawner.hold = asyncio.Event()

    supervise(scenario, prepare=prepare)


def test_a_stop_while_a_pause_is_on_its_way_is_not_held_up() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.adapters.silent = True
        world.supervisor.want(DesiredState.PAUSED)
        await advance(0.1)
        world.adapters.silent = False
        world.drains_in(1)
        stop(world)
        assert await ended(world) == pytest.approx(1, abs=0.1)
        await world.reach(AgentState.STOPPED, within=0.1)
        await advance(30)
        assert world.state is AgentState.STOPPED

    supervise(scenario)


def test_a_restart_drains_and_brings_a_new_process() -> None:
    async def scenario(world: Supervised) -> None:
        first = await world.start()
        world.drains_in(2)
        world.supervisor.restart(
            DesiredState.RUNNING, drain_seconds=9, strategy=Strategy.RECREATE, reason="restart by alice"
        )
        await world.reach(AgentState.STOPPING, within=0.1)
        assert world.supervisor.state_reason == "restart by alice"
        assert world.adapters.calls[0].timeout_seconds == pytest.approx(9, abs=0.1)
        assert world.router.route("echo").admission is Admission.COMING_BACK
        second = await world.start()
        assert second != first
        assert world.supervisor.restarts == 1
        assert world.store.records[second].restarts == 1
        assert world.process.signals == []
        assert reason_of_last_exit(world) == "exited with status 0: restart by alice"
        assert world.of_kind(EventKind.RESTART_SCHEDULED) == []

    supervise(scenario)


def test_a_request_during_a_restart_waits_for_the_new_process() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.drains_in(2)
        world.supervisor.restart(DesiredState.RUNNING, strategy=Strategy.RECREATE, reason="restart by alice")
        await world.reach(AgentState.STOPPING)
        request = asyncio.create_task(world.routed("echo"))
        second = await world.start()
        assert (await request).instance_id == second

    supervise(scenario)


def test_a_paused_agent_restarts_paused() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start(status="paused")
        world.drains_in(1)
        world.supervisor.restart(DesiredState.PAUSED, strategy=Strategy.RECREATE, reason="restart by alice")
        await world.reach(AgentState.STOPPING)
        assert world.router.route("echo").admission is Admission.REFUSED
        await world.start(status="paused")
        assert world.state is AgentState.PAUSED
        assert world.spawner.launches[-1].environment["AGENT_INITIAL_STATUS"] == "paused"

    supervise(scenario, desired=DesiredState.PAUSED)


def test_a_restart_while_it_starts_replaces_the_process_that_is_coming_up() -> None:
    async def scenario(world: Supervised) -> None:
        first = await world.started()
        world.supervisor.restart(DesiredState.RUNNING, reason="restart by alice")
        await until(lambda: len(world.spawner.processes) == 2, within=1)
        second = await world.start()
        assert second != first
        assert world.state is AgentState.RUNNING

    supervise(scenario)


def test_restarting_twice_before_the_first_is_done_brings_one_new_process() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.drains_in(2)
        world.supervisor.restart(DesiredState.RUNNING, strategy=Strategy.RECREATE, reason="restart by alice")
        await advance(1)
        world.supervisor.restart(DesiredState.RUNNING, strategy=Strategy.RECREATE, reason="restart by bob")
        await world.start()
        await advance(10)
        assert len(world.spawner.processes) == 2
        assert world.supervisor.restarts == 1
        assert world.state is AgentState.RUNNING

    supervise(scenario)


def test_a_failed_agent_is_restarted_with_a_clean_slate() -> None:
    async def scenario(world: Supervised) -> None:
        await world.started()
        world.process.end(code=78)
        await world.reach(AgentState.FAILED)
        world.supervisor.restart(DesiredState.RUNNING, reason="restart by alice")
        await world.start()
        assert world.state is AgentState.RUNNING
        assert world.supervisor.restarts == 1

    supervise(scenario)


def test_a_kill_ends_the_process_at_once_and_keeps_it_down() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start(in_flight=1)
        world.supervisor.kill("kill by alice: hangs")
        assert await ended(world) < 0.01
        await world.reach(AgentState.STOPPED, within=0.1)
        assert world.process.signals == ["KILL"]
        assert world.adapters.calls == []
        assert world.of_kind(EventKind.DRAIN_STARTED) == []
        assert reason_of_last_exit(world) == (
            "killed by signal 9 (SIGKILL) while it was being stopped with 1 task(s) in flight: kill by alice: hangs"
        )
        await advance(60)
        assert len(world.spawner.processes) == 1

    supervise(scenario)


def test_a_kill_cuts_a_drain_short() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        stop(world, 120)
        await advance(5)
        world.supervisor.kill("kill by alice")
        await world.reach(AgentState.STOPPED, within=0.1)
        assert world.process.signals == ["KILL"]

    supervise(scenario)


def test_a_kill_during_the_start_kills_the_process_that_comes_of_it() -> None:
    def prepare(world: Supervised) -> None:
        world.spawner.hold = asyncio.Event()
        world.spawner.on_terminate = None

    async def scenario(world: Supervised) -> None:
        await until(lambda: world.spawner.launches)
        world.supervisor.kill("kill by alice")
        assert world.spawner.hold is not None
        world.spawner.hold.set()
        await world.reach(AgentState.STOPPED, within=1)
        assert world.process.signals[-1] == "KILL"

    supervise(scenario, prepare=prepare)


def test_a_process_that_a_kill_does_not_end_at_once_is_waited_for() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.process.survives_kill = True
        world.supervisor.kill("kill by alice")
        await world.reach(AgentState.STOPPING, within=0.1)
        await advance(5)
        assert world.state is AgentState.STOPPING
        world.process.end(signal=9)
        await world.reach(AgentState.STOPPED, within=0.1)

    supervise(scenario)


def test_a_manager_that_stops_drains_and_leaves_what_is_desired() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.drains_in(2)
        world.supervisor.close("the manager stops")
        assert world.router.route("echo").admission is Admission.REFUSED
        await world.reach(AgentState.STOPPED, within=3)
        assert world.supervisor.desired is DesiredState.RUNNING
        assert reason_of_last_exit(world) == "exited with status 0: the manager stops"
        await advance(60)
        assert len(world.spawner.processes) == 1

    supervise(scenario)


def test_a_manager_that_stops_starts_nothing_any_more() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.process.end(signal=9)
        world.supervisor.close("the manager stops")
        await world.reach(AgentState.STOPPED, within=0.1)
        world.supervisor.want(DesiredState.RUNNING)
        await advance(60)
        assert len(world.spawner.processes) == 1
        assert world.state is AgentState.STOPPED

    supervise(scenario)


def test_a_manager_that_stops_uses_the_agent_s_own_drain_timeout() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.supervisor.want(DesiredState.RUNNING, drain_seconds=1)
        world.supervisor.close("the manager stops")
        await advance(0.1)
        assert world.adapters.calls[0].timeout_seconds == pytest.approx(77, abs=0.1)

    supervise(scenario, drain_timeout_seconds=77)


def test_a_full_disk_does_not_keep_an_agent_from_stopping() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.store.refusing = True
        world.drains_in(1)
        stop(world)
        await world.reach(AgentState.STOPPED, within=2)

    supervise(scenario)


def test_what_the_adapter_answers_to_the_stop_counts_before_its_next_heartbeat() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        stop(world)
        await advance(0.1)
        registered = world.registry.get(instance_id)
        assert registered is not None
        assert registered.report == StatusReport(status="stopping")

    supervise(scenario)


def test_a_process_that_ends_with_another_status_while_it_is_stopped_says_so() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.spawner.on_terminate = Exit(code=0)
        world.drains_in(1, code=3)
        stop(world)
        await world.reach(AgentState.STOPPED)
        assert reason_of_last_exit(world).startswith("exited with status 3 while it was being stopped")

    supervise(scenario)


def test_a_drain_that_somebody_has_begun_at_the_adapter_itself_is_not_put_off() -> None:
    async def scenario(world: Supervised) -> None:
        instance_id = await world.start()
        world.heartbeat(instance_id, status="stopping", drain_deadline=world.clock.now() + timedelta(seconds=7))
        stop(world, 60)
        await advance(0.1)
        assert world.adapters.calls[-1].timeout_seconds == pytest.approx(7, abs=0.1)
        assert await ended(world) == pytest.approx(7, abs=0.2)

    supervise(scenario)
