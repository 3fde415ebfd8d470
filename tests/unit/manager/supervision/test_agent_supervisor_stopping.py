from __future__ import annotations

import asyncio

import pytest

from agent_service.contract import AdapterAction, StatusReport
from manager.errors import NotReady, StateConflict
from manager.events import EventKind
from manager.registry.routing import Admission
from manager.supervision.process import Exit
from manager.supervision.states import AgentState, DesiredState
from tests.unit.manager.fakes.adapters import Call
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.supervision.ending import ended, reason_of_last_exit, stop
from tests.unit.manager.supervision.supervised import Supervised, supervise


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
